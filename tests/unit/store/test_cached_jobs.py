"""A status is the same whatever the cache has: all of the events, some of them, none, or nonsense."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ml.core import events as ev
from parallel_ml.core.adjustments import Adjustment
from parallel_ml.core.model import Allocation, GpuShare, Job, JobSpec, JobState, Machine, ProcessId
from parallel_ml.core.outcome import Diagnosis, FailureClass, Outcome, OutcomeKind
from parallel_ml.core.placement import waiting_reasons
from parallel_ml.store.job_status import BRIEF, TABLE, Show
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run
from parallel_ml.store.run_view import RunView

ME = ProcessId("host", "boot", 7, 8)
CARD = Allocation(0, (GpuShare(0, "GPU-1", 4 << 30, 0.5, 0.5),), cpus=2)
NO_MEMORY = Diagnosis(FailureClass.OUT_OF_MEMORY, "OOM when allocating", "a smaller batch", suspected=True)
NAMES = ("first", "second", "drei", "四")
Decision = list[ev.Event]


def stories(job: str) -> st.SearchStrategy[list[Decision]]:
    """Return what may be decided about a job: some of its life, up to an end or in the midst of it."""
    start: list[Decision] = [[ev.JobPlaced(job, 1, CARD, 32, 2)], [ev.AttemptStarted(job, 1, ME, ME, 3.5)]]
    again: list[Decision] = [[ev.JobPlaced(job, 2, Allocation(1), None, 1, 16)], [ev.AttemptStarted(job, 2, ME, ME)]]
    lost = ev.AttemptEnded(job, 1, Outcome(OutcomeKind.ERROR, 3), "no", NO_MEMORY)
    ends: list[list[Decision]] = [
        [],
        [[ev.AttemptEnded(job, 1, Outcome(OutcomeKind.SUCCESS, 0)), ev.JobFinished(job, JobState.SUCCEEDED)]],
        [[lost, ev.JobFinished(job, JobState.FAILED, "no more")]],
        [[lost, ev.RetryScheduled(job, 60.0, "no")]],
        [[lost, ev.MemoryRecovered(job, 1, Adjustment(1, 1, 16), "batch 16"), ev.JobQueued(job, "again")], *again],
        [[ev.JobFrozen(job)]],
        [[ev.JobFrozen(job)], [ev.JobThawed(job)]],
        [[ev.PauseBegun(job, 99.0)]],
        [[ev.StopBegun(job, OutcomeKind.TIMEOUT, 99.0)]],
    ]
    never: list[list[Decision]] = [
        [],
        [[ev.JobFinished(job, JobState.STOPPED)]],
        [[ev.JobFinished(job, JobState.FAILED)]],
    ]
    return st.sampled_from([*([*start, *end] for end in ends), start[:1], *never])


@st.composite
def runs(draw: st.DrawFn) -> list[Decision]:
    """Return the decisions of a run, those of its jobs in any order."""
    left = [draw(stories(name)) for name in NAMES]
    decisions: list[Decision] = [[ev.SupervisorStarted(ME), ev.MachineSeen(Machine((), 4, 8 << 30))]]
    while any(left):
        story = draw(st.sampled_from([one for one in left if one]))
        decisions.append(story.pop(0))
    return decisions


def written(folder: Path, decisions: list[Decision], cached: int) -> tuple[RunLayout, RunStore]:
    """Return a run with its store, which holds its lock; the cache has the first so many decisions."""
    specs = tuple(
        JobSpec(n, name, f"{name}.yaml", "command", n, depends_on=NAMES[:1] if n == 3 else (), epochs=4 if n else None)
        for n, name in enumerate(NAMES)
    )
    layout = RunLayout(folder / "r")
    create_run(layout, ev.RunCreated("r", "night", specs, 2), {"notes": ["a note"]}, dict.fromkeys(NAMES, ""), 0.0)
    store = RunStore(layout)
    for number, decision in enumerate(decisions):
        store.add(decision, float(number))
        store.flush()
        if number + 1 == cached:
            store.snapshot(0.0, at_once=True)
    for name in NAMES[:2]:
        layout.job(name).metrics.write_text('{"epoch": 2, "epochs": 4, "train_loss": 0.5}\n{"epoch": 3')
        layout.job(name).result.write_text('{"test_accuracy": 0.9, "classes": ["a"]}')
        folder = layout.job(name).attempt(1).dir
        folder.mkdir()
        layout.job(name).attempt(1).samples.write_text('{"timestamp": 1, "memory_mb": 5, "memory_peak_mb": 9}\n')
    return layout, store


def told(layout: RunLayout, show: Show) -> dict[str, Any]:
    """Return the status of a run as a fresh reader sees it."""
    return RunView(layout).status(show).to_dict()


@pytest.fixture(autouse=True)
def _the_time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)


@pytest.mark.parametrize("show", [Show(), TABLE, BRIEF])
@settings(max_examples=25, deadline=None)
@given(decisions=runs(), data=st.data())
def test_a_status_does_not_depend_on_the_cache(show: Show, decisions: list[Decision], data: st.DataObject) -> None:
    """The cache stands at any event, and a supervisor lives or is gone."""
    with tempfile.TemporaryDirectory() as folder:
        cached = data.draw(st.integers(1, len(decisions)))
        layout, store = written(Path(folder), decisions, cached)
        try:
            driven = told(layout, show)
            text = layout.state.read_bytes()
            layout.state.unlink()
            assert told(layout, show) == driven
        finally:
            store.close()
        left = told(layout, show)
        layout.state.write_bytes(text)
        assert told(layout, show) == left
        assert left["supervisor"] == "gone"


@settings(max_examples=25, deadline=None)
@given(decisions=runs())
def test_a_status_says_what_the_state_holds(decisions: list[Decision]) -> None:
    """Each job's state, its newest attempt, why it ended and why it waits, told by the jobs themselves."""
    with tempfile.TemporaryDirectory() as folder:
        layout, store = written(Path(folder), decisions, len(decisions))
        try:
            status, state = RunView(layout).status(), store.state
        finally:
            store.close()
    reasons = waiting_reasons(state, state.machine)
    assert status.state == state.word
    for one, job in zip(status.jobs, state.jobs.values(), strict=True):
        assert (one.name, one.state, one.error) == (job.name, job.state.word, error_of(job))
        assert (one.held, one.pausing) == (job.frozen, job.state is JobState.PAUSING)
        assert one.recoveries == job.recoveries
        if job.state is JobState.QUEUED:
            assert one.waiting == reasons.get(job.name)
        last = job.attempt
        assert one.attempt == (last.number if last else 0)
        if last is None:
            continue
        assert one.outcome == (str(last.outcome) if last.outcome else None)
        assert one.allocation == last.allocation.to_dict()
        assert (one.batch_size, one.accumulation) == (last.batch_size, last.accumulation)
        assert one.pid == (last.process.pid if last.process else None)
        assert (one.failure is not None) == (last.diagnosis is not None)


