"""The jobs of a run, sorted: always what a look at all of them would find."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ml.core import machine as m
from parallel_ml.core import stimuli as stim
from parallel_ml.core.events import Event, Record, RunCreated, SupervisorStarted
from parallel_ml.core.index import JobIndex
from parallel_ml.core.model import Allocation, Device, Job, JobSpec, JobState, Machine, ProcessId, Resources, RunState
from parallel_ml.core.placement import place, serving_key
from parallel_ml.core.recovery import ExitFacts
from parallel_ml.core.state import fold
from parallel_ml.core.units import GIB
from parallel_ml.errors import InvalidTransition

ME = ProcessId("host", "boot", 100, 1)
NAMES = "abcde"
HERE = Machine((Device(0, "SIM-0", "card", 16 * GIB),), 4, 64 * GIB)


class Run:
    """A run and its index, as a supervisor keeps them, with the index compared after each event."""

    def __init__(self, *specs: JobSpec, max_parallel: int | None = None) -> None:
        """Make a run of queued jobs."""
        self.state = RunState()
        self.index = JobIndex(self.state)
        self.tell([RunCreated("r", "", specs, max_parallel)], 1.0)

    def tell(self, events: Iterable[Event], now: float) -> None:
        """Let events happen."""
        before = dict(self.state.jobs)
        for event in events:
            fold(self.state, Record(self.state.seq + 1, now, event))
            self.index.take(event)
        jobs = self.state.jobs.values()
        assert {job.name for job in jobs if before.get(job.name) is not job} <= set(names(self.index.changed()))
        self.compare(now)

    def apply(self, stimulus: stim.Stimulus, now: float) -> None:
        """Let something arrive; what makes no sense now is refused."""
        try:
            self.tell(m.decide(self.state, stimulus, now).events, now)
        except InvalidTransition:
            return
        while ended := list(m.ended_dependencies(self.state)):
            assert list(m.ended_dependencies(self.state, self.index.doubtful())) == ended
            for one in ended:
                self.tell(m.decide(self.state, one, now).events, now)

    def compare(self, now: float) -> None:
        """Hold that the index says what all jobs together say."""
        jobs, index = list(self.state.jobs.values()), self.index
        assert index.finished is self.state.finished
        assert names(index.living) == names(job for job in jobs if job.holds is not None)
        times = [at for job in jobs if (at := m.due_time(job)) is not None]
        assert index.next_due == min(times, default=None)
        for at in (now, now + 7.0, now + 1000.0):
            assert list(m.due(self.state, at, index.due(at))) == list(m.due(self.state, at))
        ready = [job for job in jobs if job.state is JobState.QUEUED and self.may_start(job)]
        assert sorted(key for lane in index.lanes.values() for key in lane) == sorted(map(serving_key, ready))
        assert all(lane == sorted(lane) for lane in index.lanes.values())
        assert set(index.lanes) == {job.resources for job in ready}
        assert place(self.state, HERE, index) == place(self.state, HERE)

    def may_start(self, job: Job) -> bool:
        """Return whether all that a job needs has succeeded."""
        return all(self.state.jobs[name].state is JobState.SUCCEEDED for name in job.spec.depends_on)


def names(jobs: Iterable[Job]) -> list[str]:
    """Return the names of jobs."""
    return [job.name for job in jobs]


def spec(position: int, **more: object) -> JobSpec:
    """Return the job of a position."""
    return JobSpec(position, NAMES[position], "x.yaml", "command", seed=1, **more)  # type: ignore[arg-type]


@st.composite
def specs(draw: st.DrawFn) -> list[JobSpec]:
    """Jobs of different wants, some of which need earlier ones."""
    wants = st.sampled_from([Resources(), Resources(gpus=0), Resources(exclusive=True)])
    return [
        spec(
            position,
            resources=draw(wants),
            priority=draw(st.integers(0, 1)),
            depends_on=tuple(draw(st.sets(st.sampled_from(NAMES[:position]), max_size=2))) if position else (),
            max_attempts=draw(st.integers(1, 2)),
            timeout_s=draw(st.none() | st.just(5.0)),
        )
        for position in range(draw(st.integers(1, len(NAMES))))
    ]


WHAT = [
    "place",
    "place",
    "started",
    "good",
    "good",
    "bad",
    "lost",
    "due",
    "stop",
    "kill",
    "pause",
    "freeze",
    "resume",
    "retry",
]
ENDS = {"good": ExitFacts(code=0), "bad": ExitFacts(code=1), "lost": ExitFacts(lost=True)}


def stimuli(what: str, run: Run, job: Job, now: float) -> list[stim.Stimulus]:
    """Return what happens to a job."""
    number = max(1, len(job.attempts))
    if what == "place":
        return [stim.Placed(one.job, one.allocation, None, 1) for one in place(run.state, HERE)[:1]]
    if what == "due":
        return list(m.due(run.state, now))
    if what in ENDS:
        return [stim.Ended(job.name, number, ENDS[what])]
    return [
        {
            "started": stim.Started(job.name, number, ME, ME),
            "stop": stim.Stop(job.name, "o"),
            "kill": stim.Stop(job.name, "o", at_once=True),
            "pause": stim.Pause(job.name, "o"),
            "freeze": stim.Pause(job.name, "o", freeze=True),
            "resume": stim.Resume(job.name, "o"),
            "retry": stim.Retry(job.name, "o"),
        }[what]
    ]


@settings(max_examples=150, deadline=None)
@given(
    specs(),
    st.lists(st.tuples(st.sampled_from(WHAT), st.sampled_from(NAMES)), min_size=10, max_size=40),
    st.sampled_from([None, 1]),
)
def test_the_index_says_what_a_look_at_all_jobs_would(
    jobs: list[JobSpec], happens: list[tuple[str, str]], max_parallel: int | None
) -> None:
    """After each of any stimuli: who lives, is due, may start, has to be told of, and what would be placed."""
    run = Run(*jobs, max_parallel=max_parallel)
    for (what, name), now in zip(happens, itertools.count(10, 3), strict=False):
        could = run.index.living if what in ("started", *ENDS) and run.index.living else list(run.state.jobs.values())
        job = could[NAMES.index(name) % len(could)]  # what can happen to few is to happen often
        for stimulus in stimuli(what, run, job, float(now)):
            run.apply(stimulus, float(now))
    run.tell([SupervisorStarted(ME, 5.0, clock_set_s=3600.0)], 200.0)


def test_the_jobs_that_something_happened_to_are_told_once() -> None:
    """At first that is every job."""
    run = Run(spec(0), spec(1))
    assert run.index.changed() == []
    again = JobIndex(run.state)
    assert names(again.changed()) == ["a", "b"]
    assert again.changed() == []


def test_a_job_that_is_tried_again_before_what_it_needs_ends_again() -> None:
    """What it needs has failed long before, and nothing happens to that one any more."""
    run = Run(spec(0), spec(1, depends_on=("a",)))
    run.apply(stim.Stop("a"), 2.0)
    assert run.state.jobs["b"].state is JobState.STOPPED
    run.tell(m.decide(run.state, stim.Retry("b"), 3.0).events, 3.0)
    assert names(run.index.doubtful()) == ["b"]
    assert run.index.doubtful() == []


def test_times_that_are_no_more_do_not_pile_up() -> None:
    """A thousand attempts with a time limit of a day each leave nothing behind."""
    run = Run(spec(0, timeout_s=86_400.0, max_attempts=2000, backoff_s=0.0))
    for number in range(1, 1001):
        now = 10.0 * number
        for stimulus in (
            stim.Placed("a", Allocation(0), None, 1),
            stim.Started("a", number, ME, ME),
            stim.Ended("a", number, ExitFacts(code=1)),
            stim.BackoffOver("a"),
        ):
            for event in m.decide(run.state, stimulus, now).events:
                fold(run.state, Record(run.state.seq + 1, now, event))
                run.index.take(event)
    assert len(run.index._times) < 100


@pytest.mark.parametrize("priority", [0, 1])
def test_a_lane_that_is_refused_lets_the_others_be_served(priority: int) -> None:
    """Thousands that wait for a card are not looked at one by one for the one that takes the CPU."""
    jobs = {
        f"job{number}": replace(spec(0), position=number, name=f"job{number}", resources=Resources(exclusive=True))
        for number in range(50)
    }
    last = replace(spec(0), position=50, name="cpu", resources=Resources(gpus=0), priority=priority)
    run = Run(*jobs.values(), last)
    assert sorted(one.job for one in place(run.state, HERE, run.index)) == ["cpu", "job0"]
