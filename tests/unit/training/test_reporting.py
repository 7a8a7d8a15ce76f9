"""What scripts tell and ask, against a guard that listens on a real socket."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parallel_ml.training import checkpoint_dir, reporting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def reporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[reporting.Reporter]:
    """Start each test with nothing told; afterwards SIGTERM means what it meant before."""
    made = reporting.Reporter()
    monkeypatch.setattr(reporting, "_reporter", made)
    before = signal.getsignal(signal.SIGTERM)
    yield made
    signal.signal(signal.SIGTERM, before)


def told(guard: Any) -> list[dict[str, Any]]:
    """Return the epochs that arrived."""
    return [message["data"] for message in guard.messages if message["type"] == "epoch"]


def test_an_epoch_arrives_with_every_known_figure(guard: Any) -> None:
    """`loss` and `accuracy` are those of the training data; what was not told is null; other names stay."""
    reporting.report(epoch=3, epochs=10, loss=0.5, accuracy=0.75, val_loss=0.25, dice=0.1)
    (line,) = told(guard)
    assert line.pop("memory_usage") > 1
    assert line == {
        "epoch": 3,
        "epochs": 10,
        "train_loss": 0.5,
        "train_accuracy": 0.75,
        "val_loss": 0.25,
        "val_accuracy": None,
        "learning_rate": None,
        "time_per_epoch": None,
        "gpu_utilization": None,
        "dice": 0.1,
    }


def test_the_scalars_of_frameworks_are_numbers(guard: Any) -> None:
    """Anything with `.item()` counts: numpy here, tensors of PyTorch or JAX alike."""
    reporting.report(epoch=np.int64(1), loss=np.float32(0.5), val_accuracy=np.array(0.25), correct=np.int32(7))
    (line,) = told(guard)
    assert (line["epoch"], line["train_loss"], line["val_accuracy"], line["correct"]) == (1, 0.5, 0.25, 7)


def test_a_figure_that_is_not_finite_is_null_and_named(guard: Any) -> None:
    """JSON has no nan: the figure is null, and `nonfinite` says what it was."""
    reporting.report(epoch=1, loss=float("nan"), val_loss=float("-inf"))
    (line,) = told(guard)
    assert (line["train_loss"], line["val_loss"]) == (None, None)
    assert line["nonfinite"] == {"train_loss": "nan", "val_loss": "-inf"}


def test_what_is_no_number_does_no_harm(guard: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A list for a loss is left out with a warning that names it."""
    reporting.report(epoch=1, loss=[1, 2], val_loss=np.array([1, 2]))
    (line,) = told(guard)
    assert (line["train_loss"], line["val_loss"]) == (None, None)
    assert "loss is not a number" in caplog.text


def test_without_numbers_each_report_is_the_next_epoch(guard: Any) -> None:
    """A script that never names an epoch has its reports counted from 1."""
    for loss in (3.0, 2.0, 1.0):
        reporting.report(loss=loss)
    assert [(line["epoch"], line["train_loss"]) for line in told(guard)] == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_report_without_epoch_adds_to_the_one_that_was_named(guard: Any) -> None:
    """Figures that come later, such as a test's, join the last epoch."""
    reporting.report(epoch=4, epochs=4, loss=1.0)
    reporting.report(test_accuracy=0.9)
    assert [(line["epoch"], line["epochs"]) for line in told(guard)] == [(4, 4), (4, 4)]
    assert (told(guard)[-1]["train_loss"], told(guard)[-1]["test_accuracy"]) == (1.0, 0.9)


@pytest.mark.parametrize(("answer", "wanted"), [("null", False), ('"stop"', True), ('"pause"', True)])
def test_should_stop_is_what_the_guard_says(guard: Any, answer: str, wanted: bool) -> None:  # noqa: FBT001
    """Both a stop and a pause mean: save and leave."""
    guard.answer = b'{"ok": true, "stop": %s}\n' % answer.encode()
    assert reporting.should_stop() is wanted
    assert guard.messages == [{"type": "ask"}]


def test_the_end_arrives_with_its_place(guard: Any) -> None:
    """The last word of a training is its outcome."""
    reporting.declare_end("oom_gpu", "out of memory", "train")
    assert guard.messages == [{"type": "end", "outcome": "oom_gpu", "error": "out of memory", "place": "train"}]


def test_outside_a_job_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a guard a script runs as ever, and its checkpoints have a place."""
    monkeypatch.chdir(tmp_path)
    reporting.report(epoch=1, loss=0.5)
    assert reporting.should_stop() is False
    assert checkpoint_dir() == Path("checkpoints")
    assert (tmp_path / "checkpoints").is_dir()


def test_the_checkpoints_of_a_job_are_in_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The job's own folder, made when it is asked for."""
    monkeypatch.setenv("PARALLEL_ML_CHECKPOINT_DIR", str(tmp_path / "job" / "checkpoints"))
    assert checkpoint_dir() == tmp_path / "job" / "checkpoints"
    assert checkpoint_dir().is_dir()


def test_a_guard_that_is_gone_costs_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that nobody listens on is tried, then left alone: a thousand reports are no wait."""
    monkeypatch.setenv("PARALLEL_ML_SOCKET", "parallel-ml-test-nobody-listens")
    begin = time.monotonic()
    for epoch in range(1000):
        reporting.report(epoch=epoch, loss=0.5)
    assert time.monotonic() - begin < 1.5


def test_a_guard_that_starts_again_is_found_again(guard: Any) -> None:
    """A connection that broke is made anew, and the report is not lost."""
    reporting.report(epoch=1, loss=0.5)
    guard.drop_connections()
    reporting.report(epoch=2, loss=0.4)
    assert [line["epoch"] for line in told(guard)][-1] == 2
    assert guard.connections == 2


@pytest.mark.parametrize("answer", [b"not json\n", b"[]\n", None])
def test_an_answer_without_sense_is_no_answer(guard: Any, answer: bytes | None) -> None:
    """Garbage, and a connection that is closed without an answer, mean that nobody asked for anything."""
    guard.answer = answer
    assert reporting.should_stop() is False


def test_a_report_beyond_the_limit_is_left_out(guard: Any) -> None:
    """A line of more than 64 KiB is not sent; the next one is."""
    reporting.report(epoch=1, note="x" * 70_000)
    reporting.report(epoch=2, loss=0.5)
    assert [line["epoch"] for line in told(guard)] == [2]


def test_threads_may_report_at_once(guard: Any) -> None:
    """Every report arrives whole."""
    threads = [threading.Thread(target=_report_many, args=(reporting.report, 20 * n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["epoch"] for line in told(guard)) == list(range(80))


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_connection_of_its_own(guard: Any) -> None:
    """What a child reports does not mix with what its parent reports."""
    reporting.report(epoch=1, loss=0.5)
    child = os.fork()
    if child == 0:
        try:
            reporting.report(epoch=2, loss=0.5)
            os._exit(0)
        finally:
            os._exit(1)  # never back into the tests
    assert os.waitpid(child, 0)[1] == 0
    reporting.report(epoch=3, loss=0.5)
    assert [line["epoch"] for line in told(guard)] == [1, 2, 3]
    assert guard.connections == 2


def _report_many(report: Callable[..., None], first: int) -> None:
    for epoch in range(first, first + 20):
        report(epoch=epoch, loss=0.5)
