"""What differed between the configurations of a run: the keys that not all jobs have alike, and never a secret.

The values are those that the user wrote: variables such as `${TOKEN}` stand in the run's copies unfilled.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from parallel_ml.adapters.cli.cells import marked
from parallel_ml.adapters.cli.table import Column, draw
from parallel_ml.adapters.cli.text import cell_width, number, safe, shorten
from parallel_ml.core.status import JobStatus
from parallel_ml.store.layout import JobLayout

MOST_VALUE_CELLS = 24
MOST_LINES = 3
"""Lines of a job where its values have no column."""
MOST_COMPARED = 100
"""Jobs whose configurations are compared; to read one takes some milliseconds (6 for the second example)."""
WIDEST = 160
"""Cells of a table that nobody's terminal limits."""
_TITLE, _ABSENT = "what differed", "-"
_NOT_COMPARED = frozenset({"alerts", "depends_on", "env", "links", "name", "notifications"})
_OUTPUTS = frozenset({"model_training.checkpoint.filepath", "result_analysis.model_path"})
"""Where a job's files go differs in any case."""
_SECRET_KEY = re.compile(
    r"(?:token|secret|password|passwd|passphrase|credentials?|apikey|webhook)$|(?:^|[-_])(?:key|auth)$", re.IGNORECASE
)
_SECRET_TEXT = re.compile(r"(?i)((?:token|secret|passw\w*|api[-_]?key)[=:\s,]+)\S+|(://)[^/\s@]+@")

Rows = list[tuple[str, list[str]]]


def difference_lines(jobs: Sequence[JobStatus], rows: Rows, best: str | None, width: int | None) -> list[str]:
    """Return what differed as a table: of a row for each job, else of a row for each key, else some lines for each job.

    Args:
        jobs: Those that are compared.
        rows: What `differences` found between them.
        best: The name of the job that is marked.
        width: Cells of the terminal; None is as many as wanted.
    """
    if not rows:
        return []
    names, room = marked([job.name for job in jobs], best), width or WIDEST
    by_job = [Column(_TITLE, names), *(Column(key, values) for key, values in rows)]
    values_by_job = list(zip(*(values for _, values in rows), strict=True))
    by_key = [
        Column(_TITLE, [key for key, _ in rows]),
        *(Column(name, values) for name, values in zip(names, values_by_job, strict=True)),
    ]
    for columns in (by_job, by_key):
        lines = draw(columns)
        if max(map(cell_width, lines)) <= room:
            return lines
    keys = [key for key, _ in rows]
    told = [", ".join(map(" ".join, zip(keys, values, strict=True))) for values in values_by_job]
    lines = [_TITLE]
    for name, text in zip(names, told, strict=True):
        lines += textwrap.wrap(
            f"{name}: {text}", max(room, 8), subsequent_indent="  ", max_lines=MOST_LINES, placeholder=" …"
        )
    return [shorten(line, room) for line in lines]


def configs_of(jobs: Sequence[JobStatus]) -> list[dict[str, Any]]:
    """Return the jobs' configurations; [] where one cannot be read, and where there is one job alone or too many."""
    if not 1 < len(jobs) <= MOST_COMPARED:
        return []
    configs = [read_config(job) for job in jobs]
    return configs if all(configs) else []


def differences(configs: Sequence[Mapping[str, Any]], taken: Collection[str] = ()) -> Rows:
    """Return each key that differs with its value in every configuration, as short safe text.

    >>> differences([{"params": {"lr": 0.1, "layers": 2}}, {"params": {"lr": 0.2, "layers": 2}}])
    [('lr', ['0.1', '0.2'])]

    Args:
        configs: The configurations.
        taken: Titles that mean something else where the keys are to stand.
    """
    if not configs:
        return []
    found = _differing((), [_shown(config) for config in configs])
    titles = _titles([path for path, _ in found], taken)
    return [(title, [_text(value) for value in values]) for title, (_, values) in zip(titles, found, strict=True)]


def read_config(job: JobStatus) -> dict[str, Any]:
    """Return a job's configuration as its run keeps it; {} where it cannot be read."""
    from parallel_ml.config.tree import plain  # noqa: PLC0415 - YAML is slow to import, and only read here
    from parallel_ml.config.yaml_text import parse  # noqa: PLC0415

    folder = job.paths.get("dir")
    try:
        text = JobLayout(Path(folder)).source.read_text(encoding="utf-8") if folder else ""
    except (OSError, ValueError):
        return {}
    tree, _ = parse(text, job.name)
    found = plain(tree) if tree is not None else None
    return found if isinstance(found, dict) else {}


def _shown(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _without_secrets(value) for key, value in config.items() if key not in _NOT_COMPARED}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items() if not _SECRET_KEY.search(str(key))}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


def _differing(path: tuple[str, ...], values: Sequence[Any]) -> list[tuple[tuple[str, ...], list[Any]]]:
    """Return the paths that differ; a section that some configurations lack is followed, a mapping below it is not."""
    present = [value for value in values if value is not None]
    if all(value == values[0] for value in values) or ".".join(path) in _OUTPUTS:
        return []
    if not all(isinstance(value, dict) for value in (values if len(path) > 1 else present)):
        return [(path, list(values))]
    keys = dict.fromkeys(key for value in present for key in value)
    found = []
    for key in keys:
        found += _differing((*path, str(key)), [None if value is None else value.get(key) for value in values])
    return found


def _titles(paths: Sequence[tuple[str, ...]], taken: Collection[str]) -> list[str]:
    """Return the last parts of paths, as many as tell them apart and are not taken."""
    titles = []
    for path in paths:
        endings = [path[-count:] for count in range(1, len(path) + 1)]
        alone = (end for end in endings if sum(other[-len(end) :] == end for other in paths) == 1)
        titles.append(safe(".".join(next((end for end in alone if ".".join(end) not in taken), path))))
    return titles


def _text(value: Any) -> str:
    text = _SECRET_TEXT.sub(lambda found: f"{found[1] or found[2]}***" + ("@" if found[2] else ""), _plain_text(value))
    return shorten(safe(text), MOST_VALUE_CELLS)


def _plain_text(value: Any) -> str:
    if value is None:
        return _ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        words = all(isinstance(inner, str) for inner in value)
        return " ".join(value) if words else f"[{', '.join(map(_plain_text, value))}]"
    return number(value)
