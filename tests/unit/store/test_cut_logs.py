"""Logs that were cut: at every byte, with a cache that is newer, older, torn or foreign."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallel_ml.core import events as ev
from parallel_ml.core.codec import encode
from parallel_ml.core.model import Allocation, JobSpec, JobState, ProcessId, RunState
from parallel_ml.core.outcome import Outcome, OutcomeKind
from parallel_ml.core.state import fold
from parallel_ml.errors import StoreError
from parallel_ml.store.journal import Journal, read_records
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run
from parallel_ml.store.run_view import RunView

SPECS = tuple(JobSpec(n, name, f"{name}.yaml", "command", seed=n, max_attempts=2) for n, name in enumerate("ab"))
CARD = Allocation(0)
EVERY = 37
"""A log is read at every cut; it is also written to, which costs some fsyncs, at every so manieth."""


def process(number: int) -> ProcessId:
    """Return a process of another boot."""
    return ProcessId("host", "boot", number, number)


def started(job: str, attempt: int) -> list[list[ev.Event]]:
    """Return what is decided about a job that starts, decision by decision."""
    return [
        [ev.JobPlaced(job, attempt, CARD, None, 1)],
        [ev.AttemptStarted(job, attempt, process(10 * attempt), process(10 * attempt + 1))],
    ]


HALF_WAY: list[list[ev.Event]] = [
    [ev.SupervisorStarted(process(1), 1.0)],
    *started("a", 1),
    *started("b", 1),
    [ev.AttemptEnded("a", 1, Outcome(OutcomeKind.ERROR, 3), "no"), ev.RetryScheduled("a", 9.0, "no")],
    [ev.JobQueued("a", "again")],
    *started("a", 2),
    [ev.PauseBegun("b", 99.0, "o1"), ev.OrderDone("o1", "pause")],
    [ev.ResumeWanted("b", "o2"), ev.OrderDone("o2", "resume")],
]
TO_THE_END: list[list[ev.Event]] = [
    *HALF_WAY,
    [
        ev.AttemptEnded("b", 1, Outcome(OutcomeKind.RELEASED)),
        ev.JobReleased("b"),
        ev.JobQueued("b", "resumed"),
    ],
    *started("b", 2),
    [ev.AttemptEnded("a", 2, Outcome(OutcomeKind.SUCCESS)), ev.JobFinished("a", JobState.SUCCEEDED)],
    [ev.AttemptEnded("b", 2, Outcome(OutcomeKind.ERROR, 1), "ö\u2028"), ev.JobFinished("b", JobState.FAILED, "ö")],
    [ev.SupervisorLeft("every job has finished")],
]


@pytest.fixture(params=["half way", "finished"])
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> RunLayout:
    """Return a run that was recorded, with its cache."""
    layout = RunLayout(tmp_path / "runs" / "r")
    create_run(layout, ev.RunCreated("r", "", SPECS), {}, {"a": "x: 1", "b": ""}, 0.0)
    store = RunStore(layout)
    for number, decision in enumerate(HALF_WAY if request.param == "half way" else TO_THE_END):
        store.add(decision, float(number))
        store.flush()
    store.snapshot(0.0, at_once=True)
    store.close()
    return layout


def whole_states(layout: RunLayout) -> dict[int, RunState]:
    """Return the state after each decision, by the length of the log there."""
    states, state, end = {}, RunState(), 0
    lines = layout.events.read_bytes().splitlines(keepends=True)
    records, _ = read_records(layout.events)
    for line, record in zip(lines, records, strict=True):
        fold(state, record)
        end += len(line)
        if not record.more:
            copy = RunState(**vars(state))
            copy.jobs, copy.orders_done = dict(state.jobs), set(state.orders_done)
            states[end] = copy
    return states


def caches(layout: RunLayout, states: dict[int, RunState]) -> list[bytes | None]:
    """Return caches that a log may meet: none, its own, the oldest, torn ones, those of another program."""
    newest = layout.state.read_bytes()
    store = json.loads(newest)
    middle = sorted(states)[len(states) // 2]
    mixed = {**store, "offset": middle}
    return [
        None,
        newest,
        newest[: len(newest) // 2],
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"v": 1, "offset": -7, "state": {}}',
        b'{"v": 1, "offset": "7", "state": {}}',
        b'{"v": 1, "offset": 7, "state": {"jobs": [1]}}',
        json.dumps({"v": 1, "offset": middle, "state": {}}).encode(),
        json.dumps({**mixed, "offset": middle - 3}).encode(),
    ]


@pytest.mark.slow
def test_a_log_cut_at_any_byte_reads_as_the_decisions_that_are_whole_in_it(layout: RunLayout) -> None:
    """Whatever the cache says; the next writer goes on from there, and what it writes is read."""
    log, states = layout.events.read_bytes(), whole_states(layout)
    given = caches(layout, states)
    for cut in range(len(log) + 1):
        cache = given[cut % len(given)] if cut < len(log) else given[1]
        layout.events.write_bytes(log[:cut])
        layout.state.unlink(missing_ok=True)
        if cache is not None:
            layout.state.write_bytes(cache)
        whole = max((end for end in states if end <= cut), default=None)
        if whole is None:
            with pytest.raises(StoreError, match="is torn"):
                RunView(layout)
            continue
        assert RunView(layout).state == states[whole], cut
        if cut % EVERY and cut not in states:  # the state is the same for every cut up to the next whole decision
            continue
        RunView(layout).status()
        store = RunStore(layout)
        assert store.state == states[whole]
        assert layout.events.stat().st_size == whole
        store.add([ev.SupervisorStarted(process(7), 2.0)], 50.0)
        store.add([ev.OrderDone("after", "stop")], 51.0)
        store.flush()
        assert RunView(layout).state == store.state, cut
        store.close()


def test_a_cache_that_knows_more_than_the_log_is_gone_before_the_log_grows(layout: RunLayout) -> None:
    """Else the log, grown past the place where the cache ended, would be read on from the middle of other events."""
    log = layout.events.read_bytes()
    layout.events.write_bytes(log[:-1])
    store = RunStore(layout)
    assert not layout.state.exists()
    store.add([ev.OrderDone("x" * 400, "stop")], 50.0)
    store.flush()
    store.close()
    assert RunView(layout).state == store.state


def test_a_cache_of_the_time_before_is_read_on_from(layout: RunLayout) -> None:
    """It says how far it goes."""
    states = whole_states(layout)
    for end, state in states.items():
        layout.state.write_text(json.dumps({"v": 1, "offset": end, "state": encode(state)}))
        assert RunView(layout).state == states[max(states)]


def test_a_decision_that_was_torn_is_none(tmp_path: Path) -> None:
    """A job whose attempt has ended, and of which nothing was decided then, would wait for ever."""
    path = tmp_path / "events.jsonl"
    journal = Journal(path)
    journal.append(journal.number([ev.OrderDone("x", "stop")], 1.0))
    whole = path.stat().st_size
    journal.append(journal.number([ev.OrderDone(name, "stop") for name in "abc"], 2.0, together=True))
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    assert [record.seq for record in read_records(path)[0]] == [1]
    journal = Journal(path)
    assert (journal.seq, path.stat().st_size) == (1, whole)
    journal.close()
    path.write_bytes(b"".join(lines))
    assert [record.seq for record in read_records(path)[0]] == [1, 2, 3, 4]


def test_a_reader_goes_on_when_the_log_it_has_read_was_cut_and_grew_again(layout: RunLayout) -> None:
    """A full disk takes back what a reader may have seen; the next supervisor may write something else there."""
    view = RunView(layout)
    log = layout.events.read_bytes()
    layout.events.write_bytes(log[: log[:-1].rfind(b"\n") + 1])
    store = RunStore(layout)
    store.add([ev.OrderDone("y" * 1000, "stop")], 50.0)
    store.flush()
    view.refresh()
    assert view.state == store.state
    store.close()
