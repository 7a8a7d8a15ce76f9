"""The state machine, by its table and by random stimuli."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallel_ml.core import machine as m
from parallel_ml.core import stimuli as stim
from parallel_ml.core.adjustments import RateCut
from parallel_ml.core.events import RateCutOrdered, Record, RunCreated, record_from_json, record_to_json
from parallel_ml.core.model import (
    Allocation,
    Attempt,
    Device,
    GpuShare,
    Job,
    JobSpec,
    JobState,
    Machine,
    ProcessId,
    RunState,
)
from parallel_ml.core.outcome import OutcomeKind
from parallel_ml.core.recovery import LOSS_BUDGET, ExitFacts
from parallel_ml.core.state import fold
from parallel_ml.errors import InvalidTransition

S = JobState
ME = ProcessId("host", "boot", 100, 1)
SPEC = JobSpec(0, "a", "a.yaml", "command", seed=1)
HELD = {S.STARTING, S.RUNNING, S.PAUSING, S.STOPPING}
"""The states in which an attempt lives (PAUSED too, when it is frozen)."""

GOOD = ExitFacts(code=0)
BAD = ExitFacts(code=1)
STIMULI = {
    "placed": stim.Placed("a", Allocation(0), None, 1),
    "started": stim.Started("a", 1, ME, ME),
    "ended well": stim.Ended("a", 1, GOOD),
    "ended badly": stim.Ended("a", 1, BAD),
    "vanished": stim.Ended("a", 1, ExitFacts(lost=True)),
    "held": stim.Held("a", 1),
    "backoff over": stim.BackoffOver("a"),
    "grace over": stim.GraceOver("a"),
    "dependency failed": stim.DependencyEnded("a", "b", S.FAILED),
    "stop": stim.Stop("a", "o"),
    "kill": stim.Stop("a", "o", at_once=True),
    "timeout": stim.Stop("a", cause=OutcomeKind.TIMEOUT),
    "pause": stim.Pause("a", "o"),
    "freeze": stim.Pause("a", "o", freeze=True),
    "resume": stim.Resume("a", "o"),
    "retry": stim.Retry("a", "o"),
    "cut rate": stim.CutRate("a", "o", from_epoch=3),
}

TABLE = [
    ("queued", "placed", "starting"),
    ("queued", "stop", "stopped"),
    ("queued", "pause", "paused"),
    ("queued", "dependency failed", "failed"),
    ("queued", "resume", "rejected"),
    ("queued", "cut rate", "rejected"),
    ("starting", "cut rate", "rejected"),
    ("running", "cut rate", "rejected"),
    ("retrying", "cut rate", "rejected"),
    ("paused", "cut rate", "rejected"),
    ("queued", "ended well", "late"),
    ("queued", "backoff over", "invalid"),
    ("starting", "started", "running"),
    ("starting", "ended well", "succeeded"),
    ("starting", "ended badly", "failed"),
    ("starting", "stop", "stopping"),
    ("starting", "pause", "pausing"),
    ("starting", "placed", "invalid"),
    ("running", "ended well", "succeeded"),
    ("running", "ended badly", "failed"),
    ("running", "vanished", "retrying"),
    ("running", "stop", "stopping"),
    ("running", "kill", "stopping"),
    ("running", "timeout", "stopping"),
    ("running", "pause", "pausing"),
    ("running", "freeze", "frozen"),
    ("running", "retry", "rejected"),
    ("pausing", "ended well", "succeeded"),
    ("pausing", "ended badly", "paused"),
    ("pausing", "resume", "pausing"),
    ("pausing", "pause", "pausing"),
    ("pausing", "stop", "stopping"),
    ("pausing", "grace over", "pausing"),
    ("pausing", "held", "frozen"),
    ("running", "held", "late"),
    ("stopping", "held", "late"),
    ("frozen", "held", "late"),
    ("paused", "resume", "queued"),
    ("paused", "stop", "stopped"),
    ("frozen", "resume", "running"),
    ("frozen", "stop", "stopping"),
    ("frozen", "ended badly", "failed"),
    ("retrying", "backoff over", "queued"),
    ("retrying", "stop", "stopped"),
    ("retrying", "pause", "paused"),
    ("stopping", "ended badly", "stopped"),
    ("stopping", "ended well", "succeeded"),
    ("stopping", "grace over", "stopping"),
    ("stopping", "kill", "stopping"),
    ("stopping", "pause", "rejected"),
    ("succeeded", "stop", "rejected"),
    ("succeeded", "retry", "rejected"),
    ("failed", "retry", "queued"),
    ("stopped", "retry", "queued"),
]


def job_in(state: str) -> Job:
    """Return a job in a state of the table; `frozen` is paused with its process held."""
    attempt = Attempt(1, Allocation(0), None, 1, placed_at=1.0)
    if state == "queued":
        return Job(SPEC)
    if state == "frozen":
        return Job(SPEC, S.PAUSED, (replace(attempt, started_at=2.0, process=ME, shim=ME),), frozen=True)
    if S(state) in HELD:
        live = attempt if state == "starting" else replace(attempt, started_at=2.0, process=ME, shim=ME)
        stopping = state == "stopping"
        return Job(SPEC, S(state), (live,), stop_cause=OutcomeKind.STOPPED if stopping else None, due_at=9.0)
    return Job(SPEC, S(state), (replace(attempt, ended_at=3.0),), due_at=5.0 if state == "retrying" else None)


def step(state: RunState, stimulus: stim.Stimulus, now: float = 10.0) -> stim.Decision:
    """Decide and fold, through the JSON form of each event."""
    decision = m.decide(state, stimulus, now)
    for event in decision.events:
        fold(state, record_from_json(record_to_json(Record(state.seq + 1, now, event))))
    return decision


@pytest.mark.parametrize(("state", "stimulus", "expected"), TABLE)
def test_each_transition_leads_where_the_table_says(state: str, stimulus: str, expected: str) -> None:
    """One row a transition of the design."""
    run = RunState(jobs={"a": job_in(state)})
    if expected == "invalid":
        with pytest.raises(InvalidTransition, match="has no transition"):
            step(run, STIMULI[stimulus])
        return
    decision = step(run, STIMULI[stimulus])
    job = run.jobs["a"]
    if expected in ("rejected", "late"):
        assert [type(event).__name__ for event in decision.events] == (["CommandRejected"] * (expected == "rejected"))
        assert job == job_in(state)
        return
    assert job.state is (S.PAUSED if expected == "frozen" else S(expected))
    assert job.frozen is (expected == "frozen")


def test_every_transition_of_the_machine_is_in_the_table() -> None:
    """A transition that is added needs a row."""
    rows = {(S.PAUSED if state == "frozen" else S(state), type(STIMULI[name])) for state, name, _ in TABLE}
    started_late = {(S.STOPPING, stim.Started), (S.PAUSING, stim.Started)}
    assert set(m.TRANSITIONS) - rows == started_late


def test_a_stop_for_a_timeout_fails_the_job_and_says_the_limit() -> None:
    """Nobody asked for the end, so it is a failure."""
    run = RunState(jobs={"a": replace(job_in("running"), spec=replace(SPEC, timeout_s=60.0))})
    step(run, STIMULI["timeout"])
    step(run, stim.Ended("a", 1, ExitFacts(signal=15, asked="stop")))
    assert run.jobs["a"].state is S.FAILED
    assert run.jobs["a"].error == "it ran longer than its timeout of 60 s"


def test_a_users_stop_during_a_timeouts_stop_wins() -> None:
    """What the user asked for last counts: no retry follows."""
    run = RunState(jobs={"a": replace(job_in("running"), spec=replace(SPEC, timeout_s=60.0, max_attempts=3))})
    for name in ("timeout", "stop", "ended badly"):
        step(run, STIMULI[name])
    assert run.jobs["a"].state is S.STOPPED


def test_a_resume_during_pausing_is_kept_and_carried_out() -> None:
    """It is queued as soon as it is paused."""
    run = RunState(jobs={"a": job_in("pausing")})
    for name in ("resume", "ended badly"):
        step(run, STIMULI[name])
    assert run.jobs["a"].state is S.QUEUED


def test_a_resume_before_a_program_was_held_lets_it_go_on_at_once() -> None:
    """It was asked for while nobody knew yet how the pause would end."""
    run = RunState(jobs={"a": job_in("pausing")})
    step(run, STIMULI["resume"])
    decision = step(run, STIMULI["held"])
    assert run.jobs["a"].state is S.RUNNING
    assert [effect.command for effect in decision.effects if isinstance(effect, stim.TellShim)] == [stim.Command.THAW]


def test_the_time_that_a_job_was_held_does_not_count_against_its_limit() -> None:
    """An hour in memory is no hour of training."""
    run = RunState(jobs={"a": replace(job_in("running"), spec=replace(SPEC, timeout_s=60.0))})
    step(run, STIMULI["freeze"], now=10.0)
    step(run, STIMULI["resume"], now=3610.0)
    assert list(m.due(run, 3615.0)) == []
    assert [type(one) for one in m.due(run, 3663.0)] == [stim.Stop]
    assert run.jobs["a"].attempts[0].thawed_at == 3610.0


def test_a_built_in_training_is_ordered_a_lower_rate_and_keeps_the_order() -> None:
    """Each with a number of its own; the file is written after the event."""
    run = RunState(jobs={"a": replace(job_in("running"), spec=replace(SPEC, kind="training"))})
    for number in (1, 2):
        decision = step(run, STIMULI["cut rate"])
        assert decision.effects == (stim.WriteRates("a"),)
        assert run.jobs["a"].rate_cuts[-1].number == number
    assert run.jobs["a"].state is S.RUNNING


@pytest.mark.parametrize(
    ("state", "order"),
    [
        ("running", stim.CutRate("a", alert="x#1.1", from_epoch=3)),
        ("running", stim.Pause("a", alert="x#1.1")),
        ("running", stim.Stop("a", alert="x#1.1")),
        ("retrying", stim.Pause("a", alert="x#1.1")),
    ],
)
def test_what_an_alert_orders_is_obeyed_once(state: str, order: stim.CommandStimulus) -> None:
    """A supervisor that was killed may have ordered it already; the next time of the alert is another one."""
    job = replace(job_in(state), spec=replace(SPEC, kind="training"))
    run = RunState(jobs={"a": job})
    assert step(run, order).events
    run.jobs["a"] = replace(job, alert_orders=run.jobs["a"].alert_orders, rate_cuts=run.jobs["a"].rate_cuts)
    assert step(run, order) == m.NOTHING
    assert step(run, replace(order, alert="x#2.1")).events


def test_a_retry_by_the_user_lets_alerts_order_anew() -> None:
    """Its alerts begin at their first time again."""
    run = RunState(jobs={"a": replace(job_in("failed"), alert_orders=("x#1.1",))})
    step(run, STIMULI["retry"])
    assert run.jobs["a"].alert_orders == ()


def test_what_was_logged_before_orders_of_alerts_were_told_is_read() -> None:
    """As what no alert has ordered."""
    told = record_to_json(Record(1, 1.0, RateCutOrdered("a", RateCut(1, 3, 0.5), "r", alert="x#1.1")))
    del told["data"]["alert"]
    run = RunState(jobs={"a": job_in("running")})
    fold(run, record_from_json(told))
    assert (len(run.jobs["a"].rate_cuts), run.jobs["a"].alert_orders) == (1, ())


def test_failures_are_tried_again_with_a_doubled_wait_until_the_budget_is_used_up() -> None:
    """Three attempts: waits of 10 s and 20 s, then failed."""
    run = RunState(jobs={"a": Job(replace(SPEC, max_attempts=3, backoff_s=10.0))})
    waits = []
    for number in (1, 2, 3):
        step(run, STIMULI["placed"])
        step(run, stim.Ended("a", number, BAD), now=100.0)
        if run.jobs["a"].state is S.RETRYING:
            waits.append((run.jobs["a"].due_at or 0.0) - 100.0)
            assert list(m.due(run, 100.0)) == []
            step(run, next(m.due(run, 130.0)))
    assert waits == [10.0, 20.0]
    assert run.jobs["a"].state is S.FAILED


def test_lost_attempts_have_a_budget_of_their_own() -> None:
    """Vanishing three times fails a job that may not fail even once more."""
    run = RunState(jobs={"a": Job(SPEC)})
    for number in range(1, LOSS_BUDGET + 1):
        step(run, STIMULI["placed"])
        step(run, stim.Ended("a", number, ExitFacts(lost=True)))
        if run.jobs["a"].state is S.RETRYING:
            step(run, STIMULI["backoff over"])
    assert run.jobs["a"].state is S.FAILED
    assert len(run.jobs["a"].attempts) == LOSS_BUDGET
    assert run.jobs["a"].failures == 0


def test_a_retry_by_the_user_gives_the_whole_budget_again() -> None:
    """Failures of before do not count against it."""
    run = RunState(jobs={"a": replace(job_in("failed"), failures=1, losses=2, error="x")})
    step(run, STIMULI["retry"])
    job = run.jobs["a"]
    assert (job.failures, job.losses, job.error) == (0, 0, None)


def test_news_of_an_older_attempt_changes_nothing() -> None:
    """A late exit of attempt 1 is not attempt 2's."""
    job = job_in("running")
    second = replace(job.attempts[0], number=2)
    run = RunState(jobs={"a": replace(job, attempts=(replace(job.attempts[0], ended_at=3.0), second))})
    assert step(run, STIMULI["ended well"]) == m.NOTHING


