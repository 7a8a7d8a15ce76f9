"""What there is to tell of a job that has finished, ready made: the cache has it, so that no reader opens its files.

It holds for as long as these files are the very ones that it was made from: any that was changed, removed or put there
since has another inode, size or time of change. Then the job is told from its files again.
"""

from __future__ import annotations

import os

from parallel_ml.core.status import JobStatus
from parallel_ml.errors import StoreError
from parallel_ml.records import filler
from parallel_ml.store.job_status import EVERYTHING, PATHS, job_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from parallel_ml.store.job_status import Show
    from parallel_ml.store.layout import RunLayout

_OF_THE_JOB = (
    "process_id",
    "name",
    "state",
    "outcome",
    "attempt",
    "pid",
    "allocation",
    "batch_size",
    "accumulation",
    "seed",
    "error",
    "elapsed_s",
    "failure",
    "recoveries",
)
_OF_ITS_FILES = ("epoch", "epochs", "metrics", "resources")
_TIMES = ("started", "ended")
_NAMES = (*_OF_THE_JOB, *_OF_ITS_FILES, *_TIMES)
FIELDS = ("mark", "model", "epochs asked", *_NAMES)
"""What stands at each place of what is told: a list, since thousands of objects are slow to read."""
BETWEEN = ",\t"
"""Between two of them in the cache, and nowhere else in JSON as it is written here."""
_FIRST = FIELDS.index(_NAMES[0])
_BRIEF_END, _TABLE_END = _FIRST + len(_OF_THE_JOB), len(FIELDS) - len(_TIMES)
_RECOVERIES = "recoveries"
_filled = filler(JobStatus)
_stat = os.stat


def told_of(layout: RunLayout, job: dict[str, Any]) -> list[Any] | None:
    """Return what `status_of` makes a status of; None where it would not be the same at any later time.

    Args:
        layout: Its run.
        job: A job that has finished, as JSON values.
    """
    try:
        name, attempts = job["spec"]["name"], job.get("attempts")
        number = attempts[-1]["number"] if attempts else 0
        mark = _mark(layout, name, number)
        status = job_status(layout, job, 0.0, None, EVERYTHING)
        if mark != _mark(layout, name, number) or not (number or status.outcome) or status.held or status.pausing:
            return None
    except (OSError, StoreError, RecursionError):
        return None
    return [mark, status.paths["model"], job["spec"].get("epochs"), *(getattr(status, one) for one in _NAMES)]


def status_of(layout: RunLayout, told: Sequence[Any], show: Show) -> JobStatus | None:
    """Return the status of a job that has finished; None where its files are not what they were.

    Args:
        layout: Its run.
        told: What `told_of` gave, with what `FIELDS` has at each place.
        show: What is left out.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: What was told makes no sense.
    """
    end = None if show.details else _TABLE_END if show.files else _BRIEF_END
    values = dict(zip(_NAMES, told[_FIRST:end], strict=False))
    name, number = values["name"], values["attempt"]
    if not show.files:
        values |= {"epoch": None, "epochs": told[2], "metrics": {}, "resources": {}}
    elif told[0] != _mark(layout, name, number):
        return None
    if values[_RECOVERIES].__class__ is not tuple:
        values[_RECOVERIES] = tuple(values[_RECOVERIES])
    values["paths"] = {}
    if show.details:
        files = layout.job_paths(name, number or 1)
        values["paths"] = {one: files.get(one, told[1]) for one in PATHS}
    status: JobStatus = _filled(values, {})
    return status


def same_files(layout: RunLayout, name: str, attempt: int, mark: str) -> bool:
    """Say whether the files of a job and an attempt are those that had this mark."""
    return mark == _mark(layout, name, attempt)


def _mark(layout: RunLayout, name: str, attempt: int) -> str:
    """Return what tells whether the files that a status is made from are the same."""
    if not attempt:
        return ""
    job, mark = f"{layout.root}/jobs/{name}/", ""
    for file in ("metrics.jsonl", "result.json", f"attempt-{attempt:02d}/samples.jsonl"):
        try:
            found = _stat(job + file)
        except (FileNotFoundError, NotADirectoryError):
            mark += "- "
        else:
            mark += f"{found.st_ino}.{found.st_size}.{found.st_ctime_ns} "
    return mark
