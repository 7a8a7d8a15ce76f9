"""What Prometheus is told of a run and of a job: the names of the metrics, and where each value comes from.

Base units throughout: seconds, bytes, joules, and ratios from 0 to 1. How it becomes text stands in `prometheus`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from parallel_ml.core.model import JobState
from parallel_ml.core.status import JobStatus, RunStatus
from parallel_ml.records import dataclass

GAUGE, COUNTER = "gauge", "counter"
FINISHED = frozenset(state.word for state in JobState if state.finished)
MOST_METRICS = 20
"""So many of a job's own metrics, and of its alerts, are told; a program may report any number of names."""
_TOLD_ALREADY = frozenset({"time_per_epoch", "memory_usage", "gpu_utilization"})
"""Metrics of an epoch that stand here under names of their own, in base units."""
_MIB = float(1 << 20)
_JOULES_PER_WH = 3600.0


@dataclass(frozen=True)
class Figure:
    """A metric with one value for each run or job.

    Attributes:
        name: Its name; a counter's gets `_total` behind it.
        text: What it is, a sentence.
        kind: `gauge` or `counter`.
        value: Returns the value; None where it is not known.
    """

    name: str
    text: str
    kind: str
    value: Callable[[Any], float | None]


def _resource(key: str, scale: float = 1.0) -> Callable[[JobStatus], float | None]:
    return lambda job: _scaled(job.resources.get(key), scale)


def _scaled(value: Any, scale: float) -> float | None:
    try:
        return float(value) * scale if isinstance(value, (int, float)) else None
    except OverflowError:  # a whole number of some hundred digits
        return None


def _epoch_seconds(job: JobStatus) -> float | None:
    return _scaled(job.metrics.get("time_per_epoch"), 1.0)


def _granted_bytes(job: JobStatus) -> float | None:
    return _scaled((job.allocation or {}).get("memory_limit"), _MIB)


def _created(run: RunStatus) -> float | None:
    return seconds(run.created)


RUN_FIGURES = (
    Figure("parallel_ml_run_created_timestamp_seconds", "When the run was made.", GAUGE, _created),
    Figure(
        "parallel_ml_run_supervised",
        "Whether a supervisor drives the run; nothing new is started without one.",
        GAUGE,
        lambda run: float(run.supervisor == "running"),
    ),
    Figure(
        "parallel_ml_run_finished",
        "Whether every job of the run has ended.",
        GAUGE,
        lambda run: float(run.state in FINISHED),
    ),
    Figure(
        "parallel_ml_run_undelivered_messages",
        "How many kinds of messages of the run did not arrive.",
        GAUGE,
        lambda run: float(len(run.undelivered)),
    ),
)
JOB_FIGURES = (
    Figure("parallel_ml_job_attempts", "Attempts of the job so far.", COUNTER, lambda job: float(job.attempt)),
    Figure(
        "parallel_ml_job_memory_recoveries",
        "Steps taken because the job ran out of memory.",
        COUNTER,
        lambda job: float(len(job.recoveries)),
    ),
    Figure(
        "parallel_ml_job_epoch", "The last epoch that the job has done.", GAUGE, lambda job: _scaled(job.epoch, 1.0)
    ),
    Figure("parallel_ml_job_epochs", "How many epochs it is to do.", GAUGE, lambda job: _scaled(job.epochs, 1.0)),
    Figure("parallel_ml_job_epoch_duration_seconds", "How long the last epoch took.", GAUGE, _epoch_seconds),
    Figure(
        "parallel_ml_job_elapsed_seconds",
        "How long the newest attempt has run, or had run, without what it was held.",
        GAUGE,
        lambda job: job.elapsed_s,
    ),
    Figure("parallel_ml_job_batch_size", "Samples in a step on the device.", GAUGE, lambda job: job.batch_size),
    Figure("parallel_ml_job_accumulation", "Steps to an update.", GAUGE, lambda job: job.accumulation),
    Figure("parallel_ml_job_memory_bytes", "Memory of its processes now.", GAUGE, _resource("memory_mb", _MIB)),
    Figure("parallel_ml_job_memory_peak_bytes", "The most of it.", GAUGE, _resource("memory_peak_mb", _MIB)),
    Figure("parallel_ml_job_cpu_seconds", "Processor time of its processes.", COUNTER, _resource("cpu_seconds")),
    Figure("parallel_ml_job_gpu_memory_bytes", "GPU memory it holds now.", GAUGE, _resource("gpu_memory_mb", _MIB)),
    Figure("parallel_ml_job_gpu_memory_peak_bytes", "The most of it.", GAUGE, _resource("gpu_memory_peak_mb", _MIB)),
    Figure("parallel_ml_job_gpu_memory_granted_bytes", "GPU memory it was granted.", GAUGE, _granted_bytes),
    Figure(
        "parallel_ml_job_gpu_utilization_ratio",
        "Its part of the time of its GPUs.",
        GAUGE,
        _resource("gpu_utilization", 0.01),
    ),
    Figure(
        "parallel_ml_job_energy_joules",
        "What its GPUs took for it.",
        COUNTER,
        _resource("energy_wh", _JOULES_PER_WH),
    ),
)


def metric_values(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what a job itself has measured: its last epoch's metrics, and the figures of its result.

    What is not a finite number is told as such, so that a rule can say so: `nan`, `inf` or `-inf`.

    >>> list(metric_values({"loss": 0.5, "note": "x", "acc": None, "nonfinite": {"acc": "-inf"}}))
    [('loss', 0.5), ('acc', -inf)]
    """
    odd = metrics.get("nonfinite")
    lost = odd if isinstance(odd, dict) else {}
    yield from islice(_numbers({**metrics, **lost}, frozenset(lost)), MOST_METRICS)


def _numbers(metrics: Mapping[str, Any], lost: frozenset[str]) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        odd = name in lost and isinstance(value, str) and value in {"nan", "inf", "-inf"}
        number = float(value) if odd else _scaled(value, 1.0)
        if number is not None and name not in _TOLD_ALREADY:
            yield name, number


def seconds(moment: str | None) -> float | None:
    """Return a time of a status as seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp() if moment else None
