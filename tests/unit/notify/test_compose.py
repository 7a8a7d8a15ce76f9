# ruff: noqa: RUF001 - Chinese punctuation is meant
"""What each kind of message says, in both languages; links, templates and secrets in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.core.alert_functions import MACROS
from parallel_ml.core.outcome import FailureClass
from parallel_ml.core.status import JobResult, JobStatus, RunStatus
from parallel_ml.notify.best import NewBest
from parallel_ml.notify.compose import Composer
from parallel_ml.notify.message import Excerpt, Facts, Kind, Level, Links, Message, Table, Text
from parallel_ml.notify.render import plain
from parallel_ml.notify.scrub import Scrubber
from parallel_ml.notify.templates import PLACEHOLDERS, problem_of
from parallel_ml.notify.words import cause_of, step_of, summary_of

JOB = JobStatus(
    0,
    "resnet",
    "running",
    attempt=1,
    epoch=3,
    epochs=4,
    metrics={"train_loss": 0.25, "val_accuracy": 0.93216, "learning_rate": 0.001},
    allocation={"gpu_index": 0, "memory_limit": 8192},
    batch_size=16,
    accumulation=2,
    seed=7,
    paths={"dir": "/r/jobs/resnet", "model": "/r/best.keras", "log": None},
    elapsed_s=75.0,
    resources={"memory_peak_mb": 2048.0},
)
HISTORY: dict[str, list[Any]] = {
    "epochs": [1, 2, 3],
    "val_accuracy": [0.9, 0.95, 0.93],
    "time_per_epoch": [20.0, 22.0, None],
}
FAILURE = {
    "class": "out_of_memory",
    "words": "out of GPU memory",
    "evidence": "CUDA out of memory",
    "advice": "lower batch_size",
    "suspected": False,
}
OUTPUT = [
    "Traceback (most recent call last):",
    '  File "/data/lab/train.py", line 12, in main',
    '  File "/x/site-packages/torch/a.py", line 99, in forward',
    "RuntimeError: CUDA out of memory",
]


@pytest.fixture
def composer() -> Composer:
    """Return one that writes English at a fixed time."""
    return Composer("run1", clock=lambda: 1000.0)


@pytest.fixture
def chinese() -> Composer:
    """Return one that writes Chinese."""
    return Composer("run1", language="zh", clock=lambda: 1000.0)


def facts_of(message: Message) -> dict[str, str]:
    """Return all labels and values."""
    return {label: value for block in message.blocks if isinstance(block, Facts) for label, value in block.rows}


def result_of(job: JobStatus, **changes: Any) -> JobResult:
    """Return a job's result."""
    made = JobResult(job.name, job.state, job.outcome, dict(job.metrics), HISTORY, job.paths, job.error)
    return replace(made, **changes)


def test_a_start_says_on_what(composer: Composer) -> None:
    """Device, batch with its accumulation, epochs, seed."""
    message = composer.started(JOB)
    assert (message.kind, message.level, message.title) == (Kind.STARTED, Level.INFO, "resnet: training started")
    told = facts_of(message)
    assert (told["device"], told["batch size"], told["epochs"], told["seed"]) == ("GPU 0 8GiB", "16 x 2 = 32", "4", "7")


def test_an_end_has_the_figures(composer: Composer) -> None:
    """Time, seconds an epoch, best epoch, metrics, paths."""
    message = composer.finished(replace(JOB, state="completed"), result_of(JOB, metrics={"test_accuracy": 0.9}))
    told = facts_of(message)
    assert (told["time"], told["time an epoch"], told["best epoch"]) == ("1m15s", "21s", "2")
    assert (told["best val_accuracy"], told["test_accuracy"], told["val_accuracy"]) == ("0.95", "0.9", "0.9322")
    assert (told["model"], told["memory, most"]) == ("/r/best.keras", "2GiB")
    assert "learning_rate" not in told


def test_a_figure_that_is_not_finite_is_told(composer: Composer) -> None:
    """It is what one must know."""
    job = replace(JOB, metrics={"train_loss": None, "nonfinite": {"train_loss": "nan"}})
    assert facts_of(composer.finished(job))["train_loss"] == "nan"


def test_a_failure_says_why_where_and_what_to_try(composer: Composer) -> None:
    """In plain words, with the line of the user's own code and the last lines."""
    message = composer.failed(replace(JOB, state="failed", failure=FAILURE), OUTPUT)
    told = facts_of(message)
    assert message.level is Level.CRITICAL
    assert message.title == "resnet: training failed (out of GPU memory)"
    assert (told["cause"], told["error"], told["what to try"]) == (
        "out of GPU memory",
        "CUDA out of memory",
        "lower batch_size",
    )
    assert told["place"] == "/data/lab/train.py:12 in main"
    assert message.blocks[-1] == Excerpt("last lines of its output", tuple(OUTPUT))


