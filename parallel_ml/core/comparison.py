"""By what the jobs of a run are compared, the best epoch of each, and which of them is the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from parallel_ml.core.status import JobResult, JobStatus
from parallel_ml.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Measure:
    """A metric by which epochs are compared: its name, its title in a table, what it is, whether less is better."""

    metric: str
    title: str
    what: str
    lowest: bool


_MEASURES = (
    Measure("val_accuracy", "val acc", "val accuracy", lowest=False),
    Measure("val_loss", "val loss", "val loss", lowest=True),
    Measure("train_accuracy", "accuracy", "training accuracy", lowest=False),
    Measure("train_loss", "loss", "training loss", lowest=True),
)
"""By what the epochs of a run are compared: the first that any of its jobs tells, and whether less is better."""


def measure_of(results: Sequence[JobResult]) -> Measure:
    """Return by what the epochs of these jobs are compared."""
    told = {
        name
        for result in results
        for name, values in result.history.items()
        if any(finite(value) is not None for value in values)
    }
    return next((measure for measure in _MEASURES if measure.metric in told), _MEASURES[0])


def best_epoch(result: JobResult, measure: Measure) -> tuple[float, int | None] | None:
    """Return the best value of a measure over all epochs, and the epoch that had it."""
    lowest = measure.lowest
    values = [finite(value) for value in result.history.get(measure.metric, [])]
    known = [(value, place) for place, value in enumerate(values) if value is not None]
    if not known:
        return None
    value, place = min(known, key=lambda one: (one[0] if lowest else -one[0], one[1]))
    told = result.history.get("epochs", [])
    return value, told[place] if place < len(told) else None


def best_job(
    jobs: Sequence[JobStatus] | Sequence[JobResult],
    values: Mapping[str, float | None] | None = None,
    what: str = "val accuracy",
    *,
    lowest: bool = False,
) -> tuple[str, str] | None:
    """Return the best job, and on what it is the best; None where there is nothing to compare.

    Args:
        jobs: Those that are completed are compared, by their test accuracy if two of them have one.
        values: Else by this, by the job's name.
        what: What these values are.
        lowest: The lowest of them is the best.
    """
    done = [job for job in jobs if job.state == "completed"]
    tested = {job.name: finite(job.metrics.get("test_accuracy")) for job in done}
    for name, found, choose in (("test accuracy", tested, max), (what, values or {}, min if lowest else max)):
        known = {job.name: value for job in done if (value := found.get(job.name)) is not None}
        if len(known) > 1:
            return choose(known, key=known.__getitem__), name
    return None


def finite(value: Any) -> float | None:
    """Return a figure that can be compared, or None."""
    try:
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
    except OverflowError:  # a whole number of 400 digits
        return None
