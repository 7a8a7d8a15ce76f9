"""What a report knows of runs: the order of their jobs, the winner, what happened."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parallel_ml.core.model import JobState
from parallel_ml.errors import StoreError
from parallel_ml.report.charts.style import COLOURS
from parallel_ml.store.layout import RunLayout
from tests.unit.report.conftest import BEGAN, Made, epochs, report_of

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun

FIRED = {"expr": "nonfinite()", "status": "firing", "episode": 2, "true_at": BEGAN, "true_epoch": 3}


def test_the_best_job_stands_first(make_run: MakeRun) -> None:
    """By the validation accuracy of their best epochs; those that failed or told nothing come last."""
    layout = make_run(
        Made("bad", JobState.FAILED, error="ValueError: no"),
        Made("low", points=epochs(0.5, 0.8)),
        Made("high", points=epochs(0.9, 0.7)),
    )
    report = report_of(layout)
    assert [job.label for job in report.jobs] == ["high", "low", "bad"]
    assert report.winner == ("high", "val accuracy")
    assert [job.best for job in report.jobs] == [(0.9, 1), (0.8, 2), None]


def test_a_test_accuracy_decides_where_two_jobs_have_one(make_run: MakeRun) -> None:
    """As it does in the terminal's summary."""
    layout = make_run(
        Made("one", points=epochs(0.9), result={"test_accuracy": 0.5}),
        Made("two", points=epochs(0.6), result={"test_accuracy": 0.7}),
    )
    report = report_of(layout)
    assert report.winner == ("two", "test accuracy")
    assert report.jobs[0].label == "two"


def test_a_loss_is_the_better_the_less_it_is(make_run: MakeRun) -> None:
    """The order and the winner agree."""
    layout = make_run(
        Made("much", points=epochs(2.0, metric="val_loss")), Made("less", points=epochs(1.0, metric="val_loss"))
    )
    report = report_of(layout)
    assert report.winner == ("less", "val loss")
    assert [job.label for job in report.jobs] == ["less", "much"]


def test_only_keys_that_differ_are_compared(make_run: MakeRun) -> None:
    """By the configurations that the run keeps."""
    layout = make_run(
        Made("one", config="model_training: {learning_rate: 0.1, epochs: 3}\n"),
        Made("two", config="model_training: {learning_rate: 0.2, epochs: 3}\n"),
    )
    assert report_of(layout).differing == [("learning_rate", ["0.1", "0.2"])]


def test_why_a_job_was_tried_again_is_known(make_run: MakeRun) -> None:
    """Its attempts with their causes, and the story of it; of a job that just ran there is none."""
    layout = make_run(Made("again", failed_before=1, error="loss: nan"), Made("plain"))
    again, plain = sorted(report_of(layout).jobs, key=lambda job: job.label)
    assert [str(one.outcome) for one in again.attempts] == ["error(1)", "success"]
    assert any("will be tried again: loss: nan" in text for _, text in again.story)
    assert not plain.story


def test_alerts_that_fired_are_read(make_run: MakeRun) -> None:
    """And those that never did are not."""
    layout = make_run(Made(alerts={"nan": FIRED, "hang": {**FIRED, "episode": 0}}))
    (alert,) = report_of(layout).jobs[0].alerts
    assert (alert.rule, alert.status, alert.times, alert.last_epoch) == ("nan", "firing", 2, 3)


@pytest.mark.parametrize("text", ["[]", "{}", '{"state": 3}', '{"state": {"rules": {"a": []}}}', "not json"])
def test_what_is_damaged_is_left_out(make_run: MakeRun, text: str) -> None:
    """A file of alerts or a result that makes no sense does not keep the report from being written."""
    layout = make_run(Made(points=epochs(0.5)))
    layout.job("config1").alerts.write_text(text, encoding="utf-8")
    layout.job("config1").result.write_text(text, encoding="utf-8")
    assert not report_of(layout).jobs[0].alerts


def test_the_checkpoint_is_the_newest_state_where_no_model_is(make_run: MakeRun) -> None:
    """As of a job that was stopped."""
    layout = make_run(Made(state=JobState.STOPPED))
    folder = layout.job("config1").checkpoints
    folder.mkdir(exist_ok=True)
    for number in (1, 2):
        (folder / f"state-00000{number}.npz").touch()
    assert report_of(layout).jobs[0].checkpoint == str(folder / "state-000002.npz")


def test_twenty_jobs_have_a_colour(make_run: MakeRun) -> None:
    """The best ones."""
    layout = make_run(*(Made(f"job{number:02d}", points=epochs(number / 100)) for number in range(COLOURS + 5)))
    report = report_of(layout)
    assert len(report.drawn) == COLOURS
    assert report.drawn[0] == "job24"


def test_several_runs_are_ranked_together(make_run: MakeRun) -> None:
    """Each with its own winner; jobs are named by their runs, by ids where two runs have one name."""
    first = make_run(Made("a", points=epochs(0.5)), Made("b", points=epochs(0.6)), name="one")
    second = make_run(Made("a", points=epochs(0.7)), name="one")
    report = report_of(first, second)
    assert report.several
    assert [job.label for job in report.jobs] == [f"{second.dir.name}/a", "one/b", f"{first.dir.name}/a"]
    assert [run.winner for run in report.runs] == ["one/b", f"{second.dir.name}/a"]


def test_a_run_that_cannot_be_read_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    """Beside others; alone it is an error."""
    layout, gone = make_run(Made()), RunLayout(tmp_path / "gone")
    report = report_of(layout, gone)
    assert len(report.runs) == 1
    assert "gone" in report.left_out[0]
    with pytest.raises(StoreError):
        report_of(gone)


def test_a_run_that_goes_on_is_reported_as_it_stands(make_run: MakeRun) -> None:
    """It has no end and took no time yet."""
    layout = make_run(Made(state=JobState.RUNNING, points=epochs(0.5)))
    report = report_of(layout)
    assert report.runs[0].took_s is None
    assert report.jobs[0].best == (0.5, 1)


def test_jobs_whose_files_are_gone_are_still_listed(make_run: MakeRun) -> None:
    """What was cleaned away leaves a row without figures."""
    layout = make_run(Made("one", points=epochs(0.5)), Made("two"))
    shutil.rmtree(layout.job("one").dir)
    assert [job.label for job in report_of(layout).jobs] == ["one", "two"]
