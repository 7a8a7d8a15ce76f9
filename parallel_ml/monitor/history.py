"""`history.json`: a job's metrics by name, one value an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parallel_ml.core.status import JobResult, JobStatus
from parallel_ml.store.run_view import read_metrics

_NOT_SERIES = frozenset({"epoch", "epochs", "nonfinite", "source"})


def build_history(points: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return `{"epochs": [1, 2], "train_loss": [..], ...}`; every list is as long as `epochs`, unknown values None."""
    names = list(dict.fromkeys(name for point in points for name in point if name not in _NOT_SERIES))
    history: dict[str, list[Any]] = {"epochs": [point.get("epoch") for point in points]}
    for name in names:
        history[name] = [point.get(name) for point in points]
    return history


def job_result(job: JobStatus) -> JobResult:
    """Return a job's result: its status, and the metrics of all its epochs from its file."""
    return JobResult(
        name=job.name,
        state=job.state,
        outcome=job.outcome,
        metrics=job.metrics,
        history=build_history(read_metrics(Path(job.paths["metrics"] or ""))),
        paths=job.paths,
        error=job.error,
        resources=job.resources,
        failure=job.failure,
        recoveries=job.recoveries,
    )
