"""A job's figures as short texts, for messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parallel_ml.core.status import JobStatus
from parallel_ml.core.units import MIB, format_duration, format_size
from parallel_ml.notify.best import finite
from parallel_ml.notify.message import Table
from parallel_ml.notify.standing import device_of


def values_of(job: JobStatus) -> dict[str, str]:
    """Return what templates may name of a job."""
    told = {
        "state": job.state,
        "outcome": job.outcome,
        "error": job.error,
        "attempt": job.attempt,
        "device": device_of(job.allocation),
        "batch_size": job.batch_size,
        "epoch": job.epoch,
        "epochs": job.epochs,
        "time": time_of(job),
        "dir": job.paths.get("dir"),
        "log": job.paths.get("log"),
        "model": job.paths.get("model"),
    }
    return {name: "" if value is None else str(value) for name, value in told.items()}


def batch_of(job: JobStatus) -> str | None:
    """Return a batch size, with its accumulation."""
    if job.batch_size is None:
        return None
    times = job.accumulation or 1
    return f"{job.batch_size} x {times} = {job.batch_size * times}" if times > 1 else str(job.batch_size)


def epochs_of(epoch: int | None, epochs: int | None) -> str | None:
    """Return `2/4`, or what is known of it."""
    if epoch is None:
        return None
    return f"{epoch}/{epochs}" if epochs else str(epoch)


def time_of(job: JobStatus) -> str | None:
    """Return how long the newest attempt took."""
    return format_duration(job.elapsed_s) if job.elapsed_s is not None else None


def epoch_time(job: JobStatus, history: Mapping[str, Sequence[Any]]) -> str | None:
    """Return the mean of what the epochs took; where they do not say, the whole time shared among them."""
    told = [seconds for value in history.get("time_per_epoch", []) if (seconds := finite(value)) is not None]
    if told:
        return format_duration(sum(told) / len(told))
    return format_duration(job.elapsed_s / job.epoch) if job.elapsed_s is not None and job.epoch else None


def peak_of(job: JobStatus, which: str) -> str | None:
    """Return the most memory that a job had: `memory`, or `gpu_memory`."""
    peak = finite(job.resources.get(f"{which}_peak_mb"))
    return format_size(round(peak) * MIB) if peak is not None else None


def as_text(table: Table) -> str:
    """Return a table as plain lines, for a template."""
    return "\n".join("  ".join(row) for row in (table.header, *table.rows))
