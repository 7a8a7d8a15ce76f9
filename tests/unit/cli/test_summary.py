"""What a finished run says at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from parallel_ml.adapters.cli.cells import best_job
from parallel_ml.adapters.cli.drive import exit_code
from parallel_ml.adapters.cli.summary import best_val_accuracy, last_errors, summary_lines
from parallel_ml.adapters.cli.text import cell_width, safe

if TYPE_CHECKING:
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
            "config1", metrics={"test_accuracy": 0.96}, history={"val_accuracy": [0.9, 0.97, 0.95]}, paths=paths
        ),
        make_result("config2", metrics={"test_accuracy": 0.95}, history={"val_accuracy": [None, 0.99]}),
        make_result("config3", "failed"),
    ]
    lines = summary_lines(make_run(*jobs, state="failed"), results)
    assert lines[1:8] == [
        "job        state      epochs  best val acc  test acc  time  model or error",
        "config1 *  completed     4/4          0.97      0.96   12s  one.keras",
        "config2    completed     4/4          0.99      0.95  9.0s",
        "config3    failed                                     1.0s  error(1): ValueError: no",
        "* best test accuracy",
        "",
        "run 20260101-120000-3fa9: 2 completed, 1 failed, in 30s",
    ]


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
    start = lines.index("config1 failed; the last lines of its stderr:")
    assert lines[start + 1 : start + 6] == [f"    {safe(f'{place}{hostile}')}" for place in range(4, 9)]
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
    assert "job-5 failed; the last lines of its stderr:" in lines
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
    assert best_job(results, {result.name: best_val_accuracy(result) for result in results}) == ("b", "val accuracy")


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
