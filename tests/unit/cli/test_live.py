"""The live display, as the lines that it draws."""

from __future__ import annotations

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
