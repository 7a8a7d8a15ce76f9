"""From orders to what the state machine takes, and from how a job stands to what its shim must have been told."""

from __future__ import annotations

from parallel_ml.core.model import Job, JobState
from parallel_ml.core.stimuli import Command, CommandStimulus, Pause, Resume, Retry, Stop
from parallel_ml.store.orders import Order, OrderKind

_AGAIN = {JobState.STOPPING: Command.STOP, JobState.PAUSING: Command.PAUSE}


def stimulus_of(order: Order, job: str) -> CommandStimulus:
    """Return what an order means for one job."""
    if order.kind is OrderKind.STOP:
        return Stop(job, order.id, at_once=order.at_once)
    if order.kind is OrderKind.PAUSE:
        return Pause(job, order.id, freeze=order.freeze)
    return Resume(job, order.id) if order.kind is OrderKind.RESUME else Retry(job, order.id)


def told_again(job: Job, *, ordered: bool) -> Command | None:
    """Return what the shim of a job that is taken over must have been told.

    Args:
        job: The job.
        ordered: Whether its shim was ever told anything; if so it may hold a job that is to run.
    """
    if job.frozen:
        return Command.FREEZE
    if job.state is JobState.RUNNING:
        return Command.THAW if ordered else None
    return _AGAIN.get(job.state)
