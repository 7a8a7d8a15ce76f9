"""What a finished run says at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from parallel_ml.adapters.cli.drive import exit_code
from parallel_ml.adapters.cli.summary import MOST_ROWS, summary_lines
from parallel_ml.adapters.cli.text import cell_width, safe
from parallel_ml.core.comparison import best_epoch, best_job, measure_of
from parallel_ml.monitor.last_errors import last_errors

if TYPE_CHECKING:
    from parallel_ml.core.status import JobStatus
    from tests.unit.cli.conftest import MakeJob, MakeResult, MakeRun

LOG = Path("log.jsonl")


def write_log(path: Path, *records: dict[str, Any]) -> str:
    """Write a log and return its path."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def test_a_summary_is_a_table(
    make_job: MakeJob, make_run: MakeRun, make_result: MakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row for each job with its figures and its model or its error, the best one marked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.keras").touch()
    paths: dict[str, str | None] = {"model": str(tmp_path / "one.keras")}
    jobs = [
        make_job("config1", "completed", epoch=4, epochs=4, elapsed_s=12.0, ended="2026-01-01T12:00:20.000000+00:00"),
        make_job("config2", "completed", epoch=4, epochs=4, elapsed_s=9.0, ended="2026-01-01T12:00:30.000000+00:00"),
        make_job("config3", "failed", outcome="error(1)", error="ValueError: no", elapsed_s=1.0),
    ]
    results = [
        make_result(
            "config1",
            metrics={"test_accuracy": 0.96},
            history={"epochs": [1, 2, 3], "val_accuracy": [0.9, 0.97, 0.95]},
            paths=paths,
        ),
        make_result(
            "config2", metrics={"test_accuracy": 0.95}, history={"epochs": [1, 2], "val_accuracy": [None, 0.99]}
        ),
        make_result("config3", "failed"),
    ]
    lines = summary_lines(make_run(*jobs, state="failed"), results)
    assert lines[1:8] == [
        "job        state      epochs  best val acc  in epoch  test acc  time  model or error",
        "config1 *  completed     4/4        0.9700         2    0.9600   12s  one.keras",
        "config2    completed     4/4        0.9900         2    0.9500  9.0s",
        "config3    failed                                               1.0s  error(1): ValueError: no",
        "* best test accuracy",
        "",
        "run 20260101-120000-3fa9: 2 completed, 1 failed, in 30s",
    ]


def configured(make_job: MakeJob, folder: Path, name: str, params: str) -> JobStatus:
    """Return a completed job with a configuration in its folder."""
    (folder / name).mkdir()
    (folder / name / "config.yaml").write_text(
        f"params: {{{params}}}\nenv: {{TOKEN: hunter2{name}}}\n", encoding="utf-8"
    )
    return make_job(name, "completed", paths={"dir": str(folder / name)}, elapsed_s=3.0)


def test_what_differed_stands_beside_the_figures(
    make_job: MakeJob, make_run: MakeRun, make_result: MakeResult, tmp_path: Path
) -> None:
    """A column for each key that differs, nothing that is alike, and no secret."""
    jobs = [configured(make_job, tmp_path, name, f"lr: {lr}, units: 8") for name, lr in (("a", 0.1), ("b", 0.25))]
    results = [
        make_result(name, history={"epochs": [1], "val_accuracy": [lr]}) for name, lr in (("a", 0.1), ("b", 0.25))
    ]
    assert summary_lines(make_run(*jobs, state="completed"), results, 80)[1:5] == [
        "job  state      best val acc  in epoch  time  lr",
        "a    completed        0.1000         1  3.0s  0.1",
        "b *  completed        0.2500         1  3.0s  0.25",
        "* best val accuracy",
    ]


def test_what_differed_stands_below_where_it_has_no_room(
    make_job: MakeJob, make_run: MakeRun, make_result: MakeResult, tmp_path: Path
) -> None:
    """At 40 columns."""
    jobs = [configured(make_job, tmp_path, name, f"learning_rate: {lr}") for name, lr in (("a", 0.1), ("b", 0.25))]
    results = [make_result(name, history={"epochs": [1], "val_accuracy": [0.5]}) for name in "ab"]
    lines = summary_lines(make_run(*jobs, state="completed"), results, 40)
    start = lines.index("what differed  learning_rate")
    assert lines[start + 1 : start + 3] == ["a *            0.1", "b              0.25"]


@pytest.mark.parametrize("width", [40, 80])
def test_many_jobs_are_ranked(make_job: MakeJob, make_run: MakeRun, make_result: MakeResult, width: int) -> None:
    """On a terminal the best and the failed have a row, the others are counted."""
    names = [f"job-{place:03}" for place in range(200)]
    states = ["failed" if place == 150 else "completed" for place in range(200)]
    jobs = [make_job(name, state, error="no" * (state == "failed")) for name, state in zip(names, states, strict=True)]
    results = [
        make_result(name, state, history={"val_accuracy": [place / 200]})
        for place, (name, state) in enumerate(zip(names, states, strict=True))
    ]
    lines = summary_lines(make_run(*jobs, state="failed"), results, width)
    assert lines[2].startswith("job-199 *  completed")
    assert lines[3].startswith("job-198    completed")
    assert lines[MOST_ROWS + 1].startswith("job-150    failed")
    assert lines[MOST_ROWS + 2] == f"+{200 - MOST_ROWS} more: {200 - MOST_ROWS} completed"


