"""The state machine: what each stimulus does to a job in each state. Pure: it returns events and effects.

`TRANSITIONS` is the whole table. A fact without a transition is a bug (`InvalidTransition`); a command without one is
answered by `CommandRejected`. News of an attempt that is not the newest is late and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from parallel_ml.core import events as ev
from parallel_ml.core.adjustments import RateCut
from parallel_ml.core.diagnosis import diagnose
from parallel_ml.core.ladder import next_step
from parallel_ml.core.model import Job, JobSpec, JobState, Machine, RunState
from parallel_ml.core.outcome import Outcome, OutcomeKind
from parallel_ml.core.recovery import classify, judge, retry_delay
from parallel_ml.core.stimuli import (
    BackoffOver,
    Command,
    CommandStimulus,
    CutRate,
    Decision,
    DependencyEnded,
    Ended,
    GraceOver,
    Held,
    Pause,
    Placed,
    Resume,
    Retry,
    StartAttempt,
    Started,
    Stimulus,
    Stop,
    TellShim,
    WriteRates,
)
from parallel_ml.errors import InvalidTransition

SHIM_MARGIN_S = 5.0
"""The shim itself ends the tree within the grace; this much later the supervisor takes it for stuck and kills."""


PAUSE_GRACE_S = {"training": 60.0, "command": 600.0}
"""Nobody is in a hurry when a job saves to go on later: a long step, or a large state, gets this long at least."""


NOTHING = Decision()


def decide(state: RunState, stimulus: Stimulus, now: float) -> Decision:
    """Return what `stimulus` leads to. Reads nothing but its arguments and changes nothing.

    Raises:
        InvalidTransition: A fact has no transition from the job's state.
    """
    job = state.jobs[stimulus.job]
    if isinstance(stimulus, (Started, Ended, Held)) and _is_late(job, stimulus):
        return NOTHING
    if isinstance(stimulus, CommandStimulus) and stimulus.alert is not None and stimulus.alert in job.alert_orders:
        return NOTHING  # a supervisor that was killed ordered it already
    handler = TRANSITIONS.get((job.state, type(stimulus)))
    if handler is _ended:
        return _ended(job, stimulus, now, state)
    if handler is not None:
        return handler(job, stimulus, now)
    if isinstance(stimulus, CommandStimulus):
        return _rejected(job, stimulus)
    raise InvalidTransition(job.name, job.state.value, repr(stimulus), [repr(attempt) for attempt in job.attempts])


def due(state: RunState, now: float, jobs: Iterable[Job] | None = None) -> Iterator[Stimulus]:
    """Yield what the passing of time brings: backoffs and graces that are over, attempts over their time limit.

    Args:
        state: The run.
        now: The time.
        jobs: Those of it that something may be due for; None is all.
    """
    for job in state.jobs.values() if jobs is None else jobs:
        at = due_time(job)
        if at is None or at > now:
            continue
        if job.due_at is None:
            yield Stop(job.name, cause=OutcomeKind.TIMEOUT)
        else:
            yield BackoffOver(job.name) if job.state is JobState.RETRYING else GraceOver(job.name)


def due_time(job: Job) -> float | None:
    """Return when something will be due for a job should nothing happen before, or None."""
    if job.due_at is not None:
        return job.due_at
    return _time_limit(job) if job.state is JobState.RUNNING else None


def on_lost_devices(state: RunState, machine: Machine, jobs: Iterable[Job] | None = None) -> Iterator[Stimulus]:
    """Yield what the loss of cards brings: the end of each running attempt that holds one of them.

    Args:
        state: The run.
        machine: What there is now.
        jobs: Those of it that may hold a card; None is all.
    """
    lost = {device.uuid: device for device in machine.devices if device.lost}
    for job in (state.jobs.values() if jobs is None else jobs) if lost else ():
        holds = job.holds
        if job.state is not JobState.RUNNING or not holds:
            continue
        gone = next((lost[share.gpu_uuid] for share in holds.shares if share.gpu_uuid in lost), None)
        if gone is not None:
            reason = f"its GPU {gone.index} {gone.trouble}" if gone.trouble else None
            yield Stop(job.name, cause=OutcomeKind.GPU_LOST, reason=reason)


def pause_patience_s(spec: JobSpec) -> float:
    """Return how long a job may take to save and leave when it is told to pause.

    After that the built-in training is killed, which costs it what came after its last save; an own program, of which
    nobody knows what it is at, is held in memory.
    """
    return max(spec.grace_s, PAUSE_GRACE_S.get(spec.kind, 0.0))


def ended_dependencies(state: RunState, jobs: Iterable[Job] | None = None) -> Iterator[DependencyEnded]:
    """Yield, for each queued job, the first job that it needs and that failed or was stopped.

    Args:
        state: The run.
        jobs: Those of it that this may be so for; None is all.
    """
    for job in state.jobs.values() if jobs is None else jobs:
        if job.state is not JobState.QUEUED or not job.spec.depends_on:
            continue
        for name in job.spec.depends_on:
            needed = state.jobs[name].state
            if needed in (JobState.FAILED, JobState.STOPPED):
                yield DependencyEnded(job.name, name, needed)
                break


# --- transitions -------------------------------------------------------------------------------------------------


def _placed(job: Job, stimulus: Placed, _now: float) -> Decision:
    number = len(job.attempts) + 1
    event = ev.JobPlaced(
        job.name,
        number,
        stimulus.allocation,
        stimulus.batch_size,
        stimulus.accumulation,
        stimulus.evaluation_batch_size,
    )
    return Decision((event,), (StartAttempt(job.name, number),))


def _started(job: Job, stimulus: Started, _now: float) -> Decision:
    return Decision((ev.AttemptStarted(job.name, stimulus.attempt, stimulus.process, stimulus.shim, stimulus.at),))


def _ended(job: Job, stimulus: Ended, now: float, state: RunState) -> Decision:
    outcome, error, diagnosis = judge(stimulus.facts, [attempt.outcome for attempt in job.attempts])
    if outcome.kind in _ASKED_TO_END:  # not by us: a machine that is shut down, say
        outcome, error = Outcome(OutcomeKind.LOST), "something outside this program asked it to end"
    ended = ev.AttemptEnded(job.name, stimulus.attempt, outcome, error, diagnosis, stimulus.facts.ended_at)
    if outcome.kind in _OUT_OF_MEMORY:
        step = next_step(state, job, outcome, stimulus.facts.place)
        if step is not None:
            recovered = ev.MemoryRecovered(job.name, stimulus.attempt, step.adjustment, step.text)
            return Decision((ended, recovered, ev.JobQueued(job.name, f"out of memory: {step.text}")))
    return _after(job, ended, now)


def _after(job: Job, ended: ev.AttemptEnded, now: float) -> Decision:
    outcome, error = ended.outcome, ended.error
    if outcome.good:
        return Decision((ended, ev.JobFinished(job.name, JobState.SUCCEEDED)))
    delay = retry_delay(job, outcome)
    if delay is None:
        return Decision((ended, ev.JobFinished(job.name, JobState.FAILED, _why_failed(job, outcome, error))))
    return Decision((ended, ev.RetryScheduled(job.name, now + delay, error or str(outcome))))


def _why_failed(job: Job, outcome: Outcome, error: str | None) -> str:
    why = error or str(outcome)
    if outcome.kind in _OUT_OF_MEMORY and job.recoveries:
        return f"{why}; {len(job.recoveries)} smaller ways were tried, the last: {job.recoveries[-1]}"
    return why


def _ended_while_stopping(job: Job, stimulus: Ended, now: float) -> Decision:
    outcome, _ = classify(stimulus.facts)
    if outcome.good:
        return _after(job, ev.AttemptEnded(job.name, stimulus.attempt, outcome, at=stimulus.facts.ended_at), now)
    cause = job.stop_cause or OutcomeKind.STOPPED
    if cause is OutcomeKind.STOPPED:
        ended = ev.AttemptEnded(job.name, stimulus.attempt, Outcome(cause), at=stimulus.facts.ended_at)
        return Decision((ended, ev.JobFinished(job.name, JobState.STOPPED, job.stop_reason)))
    error = _why_stopped(job, cause)
    diagnosis = diagnose(Outcome(cause), error)
    at = stimulus.facts.ended_at
    return _after(job, ev.AttemptEnded(job.name, stimulus.attempt, Outcome(cause), error, diagnosis, at), now)


def _why_stopped(job: Job, cause: OutcomeKind) -> str:
    if job.stop_reason is not None:
        return job.stop_reason
    if cause is OutcomeKind.GPU_LOST:
        return "its GPU was lost: it fell off the bus or needs a reset"
    limit = f"{job.spec.timeout_s:g} s" if job.spec.timeout_s is not None else "its limit"
    return f"it ran longer than its timeout of {limit}"


def _ended_while_pausing(job: Job, stimulus: Ended, now: float) -> Decision:
    outcome, error = classify(stimulus.facts)
    if outcome.good:
        return _after(job, ev.AttemptEnded(job.name, stimulus.attempt, outcome, at=stimulus.facts.ended_at), now)
    ended = ev.AttemptEnded(
        job.name, stimulus.attempt, Outcome(OutcomeKind.RELEASED), error, at=stimulus.facts.ended_at
    )
    events: tuple[ev.Event, ...] = (ended, ev.JobReleased(job.name))
    if job.resume_wanted:
        events = (*events, ev.JobQueued(job.name, "resumed"))
    return Decision(events)


def _held_while_pausing(job: Job, _stimulus: Held, _now: float) -> Decision:
    held = ev.JobFrozen(job.name)
    if not job.resume_wanted:
        return Decision((held,))
    return _tell(job, Command.THAW, held, ev.JobThawed(job.name))


def _stop_waiting(job: Job, stimulus: Stop, _now: float) -> Decision:
    return Decision((ev.JobFinished(job.name, JobState.STOPPED, order=stimulus.order),))


def _stop_live(job: Job, stimulus: Stop, now: float) -> Decision:
    grace_s, command = (0.0, Command.KILL) if stimulus.at_once else (job.spec.grace_s, Command.STOP)
    due_at = now + grace_s + SHIM_MARGIN_S
    return _tell(
        job, command, ev.StopBegun(job.name, stimulus.cause, due_at, stimulus.order, stimulus.reason, stimulus.alert)
    )


def _stop_again(job: Job, stimulus: Stop, now: float) -> Decision:
    if stimulus.at_once:
        return _stop_live(job, stimulus, now)
    if job.stop_cause is not stimulus.cause and stimulus.cause is OutcomeKind.STOPPED and job.due_at is not None:
        return Decision((ev.StopBegun(job.name, stimulus.cause, job.due_at, stimulus.order),))
    return NOTHING


def _stop_paused(job: Job, stimulus: Stop, now: float) -> Decision:
    return _stop_live(job, stimulus, now) if job.frozen else _stop_waiting(job, stimulus, now)


def _pause_waiting(job: Job, stimulus: Pause, _now: float) -> Decision:
    return Decision((ev.JobReleased(job.name, stimulus.order, stimulus.alert),))


def _pause_live(job: Job, stimulus: Pause, now: float) -> Decision:
    if stimulus.freeze and job.state is JobState.RUNNING:
        return _tell(job, Command.FREEZE, ev.JobFrozen(job.name, stimulus.order))
    due_at = now + pause_patience_s(job.spec) + SHIM_MARGIN_S
    return _tell(job, Command.PAUSE, ev.PauseBegun(job.name, due_at, stimulus.order, stimulus.alert))


def _pause_again(_job: Job, _stimulus: Pause, _now: float) -> Decision:
    return NOTHING


def _resume_paused(job: Job, stimulus: Resume, _now: float) -> Decision:
    if job.frozen:
        return _tell(job, Command.THAW, ev.JobThawed(job.name, stimulus.order))
    return Decision((ev.JobQueued(job.name, "resumed", order=stimulus.order),))


def _resume_pausing(job: Job, stimulus: Resume, _now: float) -> Decision:
    return Decision((ev.ResumeWanted(job.name, stimulus.order),))


def _retry_finished(job: Job, stimulus: Retry, _now: float) -> Decision:
    return Decision((ev.JobQueued(job.name, "tried again", afresh=True, order=stimulus.order),))


def _cut_rate(job: Job, stimulus: CutRate, _now: float) -> Decision:
    if job.spec.kind != "training":
        return _rejected(job, stimulus, "is an own program, which sets its learning rate itself")
    cut = RateCut(len(job.rate_cuts) + 1, stimulus.from_epoch, stimulus.factor, stimulus.least)
    return Decision(
        (ev.RateCutOrdered(job.name, cut, stimulus.reason, stimulus.order, stimulus.alert),), (WriteRates(job.name),)
    )


def _backoff_over(job: Job, _stimulus: BackoffOver, _now: float) -> Decision:
    return Decision((ev.JobQueued(job.name, "the wait before the next attempt is over"),))


def _grace_over(job: Job, _stimulus: GraceOver, now: float) -> Decision:
    return _tell(job, Command.KILL, ev.GraceOver(job.name, now + SHIM_MARGIN_S))


def _dependency_ended(job: Job, stimulus: DependencyEnded, _now: float) -> Decision:
    if stimulus.state is JobState.STOPPED:
        return Decision((ev.JobFinished(job.name, JobState.STOPPED, f"{stimulus.dependency} was stopped"),))
    return Decision((ev.JobFinished(job.name, JobState.FAILED, f"{stimulus.dependency}, which it needs, failed"),))


def _tell(job: Job, command: Command, *events: ev.Event) -> Decision:
    return Decision(events, (TellShim(job.name, len(job.attempts), command),))


def _rejected(job: Job, stimulus: CommandStimulus, why: str | None = None) -> Decision:
    if stimulus.order is None:
        return NOTHING
    command = type(stimulus).__name__.lower()
    reason = f"{job.name} {why or f'is {job.state.word}'}"
    return Decision((ev.CommandRejected(stimulus.order, command, reason, job.name),))


def _is_late(job: Job, stimulus: Started | Ended | Held) -> bool:
    last = job.attempt
    if isinstance(stimulus, Held) and job.state is not JobState.PAUSING:
        return True
    if last is None or last.number != stimulus.attempt or last.ended_at is not None:
        return True
    return isinstance(stimulus, Started) and last.process is not None


def _time_limit(job: Job) -> float | None:
    last = job.attempt
    if job.spec.timeout_s is None or last is None or last.started_at is None:
        return None
    return last.started_at + last.held_s + job.spec.timeout_s


_OUT_OF_MEMORY = (OutcomeKind.OOM_GPU, OutcomeKind.OOM_HOST)
_ASKED_TO_END = (OutcomeKind.STOPPED, OutcomeKind.RELEASED)
S = JobState
TRANSITIONS: dict[tuple[JobState, type[Stimulus]], Callable[..., Decision]] = {
    (S.QUEUED, Placed): _placed,
    (S.QUEUED, Stop): _stop_waiting,
    (S.QUEUED, Pause): _pause_waiting,
    (S.QUEUED, DependencyEnded): _dependency_ended,
    (S.STARTING, Started): _started,
    (S.STARTING, Ended): _ended,
    (S.STARTING, Stop): _stop_live,
    (S.STARTING, Pause): _pause_live,
    (S.RUNNING, Ended): _ended,
    (S.RUNNING, Stop): _stop_live,
    (S.RUNNING, Pause): _pause_live,
    (S.PAUSING, Started): _started,
    (S.PAUSING, Ended): _ended_while_pausing,
    (S.PAUSING, Held): _held_while_pausing,
    (S.PAUSING, Stop): _stop_live,
    (S.PAUSING, Pause): _pause_again,
    (S.PAUSING, Resume): _resume_pausing,
    (S.PAUSING, GraceOver): _grace_over,
    (S.PAUSED, Resume): _resume_paused,
    (S.PAUSED, Stop): _stop_paused,
    (S.PAUSED, Ended): _ended,
    (S.RETRYING, BackoffOver): _backoff_over,
    (S.RETRYING, Stop): _stop_waiting,
    (S.RETRYING, Pause): _pause_waiting,
    (S.STOPPING, Started): _started,
    (S.STOPPING, Ended): _ended_while_stopping,
    (S.STOPPING, Stop): _stop_again,
    (S.STOPPING, GraceOver): _grace_over,
    (S.QUEUED, CutRate): _cut_rate,
    (S.STARTING, CutRate): _cut_rate,
    (S.RUNNING, CutRate): _cut_rate,
    (S.RETRYING, CutRate): _cut_rate,
    (S.PAUSED, CutRate): _cut_rate,
    (S.FAILED, Retry): _retry_finished,
    (S.STOPPED, Retry): _retry_finished,
}
