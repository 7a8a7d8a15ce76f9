"""What a run's files say of when things happened in a job."""

from __future__ import annotations

import json
import math
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.core import events as ev
from parallel_ml.core.alert_replay import Stay, replay, times_of
from parallel_ml.core.alert_rules import make_rules
from parallel_ml.core.model import Allocation, JobSpec, ProcessId
from parallel_ml.core.outcome import Outcome, OutcomeKind
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_past import read_past

START = 1_800_000_000.0
ME = ProcessId("host", "boot", 1, 1)


def log_line(at: float, message: str, **more: Any) -> str:
    """Return a line of a log."""
    time = datetime.fromtimestamp(START + at, timezone.utc).isoformat(timespec="microseconds")
    told = {"timestamp": time, "process_id": 0, "pid": 1, "message": message, "type": "stdout", **more}
    return json.dumps(told) + "\n"


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return the files of a run with the job `a`, which has not begun."""
    found = RunLayout(tmp_path / "run")
    found.job("a").dir.mkdir(parents=True)
    return found


def write(layout: RunLayout, kind: str, *told: tuple[float, ev.Event]) -> None:
    """Write the events of a run, with when they happened after START."""
    spec = JobSpec(position=0, name="a", source="a.yaml", kind=kind, seed=1)
    events = [(0.0, ev.RunCreated("run", "", (spec,))), *told]
    records = [ev.Record(number, START + at, event) for number, (at, event) in enumerate(events, 1)]
    layout.events.write_text("".join(json.dumps(ev.record_to_json(one)) + "\n" for one in records), encoding="utf-8")


def started(number: int, at: float) -> list[tuple[float, ev.Event]]:
    """Return the events of an attempt that begins; they are written a second later."""
    return [
        (at, ev.JobPlaced("a", number, Allocation(0), None, 1)),
        (at + 1.0, ev.AttemptStarted("a", number, ME, ME, at=START + at)),
    ]


def ended(number: int, at: float) -> tuple[float, ev.Event]:
    """Return the event of an attempt that ends."""
    return at + 1.0, ev.AttemptEnded("a", number, Outcome(OutcomeKind.ERROR), at=START + at)


def test_attempts_have_their_own_times_and_holds(layout: RunLayout) -> None:
    """When they were, not when it was written down; what was held, and what a user began anew."""
    write(
        layout,
        "command",
        *started(1, 10.0),
        (20.0, ev.JobFrozen("a")),
        (50.0, ev.JobThawed("a")),
        ended(1, 60.0),
        (61.0, ev.JobQueued("a", "asked", afresh=True)),
        *started(2, 100.0),
        ended(2, 130.0),
    )
    assert read_past(layout, "a").stays == (
        Stay(START + 10.0, START + 60.0, ((START + 20.0, START + 50.0),)),
        Stay(START + 100.0, START + 130.0, (), afresh=True),
    )


def test_the_log_tells_when_the_built_in_training_ended_its_epochs(layout: RunLayout) -> None:
    """The newest line of each counts: an epoch may be trained again. An own program may print what it likes."""
    files = layout.job("a")
    lines = [(30.0, "Epoch 1/3 - loss: 1"), (40.0, "Epoch 2/3 - loss: 1"), (130.0, "Epoch 2/3 - loss: 2")]
    files.log.write_text("".join(log_line(at, text) for at, text in lines), encoding="utf-8")
    for kind, told in (("training", {1: START + 30.0, 2: START + 130.0}), ("command", {})):
        write(layout, kind, *started(1, 10.0), ended(1, 60.0))
        past = read_past(layout, "a")
        assert (past.told_at, past.logged) == (told, [START + 30.0, START + 40.0, START + 130.0])
        assert past.logged_from == -math.inf


def test_a_log_that_was_full_is_known_from_its_oldest_line_on(layout: RunLayout) -> None:
    """Of two files the older one first; what was dropped before is not known."""
    files = layout.job("a")
    write(layout, "command", *started(1, 10.0), ended(1, 60.0))
    files.older_log.write_text(log_line(20.0, "x"), encoding="utf-8")
    files.log.write_text(log_line(29.0, "the log is full", dropped=5) + log_line(30.0, "y"), encoding="utf-8")
    past = read_past(layout, "a")
    assert (past.logged, past.logged_from) == ([START + 20.0, START + 30.0], START + 20.0)


def test_a_start_up_is_known_from_when_the_newest_epoch_was_written(layout: RunLayout) -> None:
    """Of an own program, whose log tells nothing of epochs."""
    write(layout, "command", *started(1, 10.0), ended(1, 1000.0))
    points = [{"epoch": number, "time_per_epoch": 100.0 if number > 1 else None} for number in (1, 2, 3)]
    metrics = layout.job("a").metrics
    metrics.write_text("".join(json.dumps(point) + "\n" for point in points), encoding="utf-8")
    os.utime(metrics, (START + 900.0, START + 900.0))
    past = read_past(layout, "a")
    assert [at - START for at in times_of(past)] == [700.0, 800.0, 900.0]
    [one] = replay(make_rules(["elapsed() > 11m"], builtin=False), past)
    assert one.epoch == 0
    assert one.at - START == pytest.approx(670.0, abs=4.0)


def test_a_job_that_never_began_has_no_past(layout: RunLayout) -> None:
    """Nothing is there, and nothing fires."""
    write(layout, "command")
    past = read_past(layout, "a")
    assert (past.stays, past.points, past.logged, past.began) == ((), [], [], None)
    assert replay(make_rules(["total_time(1s)", "hang(1s)"]), past) == []
