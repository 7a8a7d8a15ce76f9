"""Metrics from a job's output: when they are written, and when not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.runtime.shim.metrics import MetricsWriter
from parallel_ml.runtime.shim.output_metrics import SETTLED_S, OutputMetrics


class Job:
    """What a job prints, and its metrics.jsonl."""

    def __init__(self, folder: Path) -> None:
        """Begin an attempt with the metrics that are there."""
        self.path = folder / "metrics.jsonl"
        self.writer = MetricsWriter(str(self.path))
        self.now = 0.0
        self.output = OutputMetrics(self.writer, wanted=True, clock=lambda: self.now)

    def prints(self, text: str, stream: str = "stdout") -> bool:
        """Print; return whether an epoch was written."""
        return self.output.feed(stream, text.encode())

    def told(self) -> list[dict[str, Any]]:
        """Return what is in metrics.jsonl, without what is not known."""
        lines = map(json.loads, self.path.read_text().splitlines())
        return [{key: value for key, value in line.items() if value is not None} for line in lines]

    def epochs(self) -> list[tuple[int, float | None]]:
        """Return the epochs and their training losses."""
        return [(line["epoch"], line.get("train_loss")) for line in self.told()]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """The first attempt of a job."""
    return Job(tmp_path)


def test_an_epoch_is_written_when_the_next_begins(job: Job) -> None:
    """With every key of a reported one, where it comes from, and its time."""
    assert not job.prints("epoch 1/2 loss 0.5\n")
    job.now = 0.5
    assert job.prints("epoch 2/2 loss 0.25\n")
    assert job.told() == [{"epoch": 1, "epochs": 2, "train_loss": 0.5, "source": "output"}]
    assert job.output.finish()
    assert job.told()[1] == {"epoch": 2, "epochs": 2, "train_loss": 0.25, "time_per_epoch": 0.5, "source": "output"}
    assert set(json.loads(job.path.read_text().splitlines()[0])) >= {"val_loss", "val_accuracy", "gpu_utilization"}


def test_an_epoch_is_written_when_it_has_settled(job: Job) -> None:
    """The figures of the validation, which come a moment later, are in the same line."""
    job.prints("epoch 1 train loss 0.5\n")
    job.now = SETTLED_S / 2
    job.prints("epoch 1 val loss 0.75\n")
    assert not job.output.flush()
    job.now = SETTLED_S
    assert job.output.flush()
    assert job.told() == [{"epoch": 1, "train_loss": 0.5, "val_loss": 0.75, "source": "output"}]


def test_what_comes_after_that_replaces_the_line(job: Job) -> None:
    """Each epoch stands there once."""
    for text in ("epoch 1 loss 0.5\n", "epoch 1 val_loss 0.75\n"):
        job.prints(text)
        job.now += SETTLED_S
        assert job.output.flush()
    assert job.told() == [{"epoch": 1, "train_loss": 0.5, "val_loss": 0.75, "source": "output"}]


def test_lines_may_be_torn_anywhere(job: Job) -> None:
    """A pipe knows no lines; the last one may lack its end."""
    for byte in "epoch 1 loss 0.5\nepoch 2 loss 0.25":
        job.prints(byte)
    job.output.finish()
    assert job.epochs() == [(1, 0.5), (2, 0.25)]


def test_each_picture_of_a_progress_bar_is_seen(job: Job) -> None:
    """Lightning ends no line before the training ends; the log keeps the last picture alone."""
    picture = "\rEpoch {}: {}%|██| {}/8 [00:01<00:00, 8it/s, v_num=0, train_loss={}]"
    for epoch in (1, 2, 3):
        job.prints(picture.format(epoch, 50, 4, 9.0), "stderr")
        job.prints(picture.format(epoch, 100, 8, epoch / 4), "stderr")
    job.output.finish()
    assert job.epochs() == [(1, 0.25), (2, 0.5), (3, 0.75)]


def test_an_evaluation_after_the_last_epoch_does_not_change_it(job: Job) -> None:
    """Keras draws the same bar for it."""
    bar = "8/8 ━━━━ 0s 5ms/step - loss: {}\n"
    job.prints("Epoch 1/1\n" + bar.format(0.5) + bar.format(0.75))
    job.output.finish()
    assert job.epochs() == [(1, 0.5)]


def test_epochs_never_go_back(job: Job) -> None:
    """The next fold of a cross-validation begins at 1 again."""
    job.prints("".join(f"epoch {epoch} loss {loss}\n" for epoch, loss in ((1, 0.5), (2, 0.25), (1, 0.75), (3, 0.125))))
    job.output.finish()
    assert job.epochs() == [(1, 0.5), (2, 0.25), (3, 0.125)]


def test_a_heading_counts_in_its_own_stream_alone(job: Job) -> None:
    """Two pipes have no common order: a bar might be put under the heading of the epoch after its own."""
    job.prints("Epoch 1/2\n")
    job.prints("100%|██| 8/8 [00:01<00:00, 8it/s, loss=0.5]\n", "stderr")
    assert not job.output.finish()


def test_a_new_attempt_goes_on_from_its_own_first_epoch(job: Job, tmp_path: Path) -> None:
    """It may have begun at a checkpoint."""
    job.prints("epoch 1 loss 0.5\nepoch 2 loss 0.5\nepoch 3 loss 0.5\n")
    job.output.finish()
    second = Job(tmp_path)
    second.prints("epoch 2 loss 0.25\n")
    second.output.finish()
    assert second.epochs() == [(1, 0.5), (2, 0.25)]


def test_the_first_report_takes_the_place_of_all_that_was_read(job: Job) -> None:
    """Also of epochs that were never reported; and nothing is read after it."""
    job.prints("epoch 0 loss 0.5\nepoch 1 loss 0.5\nepoch 2 loss 0.25\n")
    job.output.give_way()
    job.writer.write({"epoch": 1, "train_loss": 0.125})
    assert not job.prints("epoch 3 loss 0.5\nepoch 4 loss 0.5\n")
    assert not job.output.finish()
    assert job.epochs() == [(1, 0.125)]


def test_what_an_earlier_attempt_reported_is_not_touched(job: Job, tmp_path: Path) -> None:
    """A job that reports is never read, not even before the first report of its next attempt."""
    job.writer.write({"epoch": 1, "train_loss": 0.5})
    second = Job(tmp_path)
    second.prints("epoch 1 loss 0.25\nepoch 2 loss 0.25\n")
    assert not second.output.finish()
    assert second.epochs() == [(1, 0.5)]


def test_nothing_is_read_where_it_is_not_wanted(tmp_path: Path) -> None:
    """`metrics_from_output: false`, and the built-in training."""
    output = OutputMetrics(MetricsWriter(str(tmp_path / "metrics.jsonl")), wanted=False)
    assert not output.feed("stdout", b"epoch 1 loss 0.5\nepoch 2 loss 0.5\n")
    assert not output.finish()


def test_a_figure_that_is_not_finite_is_null_and_named(job: Job) -> None:
    """JSON has no nan; a later value of the same epoch takes the name away again."""
    job.prints("epoch 1 loss nan\nepoch 2 loss inf\nepoch 2 loss 0.5\n")
    job.output.finish()
    assert [line.get("nonfinite") for line in job.told()] == [{"train_loss": "nan"}, None]


def test_a_flood_of_epochs_does_not_hold_the_job_up(tmp_path: Path) -> None:
    """Reading takes its share of the time and no more; what is not seen is not guessed at."""
    seconds = iter(range(0, 10**9, 10))  # each look at the clock is ten seconds after the one before
    output = OutputMetrics(MetricsWriter(str(tmp_path / "m.jsonl")), wanted=True, clock=lambda: next(seconds) / 10)
    for epoch in range(1, 100):
        output.feed("stdout", f"epoch {epoch} loss 0.5\n".encode())
    told = len((tmp_path / "m.jsonl").read_text().splitlines())
    assert 0 < told < 20


def test_a_very_long_line_is_passed_over(job: Job) -> None:
    """Neither its beginning nor its end is taken for a line; the next one is read."""
    job.prints("epoch 1 loss 0.5 " + "x" * 5000)
    job.prints("\repoch 2 loss 0.5 " + "x" * 5000)
    job.prints("epoch 3 loss 0.5\nepoch 4 loss 0.25\n")
    job.output.finish()
    assert job.epochs() == [(4, 0.25)]


@given(
    st.lists(
        st.sampled_from(
            ["epoch ", "Epoch", "=", ":", "/", "\n", "\r", " ", "1", "0.5", "99", "loss", "val", ",", "{", "}", "é"]
        )
    )
)
def test_no_output_breaks_it(parts: list[str]) -> None:
    """Whatever is printed: epochs go forward, and the reading goes on."""
    seen: list[dict[str, Any]] = []

    class Written:
        has_reports = False

        def write(self, data: dict[str, Any], *, durable: bool) -> bool:  # noqa: ARG002 - as the writer has it
            json.dumps(data, allow_nan=False)
            seen.append(data)
            return True

    output = OutputMetrics(Written(), wanted=True)  # type: ignore[arg-type]
    output.feed("stdout", "".join(parts).encode())
    output.finish()
    assert output._is_on
    assert [line["epoch"] for line in seen] == sorted({line["epoch"] for line in seen})
