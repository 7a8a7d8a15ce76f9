"""The lines of `status` and `list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parallel_ml.adapters.cli.cells import own_metrics, time_left
from parallel_ml.adapters.cli.list import run_lines
from parallel_ml.adapters.cli.status_lines import status_lines
from parallel_ml.adapters.cli.stop import ending
from parallel_ml.adapters.cli.text import cell_width, safe

if TYPE_CHECKING:
    from tests.unit.cli.conftest import MakeJob, MakeRun

GPU = {"device": "gpu", "gpu_index": 0, "gpu_uuid": "GPU-1", "memory_limit": 8192, "memory_fraction": 0.5}


def test_a_status_is_a_table(make_job: MakeJob, make_run: MakeRun) -> None:
    """A line of the run, its folder, its notes, and a row for each job with what is known of it."""
    metrics = {"train_loss": 0.12345, "val_accuracy": 0.97, "time_per_epoch": 1.5}
    jobs = [
        make_job(epoch=2, epochs=4, metrics=metrics, allocation=GPU, elapsed_s=75.0),
        make_job("config2", "pending", epochs=4, waiting="2 of 2 slots in use"),
        make_job("config3", "failed", outcome="error(1)", error="ValueError: no", elapsed_s=3.0),
    ]
    assert status_lines(make_run(*jobs, notes=("no GPU found",), name="night")) == [
        "run 20260101-120000-3fa9 (night): 1 running, 1 pending, 1 failed",
        "/runs/20260101-120000-3fa9",
        "note: no GPU found",
        "",
        "job      state    device      epoch  left    loss  val acc   time",
        "config1  running  GPU 0 8GiB    2/4  3.0s  0.1235     0.97  1m15s",
        "config2  pending  2 of 2 slots in use",
        "config3  failed                                              3.0s  error(1): ValueError: no",
    ]


def test_the_test_accuracy_is_shown_and_the_best_marked(make_job: MakeJob, make_run: MakeRun) -> None:
    """Of those that are completed, as at the end of a run."""
    jobs = [
        make_job("config1", "completed", metrics={"val_accuracy": 0.99, "test_accuracy": 0.95}),
        make_job("config2", "completed", metrics={"val_accuracy": 0.97, "test_accuracy": 0.96}),
        make_job("config3", "running", metrics={"val_accuracy": 0.98}),
    ]
    assert status_lines(make_run(*jobs))[3:] == [
        "job        state      val acc  test acc",
        "config1    completed     0.99      0.95",
        "config2 *  completed     0.97      0.96",
        "config3    running       0.98",
        "* best test accuracy",
    ]


def test_a_run_without_supervisor_says_how_old_it_is(make_job: MakeJob, make_run: MakeRun) -> None:
    """Staleness is shown."""
    assert "as of 12 s ago; supervisor not running" in status_lines(make_run(make_job(), supervisor="gone"))


def test_a_finished_run_is_not_stale(make_job: MakeJob, make_run: MakeRun) -> None:
    """Nobody needs to drive what has finished; it says when it ended."""
    lines = status_lines(make_run(make_job(state="completed"), supervisor="gone", state="completed"))
    assert lines[0].endswith("1 completed, 12 s ago")
    assert not any("supervisor" in line for line in lines)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_a_status_fits_the_terminal(make_job: MakeJob, make_run: MakeRun, width: int) -> None:
    """No line is wider than the terminal, the job and its state are always there."""
    job = make_job("a_training_with_a_long_name", waiting="needs 8GiB on one card, 2GiB free on GPU 0", allocation=GPU)
    lines = status_lines(make_run(job, notes=("a note that is rather long for a terminal",)), width)
    assert max(map(cell_width, lines)) <= width
    assert "running" in lines[-1]
    assert lines[-1].startswith("a_train")


def test_nothing_that_a_job_says_reaches_the_terminal(make_job: MakeJob, make_run: MakeRun, hostile: str) -> None:
    """Names, errors, reasons, notes and metrics are sanitised."""
    job = make_job(hostile, "failed", error=hostile, outcome=hostile, waiting=hostile, metrics={hostile: hostile})
    lines = status_lines(make_run(job, notes=(hostile,), name=hostile))
    assert lines == [safe(line) for line in lines]


def test_the_time_left_is_the_pace_of_the_last_epoch(make_job: MakeJob) -> None:
    """Where the epoch does not say its time, the pace of all so far is taken."""
    assert time_left(make_job(epoch=2, epochs=10, metrics={"time_per_epoch": 30.0})) == "4m00s"
    assert time_left(make_job(epoch=2, epochs=10, elapsed_s=10.0)) == "40s"
    assert time_left(make_job(epoch=None, epochs=10, elapsed_s=10.0)) == ""
    assert time_left(make_job(state="completed", epoch=2, epochs=10, elapsed_s=10.0)) == ""


def test_metrics_of_an_own_script_are_shown(make_job: MakeJob) -> None:
    """What has no column stands at the end of the row."""
    metrics = {"f1": 0.5, "train_loss": 0.1, "learning_rate": 0.01}
    assert own_metrics(make_job(metrics=metrics)) == "f1 0.5"


def test_a_list_names_runs_that_nobody_drives(make_job: MakeJob, make_run: MakeRun) -> None:
    """A run whose supervisor is gone is not taken for a running one."""
    lines = run_lines([make_run(make_job()), make_run(make_job(), supervisor="gone", run="20250101-120000-aaaa")])
    assert [line.split("  ")[1] for line in lines[1:]] == ["running", "running, no supervisor"]


@pytest.mark.parametrize(
    ("state", "said"),
    [("stopped", "config1: stopped"), ("completed", "config1: completed before it could stop")],
)
def test_a_stop_says_what_became_of_a_job(make_job: MakeJob, state: str, said: str) -> None:
    """A job may have ended by itself meanwhile."""
    assert ending(make_job(state=state)) == said