def test_a_failure_reads_the_last_lines_of_the_log(composer: Composer, tmp_path: Path) -> None:
    """Fifteen of what stands on standard error, those before a rotation included."""
    lines = [{"type": "stderr", "message": f"error {n}"} for n in range(20)] + [{"type": "stdout", "message": "out"}]
    (tmp_path / "log.1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:10]), encoding="utf-8")
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[10:]), encoding="utf-8")
    job = replace(JOB, state="failed", paths={"log": str(tmp_path / "log.jsonl")}, error="it broke")
    excerpt = composer.failed(job).blocks[-1]
    assert isinstance(excerpt, Excerpt)
    assert excerpt.lines == tuple(f"error {n}" for n in range(5, 20))


def test_a_secret_in_a_log_leaves_in_no_part(tmp_path: Path) -> None:
    """Neither in the lines nor in the error, the title, the facts or the data."""
    composer = Composer("run1", scrubber=Scrubber(["hunter22"]))
    job = replace(JOB, name="hunter22", error="password hunter22", failure={**FAILURE, "evidence": "got hunter22"})
    message = composer.failed(job, ["login hunter22", "x"])
    assert "hunter22" not in plain(message)
    assert "hunter22" not in str(message.data) + str(message.blocks) + message.title


def test_a_new_best_says_what_was_before(composer: Composer) -> None:
    """And in which epoch it came."""
    message = composer.new_best(JOB, NewBest("val_accuracy", 0.95, 3, 0.9))
    assert message.title == "resnet: new best val_accuracy 0.95"
    assert facts_of(message) == {"epoch": "3/4", "before": "0.9"}


@pytest.mark.parametrize(
    ("state", "title"), [("stopped", "resnet: training stopped"), ("paused", "resnet: training paused")]
)
def test_an_interruption_says_which(composer: Composer, state: str, title: str) -> None:
    """And how far it came."""
    message = composer.interrupted(replace(JOB, state=state))
    assert (message.title, message.level, facts_of(message)["epoch"]) == (title, Level.WARNING, "3/4")


def test_out_of_memory_says_what_was_done(composer: Composer, chinese: Composer) -> None:
    """Chinese too, though the ladder speaks English."""
    text = "batch 16 x 1 becomes 8 x 2: as many samples an update (16)"
    assert facts_of(composer.out_of_memory(JOB, text, 1))["what was done"] == text
    assert (
        facts_of(chinese.out_of_memory(JOB, text, 1))["处理方式"]
        == "批大小由 16 x 1 改为 8 x 2，每次更新的样本数不变（16）"
    )


def test_an_alert_fires_and_is_over(composer: Composer) -> None:
    """The end is an information, with a message of its own."""
    fires = composer.alert("hang", "no epoch for 10m", job="resnet", level=Level.CRITICAL, value="612")
    over = composer.alert("hang", "", job="resnet", level=Level.CRITICAL, resolved=True)
    assert (fires.kind, fires.level, fires.title) == (Kind.ALERT, Level.CRITICAL, "resnet: alert hang")
    assert Text("no epoch for 10m") in fires.blocks
    assert (over.kind, over.level) == (Kind.ALERT_RESOLVED, Level.INFO)
    assert fires.id != over.id


def run_of(*jobs: JobStatus) -> RunStatus:
    """Return a run."""
    return RunStatus("run1", "", "/r", "completed", None, "gone", jobs)


def test_a_run_is_one_table_with_the_winner_marked(composer: Composer) -> None:
    """By test accuracy where two have one; columns without a value are left out."""
    jobs = [replace(JOB, name=name, state="completed") for name in ("a", "b")]
    results = [result_of(job, metrics={"test_accuracy": score}) for job, score in zip(jobs, (0.8, 0.9), strict=True)]
    message = composer.run_done(run_of(*jobs), results)
    table = message.blocks[0]
    assert isinstance(table, Table)
    assert (message.title, message.level) == ("run run1: all 2 jobs succeeded", Level.INFO)
    assert table.header == ("job", "state", "epochs", "best val acc", "test acc", "time")
    assert (table.marked, table.rows[1]) == (1, ("b", "completed", "3/4", "0.95", "0.9", "1m15s"))
    assert facts_of(message)["best job"] == "b (test accuracy 0.9)"


def test_a_run_with_a_failure_warns(composer: Composer) -> None:
    """It counts, and says why; one job alone has nobody to beat."""
    jobs = [replace(JOB, name="a", state="completed"), replace(JOB, name="b", state="failed", error="ValueError: no")]
    message = composer.run_done(run_of(*jobs), [result_of(job) for job in jobs])
    table = message.blocks[0]
    assert isinstance(table, Table)
    assert (message.title, message.level) == ("run run1: 1 completed, 1 failed", Level.WARNING)
    assert (table.marked, table.rows[1][-1]) == (None, "ValueError: no")


