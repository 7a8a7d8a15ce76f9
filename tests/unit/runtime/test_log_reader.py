"""The logs of several jobs as one, in the order of time."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.core.events import JobFinished, RunCreated
from parallel_ml.core.model import JobSpec, JobState
from parallel_ml.runtime import log_reader
from parallel_ml.runtime.client import RunClient
from parallel_ml.runtime.log_reader import LogReader
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run
from parallel_ml.store.run_view import iso

START = 1_000_000.0
Lines = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunLayout:
    """Return a run of two jobs, whose logs are read in small pieces."""
    monkeypatch.setattr(log_reader, "LEAST_PIECE_BYTES", 4_000)
    monkeypatch.setattr(log_reader, "MOST_BYTES", 8_000)
    layout = RunLayout(tmp_path / "20260101-120000-3fa9")
    specs = tuple(JobSpec(number, name, f"{name}.yaml", "command", seed=0) for number, name in enumerate("ab"))
    create_run(layout, RunCreated(layout.dir.name, "night", specs), {}, {"a": "", "b": ""}, START)
    return layout


def print_lines(layout: RunLayout, job: str, first: int, count: int, every_s: float = 1.0) -> None:
    """Let a job print numbers, one each so many seconds; line 0 at the start."""
    with layout.job(job).log.open("a") as log:
        for number in range(first, first + count):
            told = {"timestamp": iso(START + number * every_s), "message": str(number), "type": "stdout"}
            log.write(json.dumps(told) + "\n")


def finish(layout: RunLayout, job: str, at_s: float) -> None:
    """Let the supervisor say that a job is completed."""
    store = RunStore(layout)
    store.add([JobFinished(job, JobState.SUCCEEDED)], START + at_s)
    store.flush()
    store.close()


def all_of(reader: LogReader) -> Lines:
    """Read until nothing comes."""
    return list(itertools.chain.from_iterable(iter(reader.poll, [])))


def test_what_the_supervisor_says_stands_behind_the_lines_before_it(layout: RunLayout) -> None:
    """However many pieces a log is read in."""
    print_lines(layout, "a", 0, 500)
    finish(layout, "a", 499.5)
    found = all_of(RunClient(layout.dir).follow_logs(["a"]))
    assert [record["message"] for _, record in found] == [*map(str, range(500)), "completed"]


def test_large_logs_come_in_the_order_of_time(layout: RunLayout) -> None:
    """One job prints ten times as often as the other."""
    print_lines(layout, "a", 0, 1000, 0.1)
    print_lines(layout, "b", 0, 100)
    finish(layout, "b", 50.05)
    found = all_of(RunClient(layout.dir).follow_logs())
    times = [record["timestamp"] for _, record in found]
    assert times == sorted(times)
    assert [record["message"] for job, record in found if job == "a"] == [*map(str, range(1000))]
    assert len(found) == 1101


def test_no_more_than_a_piece_of_each_log_is_held(layout: RunLayout) -> None:
    """However far apart in time the jobs have printed."""
    print_lines(layout, "a", 0, 1000)
    print_lines(layout, "b", 1000, 1000)
    reader = RunClient(layout.dir).follow_logs()
    pieces = list(iter(reader.poll, []))
    assert len(pieces) > 20
    assert max(map(len, pieces)) < 200


def test_a_job_whose_log_was_read_holds_nobody_up(layout: RunLayout) -> None:
    """Its next lines come when they are there."""
    print_lines(layout, "a", 0, 10)
    print_lines(layout, "b", 0, 500)
    reader = RunClient(layout.dir).follow_logs()
    assert len(all_of(reader)) == 510
    print_lines(layout, "a", 10, 10)
    assert [record["message"] for _, record in all_of(reader)] == [*map(str, range(10, 20))]


def test_lines_that_are_torn_do_not_end_the_reading(layout: RunLayout) -> None:
    """A whole piece of them neither."""
    layout.job("a").log.write_text("{torn\n" * 2000)
    print_lines(layout, "a", 0, 1)
    assert len(all_of(RunClient(layout.dir).follow_logs())) == 1


def test_the_note_of_dropped_lines_stands_where_they_stood(layout: RunLayout) -> None:
    """It was written when what stands behind it was there already."""
    note = {"timestamp": iso(START + 300), "message": "the log is full", "type": "system", "dropped": 7}
    print_lines(layout, "a", 10, 20)
    layout.job("a").log.rename(layout.job("a").older_log)
    layout.job("a").log.write_text(json.dumps(note) + "\n")
    print_lines(layout, "a", 30, 10)
    print_lines(layout, "b", 0, 40)
    found = [(job, record["message"]) for job, record in all_of(RunClient(layout.dir).follow_logs())]
    assert found[10:13] == [("a", "the log is full"), ("a", "10"), ("b", "10")]
    assert len(found) == 71
