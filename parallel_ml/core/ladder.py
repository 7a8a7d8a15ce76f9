"""The out-of-memory ladder: what a job tries after an attempt that ran out of memory, and in which order. Pure.

Halve the batch and double the accumulation, so that every update of the weights sees as many samples as before; again,
down to a floor; a larger grant; the CPU. Each step is a new attempt, at once, from the last checkpoint. Memory that is
short while the model is judged halves the batch of the judging alone: no result depends on that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parallel_ml.core.adjustments import Adjustment
from parallel_ml.core.outcome import OutcomeKind
from parallel_ml.core.room import Room, card_count, serves
from parallel_ml.core.units import MIB, format_size
from parallel_ml.records import dataclass, replace

if TYPE_CHECKING:
    from parallel_ml.core.model import Attempt, Job, RunState
    from parallel_ml.core.outcome import Outcome

MAX_STEPS = 10
"""Steps of the ladder in all, counted apart from attempts that failed for other reasons."""
MAX_HALVINGS = 8
"""Of these; the rest is kept for a larger grant and the CPU."""
_JUDGING = ("validate", "evaluate")
_WORTH = 8
"""A grant that grows by less than 1/8 is not worth a try."""


@dataclass(frozen=True)
class LadderStep:
    """The next thing to try: how the job is changed, and a sentence that says so."""

    adjustment: Adjustment
    text: str


def next_step(state: RunState, job: Job, outcome: Outcome, place: str | None) -> LadderStep | None:
    """Return what to try after the newest attempt ran out of memory; None where nothing is left.

    Args:
        state: The run, with what other jobs hold and the machine as last seen.
        job: The job as it was while that attempt lived.
        outcome: `oom_gpu` or `oom_host`.
        place: What the training was at (`train`, `validate`, `evaluate`), where it said so.
    """
    attempt, now = job.attempt, job.adjustment
    if attempt is None or now.steps >= MAX_STEPS:
        return None
    step = None
    if place in _JUDGING:
        step = _smaller_judging(now, attempt)
    step = step or _smaller_batch(job, attempt)
    if step is None and attempt.allocation.shares and outcome.kind is OutcomeKind.OOM_GPU:
        step = _larger_grant(state, job, attempt) or _cpu(job)
    if step is None:
        return None
    return replace(step, adjustment=replace(step.adjustment, steps=now.steps + 1))


def halved(batch_size: int, accumulation: int) -> tuple[int, int]:
    """Return the largest batch of at most half the size that divides the effective one, and its accumulation.

    >>> halved(16, 2), halved(25, 1)
    ((8, 4), (5, 5))
    """
    effective = batch_size * accumulation
    size = next(size for size in range(max(1, batch_size // 2), 0, -1) if effective % size == 0)
    return size, effective // size


def _smaller_batch(job: Job, attempt: Attempt) -> LadderStep | None:
    batch, accumulation = attempt.batch_size, attempt.accumulation
    if batch is None or batch <= job.spec.resources.min_batch_size or job.adjustment.halvings >= MAX_HALVINGS:
        return None
    size, times = halved(batch, accumulation)
    if size < job.spec.resources.min_batch_size:
        return None
    text = f"batch {batch} x {accumulation} becomes {size} x {times}: as many samples an update ({size * times})"
    changed = replace(job.adjustment, batch_size=size, accumulation=times, halvings=job.adjustment.halvings + 1)
    return LadderStep(changed, text)


def _smaller_judging(now: Adjustment, attempt: Attempt) -> LadderStep | None:
    batch = now.evaluation_batch_size or attempt.batch_size
    if batch is None or batch <= 1:
        return None
    text = f"validation and test take {batch // 2} samples at a time instead of {batch}; the training is as before"
    return LadderStep(replace(now, evaluation_batch_size=batch // 2), text)


def _larger_grant(state: RunState, job: Job, attempt: Attempt) -> LadderStep | None:
    """Double the grant, up to all that no other program or run holds; other jobs of this run are waited for."""
    wants = job.spec.resources
    if wants.gpu_memory_bytes is not None or wants.gpu_memory_fraction is not None:
        return None  # the user said how much it may have
    grant = min(share.memory_bytes for share in attempt.allocation.shares)
    most = sorted((device.left_bytes(0) for device in state.machine.devices if serves(device, wants)), reverse=True)
    if len(most) < card_count(wants):
        return None
    size = min(2 * grant, most[card_count(wants) - 1]) // MIB * MIB
    if size < grant + grant // _WORTH or Room(state.machine).fit(replace(wants, gpu_memory_bytes=size)) is None:
        return None
    text = f"a grant of {format_size(size)} instead of {format_size(grant)}"
    return LadderStep(replace(job.adjustment, gpu_memory_bytes=size), text)


def _cpu(job: Job) -> LadderStep | None:
    if not job.spec.resources.allow_cpu:
        return None
    # The host has more memory than a share of a card, and nothing was learned about it: begin with what was asked for.
    changed = replace(job.adjustment, on_cpu=True, batch_size=None, accumulation=None)
    return LadderStep(changed, "the CPU, with the batch that was asked for")