def test_a_regression_is_compared_by_its_loss(make_result: MakeResult) -> None:
    """The lowest validation loss, and the epoch that had it."""
    results = [make_result(history={"epochs": [1, 2, 3], "val_loss": [0.5, 0.25, 0.75], "train_loss": [0.1, 0.1, 0.1]})]
    measure = measure_of(results)
    assert measure.metric == "val_loss"
    assert best_epoch(results[0], measure) == (0.25, 2)


def test_paths_are_never_cut(make_job: MakeJob, make_run: MakeRun, make_result: MakeResult, tmp_path: Path) -> None:
    """Where the table has no room for them, they stand below it, whole."""
    model = tmp_path / "best_model.keras"
    model.touch()
    lines = summary_lines(make_run(make_job(state="completed")), [make_result(paths={"model": str(model)})], 40)
    assert f"config1: {model}" in lines
    assert max(cell_width(line) for line in lines[: lines.index(f"config1: {model}")]) <= 40


def test_a_failed_job_shows_its_last_errors(
    make_job: MakeJob, make_run: MakeRun, make_result: MakeResult, tmp_path: Path, hostile: str
) -> None:
    """The last five lines of its standard error, sanitised, and nothing of its standard output."""
    errors = [{"type": "stderr", "message": f"{place}{hostile}"} for place in range(9)]
    log = write_log(tmp_path / LOG, *errors, {"type": "stdout", "message": "done"})
    job = make_job("config1", "failed", paths={"log": log})
    lines = summary_lines(make_run(job), [make_result("config1", "failed")])
    start = lines.index("config1 failed") + 1
    assert lines[start] == "  the last lines of its stderr:"
    assert lines[start + 1 : start + 6] == [f"    {safe(f'{place}{hostile}')}" for place in range(4, 9)]
    assert lines[start + 6] == f"    (its log: {log})"
    assert not any("done" in line for line in lines)


def test_the_end_of_a_large_log_is_enough(tmp_path: Path) -> None:
    """Only the tail is read; a line that it begins within is no line."""
    records = [{"type": "stderr", "message": "x" * 1000}] * 200
    log = write_log(tmp_path / LOG, *records, {"type": "stderr", "message": "the end"})
    assert last_errors(log, 1) == ["the end"]


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    """A job that was never started has no log."""
    assert last_errors(str(tmp_path / LOG)) == []
    assert last_errors(None) == []


def test_many_failures_are_counted(
    make_job: MakeJob, make_run: MakeRun, make_result: MakeResult, tmp_path: Path
) -> None:
    """Five show their last lines, the rest is a number."""
    log = write_log(tmp_path / LOG, {"type": "stderr", "message": "no"})
    names = [f"job-{place}" for place in range(8)]
    run = make_run(*(make_job(name, "failed", paths={"log": log}) for name in names))
    lines = summary_lines(run, [make_result(name, "failed") for name in names])
    assert lines.count("    no") == 5
    assert "+3 more failed" in lines


def test_those_that_failed_without_a_word_are_counted(
    make_job: MakeJob, make_run: MakeRun, make_result: MakeResult, tmp_path: Path
) -> None:
    """Six failed and one of them says why: five more, not one."""
    log = write_log(tmp_path / LOG, {"type": "stderr", "message": "no"})
    silent = [make_job(f"job-{place}", "failed") for place in range(5)]
    jobs = [*silent, make_job("job-5", "failed", paths={"log": log})]
    lines = summary_lines(make_run(*jobs), [make_result(job.name, "failed") for job in jobs])
    assert "job-5 failed" in lines
    assert "+5 more failed" in lines


def test_one_job_alone_is_not_the_best(make_result: MakeResult) -> None:
    """Best is a comparison."""
    assert best_job([make_result(metrics={"test_accuracy": 0.9})]) is None


def test_without_a_test_the_validation_decides(make_result: MakeResult) -> None:
    """A failed job is not compared."""
    results = [
        make_result("a", history={"val_accuracy": [0.8]}),
        make_result("b", history={"val_accuracy": [0.9, 0.7]}),
        make_result("c", "failed", history={"val_accuracy": [0.99]}),
    ]
    measure = measure_of(results)
    values = {result.name: found[0] for result in results if (found := best_epoch(result, measure))}
    assert best_job(results, values) == ("b", "val accuracy")


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["completed", "completed"], 0),
        (["completed", "failed"], 1),
        (["stopped", "failed"], 1),
        (["completed", "stopped"], 3),
        (["completed", "running"], 1),
    ],
)
def test_the_exit_code_says_how_it_ended(states: list[str], code: int) -> None:
    """0 all succeeded, 1 a job failed (also beside stopped ones) or was left, 3 stopped."""
    assert exit_code(states) == code
