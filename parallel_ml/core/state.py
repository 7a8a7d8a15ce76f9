"""`fold`: the only code that changes a run's state, one event at a time."""

from __future__ import annotations

from collections.abc import Callable

from parallel_ml.core import events as ev
from parallel_ml.core.model import Attempt, Job, JobState, Machine, RunState
from parallel_ml.core.outcome import OutcomeKind
from parallel_ml.records import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOT_A_FAILURE = {OutcomeKind.STOPPED, OutcomeKind.RELEASED, OutcomeKind.NEVER_STARTED}


_LIVE = {JobState.STARTING, JobState.RUNNING, JobState.PAUSING, JobState.PAUSED, JobState.STOPPING}


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
        state.boot_id, state.booted_at = event.process.boot_id, event.booted_at
        if event.clock_set_s:
            state.jobs = {name: _moved(job, event.clock_set_s) for name, job in state.jobs.items()}
    elif isinstance(event, ev.SupervisorLeft):
        state.supervisor = None
    elif isinstance(event, ev.MachineSeen):
        state.machine = Machine(event.machine.devices, event.machine.cores, event.machine.memory_bytes)
    elif isinstance(event, (ev.OrderDone, ev.CommandRejected)):
        state.orders_done.add(event.order)


def _moved(job: Job, by_s: float) -> Job:
    """Move the times that something is measured from, or waits for, with a clock that was set."""
    last = job.attempt
    if last is not None and last.ended_at is None:
        started_at = None if last.started_at is None else last.started_at + by_s
        thawed_at = None if last.thawed_at is None else last.thawed_at + by_s
        job = _last(job, placed_at=last.placed_at + by_s, started_at=started_at, thawed_at=thawed_at)
    due_at = None if job.due_at is None else job.due_at + by_s
    held_since = None if job.held_since is None else job.held_since + by_s
    return replace(job, due_at=due_at, held_since=held_since)


def _placed(job: Job, event: ev.JobPlaced, ts: float) -> Job:
    attempt = Attempt(
        event.attempt,
        event.allocation,
        event.batch_size,
        event.accumulation,
        placed_at=ts,
        evaluation_batch_size=event.evaluation_batch_size,
    )
    return replace(job, state=JobState.STARTING, attempts=(*job.attempts, attempt), due_at=None)


def _attempt_started(job: Job, event: ev.AttemptStarted, ts: float) -> Job:
    state = JobState.RUNNING if job.state is JobState.STARTING else job.state
    started_at = _between(job.attempts[-1].placed_at, event.at, ts)
    return replace(_last(job, started_at=started_at, process=event.process, shim=event.shim), state=state)


def _attempt_ended(job: Job, event: ev.AttemptEnded, ts: float) -> Job:
    kind = event.outcome.kind
    lost = event.outcome.from_outside
    failed = not (event.outcome.good or lost or kind in _NOT_A_FAILURE)
    return replace(
        _last(
            job,
            ended_at=_between(job.attempts[-1].started_at, event.at, ts),
            outcome=event.outcome,
            error=event.error,
            diagnosis=event.diagnosis,
        ),
        failures=job.failures + failed,
        losses=job.losses + lost,
        frozen=False,
        held_since=None,
    )


def _stop_begun(job: Job, event: ev.StopBegun, _ts: float) -> Job:
    return replace(
        _obeyed(job, event.alert),
        state=JobState.STOPPING,
        stop_cause=event.cause,
        stop_reason=event.reason,
        due_at=event.due_at,
        frozen=False,
        held_since=None,
    )


def _pause_begun(job: Job, event: ev.PauseBegun, _ts: float) -> Job:
    job = _obeyed(job, event.alert)
    return replace(job, state=JobState.PAUSING, due_at=event.due_at, resume_wanted=False)


def _grace_over(job: Job, event: ev.GraceOver, _ts: float) -> Job:
    return replace(job, due_at=event.due_at)


def _frozen(job: Job, _event: ev.JobFrozen, ts: float) -> Job:
    return replace(job, state=JobState.PAUSED, frozen=True, due_at=None, held_since=ts)


def _thawed(job: Job, _event: ev.JobThawed, ts: float) -> Job:
    held_s = job.attempts[-1].held_s + max(0.0, ts - (job.held_since or ts))
    thawed = _last(job, held_s=held_s, thawed_at=ts)
    return replace(thawed, state=JobState.RUNNING, frozen=False, held_since=None, resume_wanted=False)


def _released(job: Job, event: ev.JobReleased, _ts: float) -> Job:
    return replace(_obeyed(job, event.alert), state=JobState.PAUSED, frozen=False, due_at=None)


def _resume_wanted(job: Job, _event: ev.ResumeWanted, _ts: float) -> Job:
    return replace(job, resume_wanted=True)


def _memory_recovered(job: Job, event: ev.MemoryRecovered, _ts: float) -> Job:
    failures = max(0, job.failures - 1)  # counted apart from attempts that failed for other reasons
    told = (*job.recoveries, event.text)
    return replace(job, adjustment=event.adjustment, recoveries=told, failures=failures)


def _rate_cut_ordered(job: Job, event: ev.RateCutOrdered, _ts: float) -> Job:
    return replace(_obeyed(job, event.alert), rate_cuts=(*job.rate_cuts, event.cut))


def _retry_scheduled(job: Job, event: ev.RetryScheduled, _ts: float) -> Job:
    return replace(job, state=JobState.RETRYING, due_at=event.due_at, stop_cause=None, stop_reason=None)


def _queued(job: Job, event: ev.JobQueued, _ts: float) -> Job:
    queued = replace(job, state=JobState.QUEUED, due_at=None, stop_cause=None, stop_reason=None, resume_wanted=False)
    if event.afresh:
        queued = replace(queued, failures=0, losses=0, error=None, finished_at=None)
        queued = replace(queued, fresh_starts=job.fresh_starts + 1, alert_orders=())
        # What is known to fit stays; what may be tried when it does not is whole again.
        queued = replace(queued, adjustment=replace(job.adjustment, steps=0, halvings=0))
    return queued


def _finished(job: Job, event: ev.JobFinished, ts: float) -> Job:
    done = replace(job, due_at=None, stop_cause=None, stop_reason=None)
    last = job.attempt
    # With an attempt that has just ended, perhaps long before anybody could write it down.
    at = last.ended_at if last is not None and job.state in _LIVE else None
    return replace(done, state=event.state, error=event.error, finished_at=at or ts)


def _between(earliest: float | None, told: float | None, latest: float) -> float:
    """Return the time that was told, where it can be; else when it was written down."""
    return told if told is not None and (earliest or 0.0) <= told <= latest else latest


def _obeyed(job: Job, alert: str | None) -> Job:
    """Remember what an alert ordered, so that it is not obeyed again."""
    return job if alert is None else replace(job, alert_orders=(*job.alert_orders, alert))


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
    ev.MemoryRecovered: _memory_recovered,
    ev.RateCutOrdered: _rate_cut_ordered,
    ev.RetryScheduled: _retry_scheduled,
    ev.JobQueued: _queued,
    ev.JobFinished: _finished,
}
