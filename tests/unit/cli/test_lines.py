"""The plain lines of a run's progress."""

from __future__ import annotations

from typing import Any

import pytest

from parallel_ml.adapters.cli.cells import epochs
from parallel_ml.adapters.cli.lines import event_line
from parallel_ml.adapters.cli.logs import log_line
from parallel_ml.adapters.cli.text import safe
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent
from tests.unit.cli.conftest import MakeJob

POINT = {
    "epoch": 2,
    "epochs": 4,
    "train_loss": 0.12345,
    "train_accuracy": 0.97,
    "val_loss": None,
    "val_accuracy": 0.95,
    "learning_rate": 0.001,
    "time_per_epoch": 1.23,
    "memory_usage": 512.0,
    "gpu_utilization": None,
}
CPU = {"device": "cpu", "gpu_index": None}


def test_an_epoch_is_one_line() -> None:
    """What people look at, in the order in which it was told; what is not known is left out."""
    event = MonitorEvent(EventKind.EPOCH, "config1", POINT)
    assert event_line(event) == "config1: epoch 2/4 loss 0.1235 accuracy 0.97 val_accuracy 0.95 (1.2s)"


def test_a_loss_that_is_not_finite_is_named() -> None:
    """A value of nan is the news of that epoch."""
    point = {"epoch": 1, "train_loss": None, "nonfinite": {"train_loss": "nan"}}
    assert event_line(MonitorEvent(EventKind.EPOCH, "config1", point)) == "config1: epoch 1 loss nan"


@pytest.mark.parametrize(
    ("news", "line"),
    [
        (
            {"state": "starting", "allocation": CPU, "batch_size": 16, "accumulation": 2, "attempt": 1},
            "a: starting on CPU, batch 16 x 2",
        ),
        ({"state": "starting", "allocation": CPU, "attempt": 2}, "a: starting on CPU, attempt 2"),
        ({"state": "running", "pid": 12}, "a: running, process 12"),
        ({"state": "completed", "outcome": "success"}, "a: completed"),
        ({"state": "completed", "outcome": "early_stopped"}, "a: completed, early stopped"),
        ({"state": "failed", "outcome": "error(1)", "error": "no"}, "a: failed: error(1): no"),
        ({"state": "retrying", "outcome": "lost", "error": None}, "a: retrying: lost"),
        ({"state": "stopped", "outcome": "stopped"}, "a: stopped"),
    ],
)
def test_a_state_is_one_line(news: dict[str, Any], line: str) -> None:
    """A job's new state with what belongs to it."""
    assert event_line(MonitorEvent(EventKind.JOB_STATE, "a", news)) == line


def test_a_note_is_one_line(hostile: str) -> None:
    """Of the run or of a job, and safe."""
    assert event_line(MonitorEvent(EventKind.NOTE, None, {"text": "no GPU"})) == "note: no GPU"
    line = event_line(MonitorEvent(EventKind.NOTE, "a", {"text": hostile}))
    assert line == safe(f"a: note: {hostile}")


def test_the_log_is_not_repeated() -> None:
    """What jobs print is in `logs`."""
    assert event_line(MonitorEvent(EventKind.LOG, "a", {"message": "x", "type": "stdout"})) is None


@pytest.mark.parametrize(
    ("record", "label", "line"),
    [
        ({"message": "Epoch 1", "type": "stdout"}, "a: ", "a: Epoch 1"),
        ({"message": "Epoch 1", "type": "stderr"}, "", "Epoch 1"),
        ({"message": "placed", "type": "system"}, "", "-- placed"),
        ({"message": "a\tb\x1b[31mc", "type": "stdout"}, "", "a       bc"),
        ({"type": "stdout"}, "", "None"),
    ],
)
def test_a_log_record_is_one_line(record: dict[str, Any], label: str, line: str) -> None:
    """A label in front, a mark before what this program says, nothing a terminal obeys."""
    assert log_line(record, label) == line


def test_epochs_that_a_program_counts_from_0_do_not_look_unfinished(make_job: MakeJob) -> None:
    """`Epoch 3/4` was the last line of a program that has ended well; one that runs, or reports, is as it says."""
    read: dict[str, Any] = {"epoch": 3, "epochs": 4, "metrics": {"source": "output"}}
    assert epochs(make_job(state="completed", **read)) == "3"
    assert epochs(make_job(state="running", **read)) == "3/4"
    assert epochs(make_job(state="completed", epoch=3, epochs=4)) == "3/4"