def test_a_job_fails_with_the_job_that_it_needs() -> None:
    """And is stopped when that was stopped."""
    needing = replace(SPEC, name="b", depends_on=("a",))
    for state, expected in (("failed", S.FAILED), ("stopped", S.STOPPED)):
        run = RunState(jobs={"a": job_in(state), "b": Job(needing)})
        for stimulus in list(m.ended_dependencies(run)):
            step(run, stimulus)
        assert run.jobs["b"].state is expected


def test_a_lost_card_ends_the_attempts_that_hold_it_and_no_others() -> None:
    """They are tried again, on another card, which costs no failure; what is on other cards goes on."""
    on = {name: GpuShare(index, f"GPU-{name}", 1, 0.5, 0.5) for index, name in enumerate("ab")}
    run = RunState()
    for name, share in on.items():
        job = job_in("running")
        held = replace(job.attempts[0], allocation=Allocation(0, (share,)))
        run.jobs[name] = replace(job, spec=replace(SPEC, name=name), attempts=(held,))
    machine = Machine(tuple(Device(i, f"GPU-{name}", "x", 1, lost=name == "a") for i, name in enumerate("ab")), 2, 1)
    stimuli = list(m.on_lost_devices(run, machine))
    assert [stimulus.job for stimulus in stimuli] == ["a"]
    step(run, stimuli[0])
    step(run, stim.Ended("a", 1, ExitFacts(signal=9, asked="stop")))
    job = run.jobs["a"]
    assert (job.state, job.failures, job.losses) == (S.RETRYING, 0, 1)
    assert str(job.attempts[0].outcome) == "gpu_lost"
    assert job.attempts[0].error == "its GPU was lost: it fell off the bus or needs a reset"


