"""From orders to what the state machine takes."""

from __future__ import annotations

from parallel_ml.core.stimuli import CommandStimulus, Pause, Resume, Retry, Stop
from parallel_ml.store.orders import Order, OrderKind


def stimulus_of(order: Order, job: str) -> CommandStimulus:
    """Return what an order means for one job."""
    if order.kind is OrderKind.STOP:
        return Stop(job, order.id, at_once=order.at_once)
    if order.kind is OrderKind.PAUSE:
        return Pause(job, order.id, freeze=order.freeze)
    return Resume(job, order.id) if order.kind is OrderKind.RESUME else Retry(job, order.id)