def error_of(job: Job) -> str | None:
    """Return the error that a status tells."""
    return job.error or (job.attempt.error if job.attempt else None)


NONSENSE: list[Any] = [None, [], 7, {}, {"spec": 1}, {"spec": {"name": "first"}}, {"state": "odd"}, {"attempts": [3]}]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=str)
def test_a_job_that_makes_no_sense_in_the_cache_is_told_by_the_log(nonsense: Any, tmp_path: Path) -> None:
    """Also where the events after the cache are about it."""
    decisions: list[Decision] = [
        [ev.SupervisorStarted(ME)],
        [ev.JobPlaced("first", 1, CARD, 32, 2)],
        [ev.AttemptStarted("first", 1, ME, ME)],
        [ev.AttemptEnded("first", 1, Outcome(OutcomeKind.SUCCESS)), ev.JobFinished("first", JobState.SUCCEEDED)],
    ]
    for cached in (2, 4):
        layout, store = written(tmp_path / str(cached), decisions, cached)
        try:
            whole = told(layout, Show())
            cache = json.loads(layout.state.read_bytes())
            damaged = {**cache["state"]["jobs"]["first"], **nonsense} if isinstance(nonsense, dict) else nonsense
            cache["state"]["jobs"]["first"] = damaged or nonsense
            layout.state.write_text(json.dumps(cache))
            assert told(layout, Show()) == whole
        finally:
            store.close()


def test_paths_as_text_are_the_paths_of_the_layout(tmp_path: Path) -> None:
    """Both ways to a job's files lead to the same ones."""
    layout = RunLayout(tmp_path)
    job = layout.job("a b")
    names = {"dir": job.dir, "log": job.log, "metrics": job.metrics, "result": job.result}
    attempt = {"config": job.attempt(3).config, "samples": job.attempt(3).samples}
    assert layout.job_paths("a b", 3) == {name: str(path) for name, path in (names | attempt).items()}