def valid(job: Job) -> None:
    """Assert what must hold of a job at any time."""
    alive = [attempt for attempt in job.attempts if attempt.ended_at is None]
    assert len(alive) <= 1, "two attempts at once"
    assert [attempt.number for attempt in job.attempts] == list(range(1, len(job.attempts) + 1))
    holds = job.state in HELD or (job.state is S.PAUSED and job.frozen)
    assert bool(alive) is holds, f"{job.state} with {len(alive)} living attempts"
    assert (job.due_at is not None) or job.state not in (S.RETRYING, S.STOPPING, S.PAUSING)
    assert (job.stop_cause is not None) is (job.state is S.STOPPING)
    assert (job.finished_at is not None) is job.state.finished
    if job.state is S.SUCCEEDED:
        assert job.attempts[-1].outcome is not None
        assert job.attempts[-1].outcome.good


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(sorted(STIMULI)), max_size=40), st.integers(1, 3))
def test_no_order_of_stimuli_breaks_a_job(names: list[str], attempts: int) -> None:
    """After each of any stimuli the job is whole, or the fact is refused as a bug and changes nothing."""
    run = RunState()
    spec = replace(SPEC, max_attempts=attempts, timeout_s=5.0)
    fold(run, Record(1, 1.0, RunCreated("r", "", (spec,))))
    for name, now in zip(names, itertools.count(10), strict=False):
        stimulus = STIMULI[name]
        if isinstance(stimulus, (stim.Started, stim.Ended, stim.Held)):
            stimulus = replace(stimulus, attempt=max(1, len(run.jobs["a"].attempts)))
        before = run.jobs["a"]
        try:
            decision = step(run, stimulus, float(now))
        except InvalidTransition:
            assert run.jobs["a"] == before
            continue
        valid(run.jobs["a"])
        starts = [effect for effect in decision.effects if isinstance(effect, stim.StartAttempt)]
        assert len(starts) == len(run.jobs["a"].attempts) - len(before.attempts)


def test_folding_a_record_twice_changes_nothing() -> None:
    """A log may be read over a cache that is ahead of it."""
    run = RunState()
    record = Record(1, 1.0, RunCreated("r", "", (SPEC,)))
    fold(run, record)
    run.jobs["a"] = job_in("running")
    assert fold(run, record).jobs["a"] == job_in("running")
