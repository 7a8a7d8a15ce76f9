"""Figures of jobs as short texts; "" where one is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone

from parallel_ml.core.comparison import finite
from parallel_ml.core.model import Allocation
from parallel_ml.core.status import JobStatus
from parallel_ml.core.text import number
from parallel_ml.core.units import MIB, format_duration, format_size
from parallel_ml.report.facts import JobFacts
from parallel_ml.report.words import joined, state_of

_ORDER = ("running", "starting", "stopping", "retrying", "paused", "pending", "completed", "stopped", "failed")


def figure(value: float | None) -> str:
    """Return a metric's value.

    >>> figure(0.98882), figure(None)
    ('0.9888', '')
    """
    return number(value)


def duration(seconds: float | None) -> str:
    """Return how long something took."""
    return "" if seconds is None else format_duration(seconds)


def moment(seconds: float | None) -> str:
    """Return a time.

    >>> moment(0.0)
    '1970-01-01 00:00:00 UTC'
    """
    if seconds is None:
        return ""
    try:
        return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):  # what a damaged file says
        return ""


def peak(job: JobStatus, which: str) -> str:
    """Return the most memory that a job had: `memory`, or `gpu_memory`."""
    found = finite(job.resources.get(f"{which}_peak_mb"))
    return "" if found is None else format_size(round(found) * MIB)


def energy(job: JobStatus) -> str:
    """Return what a job's cards took."""
    found = finite(job.resources.get("energy_wh"))
    return "" if found is None else f"{number(found)} Wh"


def epochs(job: JobStatus) -> str:
    """Return `2/4`, or what is known of it."""
    if job.epoch is None:
        return ""
    return f"{number(job.epoch)}/{number(job.epochs)}" if job.epochs else number(job.epoch)


def batch(size: int | None, accumulation: int | None) -> str:
    """Return a batch size, with its accumulation."""
    if size is None:
        return ""
    return f"{size} x {accumulation}" if accumulation and accumulation > 1 else str(size)


def device(allocation: Allocation | None) -> str:
    """Return where an attempt ran."""
    if allocation is None:
        return ""
    cards = [str(share.gpu_index) for share in allocation.shares]
    return f"GPU {','.join(cards)}" if cards else "CPU"


def counts(jobs: Iterable[JobStatus], language: str) -> str:
    """Return how many jobs are in which state."""
    found = Counter(job.state for job in jobs)
    order = [*(word for word in _ORDER if word in found), *(word for word in found if word not in _ORDER)]
    return joined([f"{found[word]} {state_of(word, language)}" for word in order], language)


def took(job: JobFacts) -> float | None:
    """Return how long the attempts of a job took together, in seconds; the newest as its status has it."""
    before = [one.ended_at - one.started_at for one in job.attempts[:-1] if one.ended_at and one.started_at]
    newest = job.status.elapsed_s
    return sum(before) + (newest or 0.0) if before or newest is not None else None


def clock(seconds: float) -> str:
    """Return a time since the beginning of a run, for an axis.

    >>> clock(90.0), clock(-5.0)
    ('1m30s', '-5.0s')
    """
    return format_duration(seconds) if seconds >= 0 else f"-{format_duration(-seconds)}"
