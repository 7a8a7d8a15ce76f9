"""What the cache has ready of finished jobs as the JSON that a program is told, without taking it apart in between."""

from __future__ import annotations

import json
from functools import cache

from parallel_ml.core.status import JobStatus
from parallel_ml.records import defaults_of, names_of
from parallel_ml.store.job_status import PATHS
from parallel_ml.store.told_jobs import BETWEEN, FIELDS, same_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from parallel_ml.store.layout import RunLayout

_MARK, _MODEL, _NAME, _ATTEMPT = (FIELDS.index(field) for field in ("mark", "model", "name", "attempt"))
_STANDS_FOR_NAME, _STANDS_FOR_MODEL = r"\u0000", r'"\u0001"'
_json = json.JSONEncoder().encode


def ready_texts(layout: RunLayout, lines: Mapping[str, str]) -> dict[str, str]:
    """Return the jobs' statuses as JSON, with all that `JobStatus.to_dict` has; without those that are not ready.

    Args:
        layout: Their run.
        lines: A line of the cache for each job.
    """
    if "\\" in layout.root:  # might look like what stands for a name
        return {}
    texts, template = {}, _template()
    paths = cache(lambda attempt: _paths(layout, attempt))
    for name, line in lines.items():
        parts = line.rstrip(",")[1:-1].split(BETWEEN)
        if len(parts) != len(FIELDS) or "NaN" in line or "Infinity" in line:
            continue
        in_quotes, attempt = parts[_NAME][1:-1], parts[_ATTEMPT]
        if attempt.isdigit() and same_files(layout, name, int(attempt), parts[_MARK][1:-1]):
            files = paths(int(attempt)).replace(_STANDS_FOR_NAME, in_quotes)
            texts[name] = template.format(*parts, paths=files.replace(_STANDS_FOR_MODEL, parts[_MODEL]))
    return texts


def _template() -> str:
    """Return a status as JSON, with a place for each thing that the cache tells of a job, and for its paths."""
    fixed = {field: _json(value) for field, value in defaults_of(JobStatus).items()}
    places = {**fixed, **{field: f"{{{place}}}" for place, field in enumerate(FIELDS)}, "paths": "{paths}"}
    return "{{" + ", ".join(f'"{field}": {places[field]}' for field in names_of(JobStatus)) + "}}"


def _paths(layout: RunLayout, attempt: int) -> str:
    """Return a job's paths as JSON, with what stands for its name and its model."""
    files = layout.job_paths("\0", attempt or 1)
    return _json({field: files.get(field, "\1") for field in PATHS})