def test_the_same_fact_is_the_same_message(composer: Composer) -> None:
    """A supervisor that takes a run over tells it under the same id; another attempt is another message."""
    failed = replace(JOB, state="failed")
    assert composer.failed(failed, []).id == composer.failed(failed, ["x"]).id
    assert composer.failed(replace(failed, attempt=2), []).id != composer.failed(failed, []).id


def test_links_are_filled_and_escaped() -> None:
    """One that needs a job is left out of a message about none."""
    composer = Composer("run 1", links=[("tensorboard", "https://tb/{run}/{job}"), ("own", "https://x/{run}")])
    links = composer.started(replace(JOB, name="a/b")).blocks[-1]
    assert links == Links((("TensorBoard", "https://tb/run%201/a%2Fb"), ("own", "https://x/run%201")))
    assert composer.test().blocks[-1] == Links((("own", "https://x/run%201"),))


def test_a_template_takes_the_words_place(composer: Composer) -> None:
    """Its first line is the title; where it has more, they are all that is said; braces in values stay."""
    texts = {Kind.FAILED: "{job} broke\n{error} at {place}{alert}", Kind.STARTED: "go {job}"}
    own = Composer("run1", templates=texts)
    message = own.failed(replace(JOB, name="{run.__class__}", error="{x}"), OUTPUT)
    assert message.title == "{run.__class__} broke"
    assert message.blocks == (Text("{x} at /data/lab/train.py:12 in main"),)
    assert own.started(JOB).title == "go resnet"
    assert own.started(JOB).blocks == composer.started(JOB).blocks


@pytest.mark.parametrize(
    "template",
    ["", "{nothing}", "{}", "{0}", "{job.name}", "{job[0]}", "{job!r}", "{job:>9}", "{", "}", "{job", "{{job}"],
)
def test_a_template_that_is_wrong_is_told(template: str) -> None:
    """No attribute, no index, no format, no name that is not known."""
    assert problem_of(template) is not None


def test_every_placeholder_may_stand_in_a_template() -> None:
    """Each of them is filled by some kind of message, or empty."""
    assert all(problem_of(f"{{{name}}} {{{{x}}}}") is None for name in PLACEHOLDERS)


def test_chinese_says_all_in_chinese(chinese: Composer) -> None:
    """Labels, causes and states; figures and units are the same."""
    message = chinese.failed(replace(JOB, state="failed", failure=FAILURE), OUTPUT)
    assert message.title == "resnet 训练失败（显存不足）"
    assert facts_of(message)["原因"] == "显存不足"
    assert message.data["language"] == "zh"
    done = facts_of(chinese.finished(JOB, result_of(JOB)))
    assert (done["用时"], done["每轮用时"], done["最佳轮次"]) == ("1m15s", "21s", "2")


def test_every_cause_has_chinese_words() -> None:
    """A new class of failures needs them too."""
    for kind in FailureClass:
        words, advice = cause_of({"class": kind.value, "words": kind.words, "advice": "x"}, "zh")
        assert not words.isascii()
        assert not advice.isascii()


def test_a_cause_that_is_only_likely_says_so() -> None:
    """In both languages."""
    suspected = {**FAILURE, "suspected": True}
    assert cause_of(suspected, "en")[0] == "probably out of GPU memory"
    assert cause_of(suspected, "zh")[0] == "可能是显存不足"


@pytest.mark.parametrize(
    "text",
    [
        "batch 25 x 1 becomes 5 x 5: as many samples an update (25)",
        "validation and test take 8 samples at a time instead of 16; the training is as before",
        "a grant of 8GiB instead of 4GiB",
        "the CPU, with the batch that was asked for",
    ],
)
def test_every_step_of_the_ladder_has_chinese_words(text: str) -> None:
    """These are the sentences of `core.ladder`."""
    assert not step_of(text, "zh").isascii()
    assert step_of(text, "en") == text


def test_every_summary_of_a_built_in_alert_has_chinese_words() -> None:
    """A new one needs them too; so does the warning about a metric that no epoch tells."""
    for macro in MACROS.values():
        assert not summary_of(macro.summary, "zh").isascii()
    warning = "no epoch has told val_los, so that it cannot fire; seen so far: loss, val_loss; did you mean val_loss?"
    told = summary_of(warning, "zh")
    assert told == "没有任何一轮给出 val_los，该规则无法触发；目前已有：loss, val_loss；是否想写 val_loss？"
    assert summary_of(warning, "en") == warning


def test_the_table_of_a_run_is_chinese_in_chinese(chinese: Composer) -> None:
    """Its columns and its winner."""
    jobs = [replace(JOB, name=name, state="completed") for name in ("a", "b")]
    results = [result_of(job, metrics={"test_accuracy": 0.9}) for job in jobs]
    message = chinese.run_done(run_of(*jobs), results)
    assert {"最佳 验证准确率", "测试准确率"} <= set(message.blocks[0].header)  # type: ignore[union-attr]
    assert message.data["winner"] == "a (测试准确率 0.9)"
