"""`fold`: the only code that changes a run's state, one event at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from parallel_ml.core import events as ev
from parallel_ml.core.model import Attempt, Job, JobState, Machine, OutcomeKind, RunState

_NOT_A_FAILURE = {OutcomeKind.STOPPED, OutcomeKind.RELEASED, OutcomeKind.LOST, OutcomeKind.NEVER_STARTED}


def fold(state: RunState, record: ev.Record) -> RunState:
    """Take one record into `state` and return it (the same object; its jobs are replaced, never changed).

    A record that is already in there (`seq` not newer) changes nothing, so that folding a log twice is harmless.
    """
    if record.seq <= state.seq:
        return state
    event = record.event
    if isinstance(event, ev.JobEvent):
        job = state.jobs[event.job]
        state.jobs[event.job] = _JOB_FOLDS[type(event)](job, event, record.ts)
    else:
        _fold_run(state, event, record.ts)
    state.seq = record.seq
    state.as_of = record.ts
    return state


def _fold_run(state: RunState, event: ev.Event, ts: float) -> None:
    if isinstance(event, ev.RunCreated):
        state.run_id, state.name, state.created_at = event.run_id, event.name, ts
        state.max_parallel = event.max_parallel
        state.jobs = {spec.name: Job(spec) for spec in event.jobs}
    elif isinstance(event, ev.SupervisorStarted):
        state.supervisor = event.process
    elif isinstance(event, ev.SupervisorLeft):
        state.supervisor = None
    elif isinstance(event, ev.MachineSeen):
        state.machine = Machine(event.machine.devices, event.machine.cores, event.machine.memory_bytes)
    elif isinstance(event, (ev.OrderDone, ev.CommandRejected)):
        state.orders_done.add(event.order)


def _placed(job: Job, event: ev.JobPlaced, ts: float) -> Job:
    attempt = Attempt(event.attempt, event.allocation, event.batch_size, event.accumulation, placed_at=ts)
    return replace(job, state=JobState.STARTING, attempts=(*job.attempts, attempt), due_at=None)


def _attempt_started(job: Job, event: ev.AttemptStarted, ts: float) -> Job:
    state = JobState.RUNNING if job.state is JobState.STARTING else job.state
    return replace(_last(job, started_at=ts, process=event.process, shim=event.shim), state=state)


def _attempt_ended(job: Job, event: ev.AttemptEnded, ts: float) -> Job:
    kind = event.outcome.kind
    failed = not event.outcome.good and kind not in _NOT_A_FAILURE
    return replace(
        _last(job, ended_at=ts, outcome=event.outcome, error=event.error),
        failures=job.failures + failed,
        losses=job.losses + (kind is OutcomeKind.LOST),
        frozen=False,
    )


def _stop_begun(job: Job, event: ev.StopBegun, _ts: float) -> Job:
    return replace(job, state=JobState.STOPPING, stop_cause=event.cause, due_at=event.due_at, frozen=False)


def _pause_begun(job: Job, event: ev.PauseBegun, _ts: float) -> Job:
    return replace(job, state=JobState.PAUSING, due_at=event.due_at, resume_wanted=False)


def _grace_over(job: Job, event: ev.GraceOver, _ts: float) -> Job:
    return replace(job, due_at=event.due_at)


def _frozen(job: Job, _event: ev.JobFrozen, _ts: float) -> Job:
    return replace(job, state=JobState.PAUSED, frozen=True)


def _thawed(job: Job, _event: ev.JobThawed, _ts: float) -> Job:
    return replace(job, state=JobState.RUNNING, frozen=False)


def _released(job: Job, _event: ev.JobReleased, _ts: float) -> Job:
    return replace(job, state=JobState.PAUSED, frozen=False, due_at=None)


def _resume_wanted(job: Job, _event: ev.ResumeWanted, _ts: float) -> Job:
    return replace(job, resume_wanted=True)


def _retry_scheduled(job: Job, event: ev.RetryScheduled, _ts: float) -> Job:
    return replace(job, state=JobState.RETRYING, due_at=event.due_at, stop_cause=None)


def _queued(job: Job, event: ev.JobQueued, _ts: float) -> Job:
    queued = replace(job, state=JobState.QUEUED, due_at=None, stop_cause=None, resume_wanted=False)
    if event.afresh:
        queued = replace(queued, failures=0, losses=0, error=None, finished_at=None)
    return queued


def _finished(job: Job, event: ev.JobFinished, ts: float) -> Job:
    return replace(job, state=event.state, error=event.error, finished_at=ts, due_at=None, stop_cause=None)


def _last(job: Job, **changes: Any) -> Job:
    return replace(job, attempts=(*job.attempts[:-1], replace(job.attempts[-1], **changes)))


_JOB_FOLDS: dict[type[ev.Event], Callable[[Job, Any, float], Job]] = {
    ev.JobPlaced: _placed,
    ev.AttemptStarted: _attempt_started,
    ev.AttemptEnded: _attempt_ended,
    ev.StopBegun: _stop_begun,
    ev.PauseBegun: _pause_begun,
    ev.GraceOver: _grace_over,
    ev.JobFrozen: _frozen,
    ev.JobThawed: _thawed,
    ev.JobReleased: _released,
    ev.ResumeWanted: _resume_wanted,
    ev.RetryScheduled: _retry_scheduled,
    ev.JobQueued: _queued,
    ev.JobFinished: _finished,
}
