"""The live display, as the lines that it draws."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from parallel_ml.adapters.cli.live import WATCHES, live_lines, shown_jobs
from parallel_ml.adapters.cli.rows import LiveTable
from parallel_ml.adapters.cli.text import cell_width, safe

if TYPE_CHECKING:
    from parallel_ml.core.status import JobStatus
    from tests.unit.cli.conftest import MakeJob, MakeRun


CARD = {"device": "gpu", "gpu_index": 0, "memory_limit": 4096}


def at_work(make_job: MakeJob, name: str = "config1", **changes: Any) -> JobStatus:
    """Return a job that tells everything that there is a column for."""
    told: dict[str, Any] = {
        "allocation": CARD,
        "epoch": 1,
        "epochs": 4,
        "metrics": {"train_loss": 0.5, "val_accuracy": 0.9, "time_per_epoch": 2.0},
        "resources": {"memory_mb": 120.4, "memory_peak_mb": 130.0},
        "elapsed_s": 3.0,
    }
    return make_job(name, **{**told, **changes})


def test_a_row_tells_everything(make_job: MakeJob, make_run: MakeRun) -> None:
    """Where it runs, how far it is and for how long, how well it learns, and the memory that it has."""
    lines = live_lines(make_run(at_work(make_job)), 100, 24, trends={"config1": [0.1, 0.5, 0.9]})
    assert lines[1].split() == ["job", "state", "card", "epoch", "left", "loss", "val", "acc", "memory", "time"]
    row = ["config1", "running", "GPU", "0", "4GiB", "██░░░░░░", "1/4", "6.0s", "0.5000", "0.9000", "▁▄▇", "120MiB"]
    assert lines[2].split() == [*row, "3.0s"]


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (80, ["job", "state", "card", "epoch", "left", "loss", "val acc"]),
        (60, ["job", "state", "epoch", "left", "loss", "val acc"]),
        (40, ["job", "state", "epoch", "val acc"]),
    ],
)
def test_columns_go_in_their_order(make_job: MakeJob, make_run: MakeRun, width: int, titles: list[str]) -> None:
    """How far and how well is read at 40 columns too."""
    titles_shown = live_lines(make_run(at_work(make_job, "a-name-of-some-length")), width, 24)[1]
    assert [title for title in re.split(r"\s{2,}", titles_shown) if title] == titles


def test_a_run_without_cards_has_no_column_for_them(make_job: MakeJob, make_run: MakeRun) -> None:
    """All its jobs stand on the CPU: that is no news in each row."""
    job = at_work(make_job, allocation={"device": "cpu", "gpu_index": None})
    assert "card" not in live_lines(make_run(job), 100, 24)[1]


def test_programs_that_tell_nothing_have_no_columns_for_it(make_job: MakeJob, make_run: MakeRun) -> None:
    """Until the first of them tells an epoch."""
    lines = live_lines(make_run(make_job(resources={"memory_mb": 3.0})), 100, 24)
    assert lines[1].split() == ["job", "state", "memory", "time"]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 130])
def test_the_layout_stands_still(make_job: MakeJob, make_run: MakeRun, width: int) -> None:
    """The titles do not move while figures come, grow and shrink again."""
    table = LiveTable()
    metrics = {"train_loss": 1234.5678, "val_accuracy": 0.98765, "time_per_epoch": 1000.0}
    states = [
        at_work(make_job, epochs=400, metrics={}, elapsed_s=0.1, resources={}),
        at_work(make_job, epoch=399, epochs=400, metrics=metrics, elapsed_s=5000.0),
        at_work(make_job, "config1", state="completed", epoch=4),
    ]
    frames = [live_lines(make_run(job), width, 24, table)[1] for job in [*states, *states]]
    assert len(set(frames[1:])) == 1


def test_a_loss_stands_for_an_accuracy_that_nobody_tells(make_job: MakeJob, make_run: MakeRun) -> None:
    """A regression has no accuracy."""
    lines = live_lines(make_run(at_work(make_job, metrics={"train_loss": 0.5, "val_loss": 0.25})), 100, 24)
    assert "val loss" in lines[1]
    assert "0.2500" in lines[2]


def test_a_wide_name_breaks_no_column(make_job: MakeJob, make_run: MakeRun) -> None:
    """A character of two cells counts for two, as the terminal has it."""
    lines = live_lines(make_run(at_work(make_job, "训练-一"), at_work(make_job, "abc")), 100, 24)
    assert lines[2].index("running") + len("训练一") == lines[3].index("running")
    assert cell_width(lines[2]) == cell_width(lines[3])


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
    """Why a job waits is read right behind its state, and the figures of the job that runs stay where they are."""
    reason = "needs 8GiB on one card, 2GiB free on GPU 0"
    waits = make_job("config2", "pending", waiting=reason)
    lines = live_lines(make_run(at_work(make_job), waits), width, 30)
    assert lines[3] == row
    assert lines[2] == live_lines(make_run(at_work(make_job), make_job("config2", "pending")), width, 30)[2]


def test_an_error_takes_the_place_of_figures(make_job: MakeJob, make_run: MakeRun) -> None:
    """Where it has no room behind them it is worth more."""
    failed = at_work(make_job, state="failed", error="ValueError: no", outcome="error(1)")
    assert "0.9000" in live_lines(make_run(failed), 160, 24)[2]
    assert live_lines(make_run(failed), 100, 24)[2] == "config1  failed     error(1): ValueError: no"


def test_an_early_stop_hides_no_figure(make_job: MakeJob, make_run: MakeRun) -> None:
    """It is said where there is room for it."""
    job = at_work(make_job, state="completed", outcome="early_stopped")
    assert "early stopped" not in live_lines(make_run(job), 100, 24)[2]
    assert "0.9000" in live_lines(make_run(job), 100, 24)[2]
    assert live_lines(make_run(job), 130, 24)[2].endswith("early stopped")


def test_other_metrics_are_shown_where_there_is_room(make_job: MakeJob, make_run: MakeRun) -> None:
    """On a wide terminal."""
    lines = live_lines(make_run(make_job(metrics={"f1": 0.5})), 160, 24)
    assert lines[2].endswith("f1 0.5")


def test_those_that_run_are_shown_first(make_job: MakeJob, make_run: MakeRun) -> None:
    """Of 200 jobs those that run, those that failed and those that are next have a row, and the rest is counted."""
    states = ["completed"] * 120 + ["failed", "running"] + ["pending"] * 78
    jobs = [make_job(f"job-{place}", state) for place, state in enumerate(states)]
    lines = live_lines(make_run(*jobs), 100, 24)
    assert [line.split() for line in lines[2:7]] == [
        ["job-121", "running"],
        ["job-120", "failed"],
        ["job-122", "pending"],
        ["job-123", "pending"],
        ["job-124", "pending"],
    ]
    assert lines[7:] == ["+195 more: 75 pending, 120 completed", "Ctrl-C stops the run"]


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


def test_who_watches_is_told_what_ctrl_c_does(make_job: MakeJob, make_run: MakeRun) -> None:
    """It ends the display, not the run; and that nobody drives the run is said."""
    assert live_lines(make_run(make_job()), 80, 24, hint=WATCHES)[-1] == "Ctrl-C ends the display; the run goes on"
    left = make_run(make_job(), supervisor="gone")
    assert live_lines(left, 80, 24, hint=WATCHES)[-1].startswith("as of 12 s ago; supervisor not running")


def test_a_heading_has_the_counts_at_any_width(make_job: MakeJob, make_run: MakeRun) -> None:
    """The run's id gives way to its name, and that to nothing."""
    run = make_run(make_job(), make_job("config2", "pending"), name="night")
    assert live_lines(run, 100, 24)[0] == "run 20260101-120000-3fa9 (night): 1 running, 1 pending, 1m00s"
    assert live_lines(run, 40, 24)[0] == "night: 1 running, 1 pending"
    assert live_lines(run, 20, 24)[0] == "1 running, 1 pending"
