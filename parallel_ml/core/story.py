"""What an event means to somebody who reads a job's log. The shim tells of starts and ends itself."""

from __future__ import annotations

from collections.abc import Callable

from parallel_ml.core import events as ev

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def told(event: ev.Event) -> str | None:
    """Return an event of a job in a sentence; None for one that need not be told."""
    tell = _TELLERS.get(type(event))
    return None if tell is None else tell(event)


def _placed(event: ev.JobPlaced) -> str:
    granted = event.allocation.to_dict()
    where = "the CPU" if granted["device"] == "cpu" else f"GPU {granted['gpu_index']}, {granted['memory_limit']} MB"
    batch = "" if event.batch_size is None else f", batch {event.batch_size} x {event.accumulation}"
    return f"attempt {event.attempt} placed on {where}{batch}"


def _ended(event: ev.AttemptEnded) -> str | None:
    found = event.diagnosis
    if found is None:
        return None
    likely = "probably " if found.suspected else ""
    return f"attempt {event.attempt} failed: {likely}{found.kind.words}; {found.advice}"


def _stop(event: ev.StopBegun) -> str:
    return "asked to stop" if event.cause.value == "stopped" else f"asked to stop: {event.cause.value}"


def _finished(event: ev.JobFinished) -> str:
    return f"{event.state.word}: {event.error}" if event.error else event.state.word


_TELLERS: dict[type[ev.Event], Callable[[Any], str | None]] = {
    ev.JobPlaced: _placed,
    ev.AttemptEnded: _ended,
    ev.StopBegun: _stop,
    ev.PauseBegun: lambda _: "asked to save and pause",
    ev.JobFrozen: lambda _: "paused: held in memory",
    ev.JobThawed: lambda _: "goes on",
    ev.JobReleased: lambda _: "paused: nothing of it runs",
    ev.JobQueued: lambda event: f"queued: {event.reason}",
    ev.RetryScheduled: lambda event: f"will be tried again: {event.reason}",
    ev.JobFinished: _finished,
}
