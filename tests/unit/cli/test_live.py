"""The live display, as the lines that it draws."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from parallel_ml.adapters.cli.live import live_lines, progress_bar, shown_jobs, styled
from parallel_ml.adapters.cli.text import cell_width, safe

if TYPE_CHECKING:
    from tests.unit.cli.conftest import MakeJob, MakeRun


def test_a_row_has_a_bar(make_job: MakeJob, make_run: MakeRun) -> None:
    """Where there is room, a job shows how far it is and what it says of itself."""
    job = make_job(epoch=1, epochs=4, metrics={"train_loss": 0.5, "val_accuracy": 0.9, "time_per_epoch": 2.0})
    row = live_lines(make_run(job), 120, 24)[2].split()
    assert row == ["config1", "running", "██░░░░░░░░", "1/4", "6.0s", "0.5", "0.9"]


def test_the_layout_stands_still(make_job: MakeJob, make_run: MakeRun) -> None:
    """The titles do not move while values come in."""
    before = make_job("config1", "pending", epochs=4)
    after = make_job(
        "config1", "completed", epoch=4, epochs=4, metrics={"train_loss": 0.123456, "val_accuracy": 0.98765}
    )
    assert live_lines(make_run(before), 120, 24)[1] == live_lines(make_run(after), 120, 24)[1]


@pytest.mark.parametrize("width", [10, 40, 80, 200])
@pytest.mark.parametrize("height", [3, 10, 24])
def test_two_hundred_jobs_fit_any_terminal(make_job: MakeJob, make_run: MakeRun, width: int, height: int) -> None:
    """Neither wider nor higher than the terminal, with a line left for the cursor."""
    jobs = [make_job(f"job-{place}", "running" if place % 50 == 0 else "pending", epochs=10) for place in range(200)]
    lines = live_lines(make_run(*jobs), width, height)
    assert len(lines) <= height - 1
    assert max(map(cell_width, lines)) <= width


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (100, "config2  pending    needs 8GiB on one card, 2GiB free on GPU 0"),
        (40, "config2  pending    needs 8GiB on one c…"),
    ],
)
def test_a_reason_takes_the_place_of_empty_cells(make_job: MakeJob, make_run: MakeRun, width: int, row: str) -> None:
    """Why a job waits is read, and the figures of the job that runs stay where they are."""
    metrics = {"train_loss": 0.5, "train_accuracy": 0.75, "val_loss": 0.25, "val_accuracy": 0.9}
    reason = "needs 8GiB on one card, 2GiB free on GPU 0"
    jobs = [make_job(epoch=1, epochs=4, metrics=metrics), make_job("config2", "pending", waiting=reason)]
    lines = live_lines(make_run(*jobs), width, 30)
    assert re.sub(" {4,}", "    ", lines[3]) == row
    assert lines[2].endswith("0.9")
    assert "accuracy" not in lines[2]


def test_an_early_stop_hides_no_figure(make_job: MakeJob, make_run: MakeRun) -> None:
    """It is said where there is room for it."""
    job = make_job(state="completed", outcome="early_stopped", metrics={"val_accuracy": 0.9}, elapsed_s=4.0)
    assert live_lines(make_run(job), 80, 24)[2].endswith(" 0.9    4.0s")
    assert live_lines(make_run(job), 120, 24)[2].endswith("early stopped")


def test_other_metrics_are_shown_where_there_is_room(make_job: MakeJob, make_run: MakeRun) -> None:
    """On a wide terminal."""
    lines = live_lines(make_run(make_job(metrics={"f1": 0.5})), 160, 24)
    assert lines[2].endswith("f1 0.5")


def test_those_that_run_are_shown_first(make_job: MakeJob, make_run: MakeRun) -> None:
    """Of 200 jobs those that run have a row, and the rest is counted."""
    states = ["completed"] * 120 + ["running", "failed"] + ["pending"] * 78
    jobs = [make_job(f"job-{place}", state) for place, state in enumerate(states)]
    lines = live_lines(make_run(*jobs), 100, 24)
    assert lines[2].startswith("job-120  running")
    assert lines[3].startswith("job-121  failed")
    assert lines[-1] == "+180 more: 60 pending, 120 completed; Ctrl-C stops the run"


def test_jobs_that_all_fit_keep_their_order(make_job: MakeJob) -> None:
    """Nothing jumps when a job ends."""
    jobs = [make_job("a", "completed"), make_job("b", "running"), make_job("c", "pending")]
    assert shown_jobs(jobs, 3) == (jobs, [])


def test_a_run_that_stops_says_how_to_kill_it(make_job: MakeJob, make_run: MakeRun) -> None:
    """After the first Ctrl-C the display tells what a second one does."""
    assert live_lines(make_run(make_job(state="stopping")), 80, 24)[-1] == "stopping; Ctrl-C again kills"


def test_nothing_that_a_job_says_reaches_the_terminal(make_job: MakeJob, make_run: MakeRun, hostile: str) -> None:
    """Every line is sanitised."""
    job = make_job(hostile, "retrying", error=hostile, waiting=hostile, metrics={"train_loss": hostile})
    lines = live_lines(make_run(job, name=hostile), 200, 24)
    assert lines == [safe(line) for line in lines]


@pytest.mark.parametrize(
    ("epoch", "bar"), [(None, ".........."), (1, "##........"), (4, "##########"), (9, "##########")]
)
def test_a_bar_fills(epoch: int | None, bar: str) -> None:
    """In tenths, and never beyond its end."""
    assert progress_bar(epoch, 4, plain=True) == bar


def test_colour_changes_no_text() -> None:
    """A state is coloured, a name that contains the word is not."""
    text = styled("run failed-1: 1 failed, 1 running")
    assert text.plain == "run failed-1: 1 failed, 1 running"
    assert [text.plain[span.start : span.end] for span in text.spans] == ["running", "failed"]
