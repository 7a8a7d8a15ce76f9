"""What differs between configurations: the keys that not all of them have alike, and never a secret.

The values are those that the user wrote: variables such as `${TOKEN}` stand in the run's copies unfilled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from parallel_ml.core.text import number, safe, shorten

MOST_VALUE_CELLS = 24
_ABSENT = "-"
_NOT_COMPARED = frozenset({"alerts", "depends_on", "env", "links", "name", "notifications"})
_OUTPUTS = frozenset({"model_training.checkpoint.filepath", "result_analysis.model_path"})
"""Where a job's files go differs in any case."""
_SECRET_KEY = re.compile(
    r"(?:token|secret|password|passwd|passphrase|credentials?|apikey|webhook)$|(?:^|[-_])(?:key|auth)$", re.IGNORECASE
)
_SECRET_TEXT = re.compile(r"(?i)((?:token|secret|passw\w*|api[-_]?key)[=:\s,]+)\S+|(://)[^/\s@]+@")

Rows = list[tuple[str, list[str]]]


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
