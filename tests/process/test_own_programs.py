"""Own programs in real runs: what they are given, what they tell, and what is read from their output."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.runtime.client import RunClient
from parallel_ml.runtime.prepare import LONGEST_PARAMS
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import RunView
from tests.process.conftest import until

pytestmark = pytest.mark.process
Write = Callable[..., Path]
Make = Callable[..., ParallelMLExecutor]

TELL_PARAMS = """
import json, sys, yaml
from parallel_ml import params
assert yaml.safe_load(open(sys.argv[1]))["params"] == params
print(json.dumps(params))
"""
PRINT_EPOCHS = """
import sys
for epoch in (1, 2):
    print(f"Epoch {epoch}/2 - loss: {1 / epoch} - val_accuracy: {epoch / 4}")
sys.stdout.write("done, without a newline")
"""
POLL = """
import os, time
from parallel_ml import checkpoint_dir, should_stop
child = os.fork() if "fork" in os.environ.get("HOW", "") else 1
while not should_stop():
    if child:
        print("polling", flush=True)
        child = 2
    time.sleep(0.01)
(checkpoint_dir() / "left").write_text("politely")
"""


def python(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a program."""
    return [sys.executable, "-c", program, *arguments]


def layout_of(run: ParallelMLExecutor) -> RunLayout:
    """Return the files of an executor's run."""
    return RunLayout(Path(run.get_status().dir))


def printed(layout: RunLayout, job: str, kind: str = "stdout") -> list[str]:
    """Return the lines of one kind in a job's log."""
    path = layout.job(job).log
    records = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [record["message"] for record in records if record["type"] == kind]


def metrics(layout: RunLayout, job: str) -> list[dict[str, Any]]:
    """Return a job's epochs without what is not known of them."""
    lines = map(json.loads, layout.job(job).metrics.read_text().splitlines())
    return [{key: value for key, value in line.items() if value is not None} for line in lines]


@pytest.mark.parametrize(
    "params",
    [
        {"epochs": 3, "rate": 1e-3, "name": "été", "widths": [64, 32], "deep": {"on": True, "off": None}, "v": "1.10"},
        {"long": "x" * (LONGEST_PARAMS + 200_000)},
        {},
    ],
    ids=["every kind", "too long for a variable", "none"],
)
def test_params_reach_a_program_as_they_are_written(write: Write, executor: Make, params: dict[str, Any]) -> None:
    """By `from parallel_ml import params`, and in its own configuration."""
    run = executor(write("a", python(TELL_PARAMS, "{config}"), params=params))
    (result,) = run.run_parallel()
    assert result.state == "completed", result.error
    assert [json.loads(line) for line in printed(layout_of(run), "a")] == [params]


def test_params_are_empty_outside_a_job() -> None:
    """A script can be tried by hand."""
    from parallel_ml.training.parameters import read_params  # noqa: PLC0415 - it reads when it is imported

    assert read_params({}) == {}


def test_epochs_are_read_from_the_output_of_a_program_that_reports_none(write: Write, executor: Make) -> None:
    """They are marked so in metrics.jsonl, become its result and its history, and its log says so once."""
    run = executor(write("a", python(PRINT_EPOCHS)))
    (result,) = run.run_parallel()
    layout = layout_of(run)
    for line in (lines := metrics(layout, "a")):
        line.pop("time_per_epoch", None)
    first = {"epoch": 1, "epochs": 2, "train_loss": 1.0, "val_accuracy": 0.25, "source": "output"}
    assert lines == [first, {**first, "epoch": 2, "train_loss": 0.5, "val_accuracy": 0.5}]
    assert (result.metrics["val_accuracy"], result.history["val_accuracy"]) == (0.5, [0.25, 0.5])
    assert "source" not in result.history
    assert sum("read from its output" in line for line in printed(layout, "a", "system")) == 1


def test_a_switch_leaves_the_output_alone(write: Write, executor: Make) -> None:
    """`metrics_from_output: false`."""
    run = executor(write("a", python(PRINT_EPOCHS), metrics_from_output=False))
    run.run_parallel()
    assert metrics(layout_of(run), "a") == []


def test_a_report_counts_more_than_what_is_printed(write: Write, executor: Make) -> None:
    """Also where the same program prints its epochs, before and after."""
    program = "from parallel_ml import report\n" + PRINT_EPOCHS + "\nreport(epoch=1, loss=0.125)\n" + PRINT_EPOCHS
    run = executor(write("a", python(program)))
    run.run_parallel()
    (line,) = metrics(layout_of(run), "a")
    assert (line["epoch"], line["train_loss"], "source" in line) == (1, 0.125, False)


@pytest.mark.parametrize("how", ["alone", "with a forked worker"])
def test_a_program_that_polls_should_stop_leaves_by_itself(write: Write, executor: Make, how: str) -> None:
    """The SIGTERM that comes with the order does not end it before it has saved."""
    run = executor(write("a", python(POLL), env={"HOW": "fork" if "fork" in how else ""}))
    run.prepare()
    thread = threading.Thread(target=run.run_parallel)
    thread.start()
    layout = layout_of(run)
    until(lambda: "polling" in printed(layout, "a"), "a program that polls")
    RunClient(layout.dir).stop("a")
    thread.join()
    assert (layout.job("a").checkpoints / "left").read_text() == "politely"
    assert run.get_status().jobs[0].state == "stopped"


def test_a_sigterm_that_nobody_ordered_ends_a_program_that_polls(write: Write, executor: Make) -> None:
    """It has not completed, whatever it would do on an order; nor is it the program's fault: it is tried again."""
    run = executor(write("a", python(POLL)))
    run.prepare()
    thread = threading.Thread(target=run.run_parallel)
    thread.start()
    layout = layout_of(run)
    until(lambda: "polling" in printed(layout, "a"), "a program that polls")
    pid = run.get_status().jobs[0].pid
    assert pid
    os.kill(pid, signal.SIGTERM)
    until(lambda: run.get_status().jobs[0].attempt == 2, "a second attempt")
    RunClient(layout.dir).stop(at_once=True)
    thread.join()
    first = RunView(layout).state.jobs["a"].attempts[0]
    assert (str(first.outcome), first.error) == ("signal(15)", "it was ended by signal 15 (SIGTERM)")
    assert not (layout.job("a").checkpoints / "left").exists()


def test_threads_are_the_share_of_the_cores_unless_the_configuration_says_otherwise(
    write: Write, executor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the shell happens to say of them is overruled: two jobs at once would fight for the cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "99")
    tell = ["sh", "-c", "echo $OMP_NUM_THREADS $MKL_NUM_THREADS"]
    run = executor(
        write("share", tell, resources={"cpus": 1}),
        write("own", tell, resources={"cpus": 1}, env={"OMP_NUM_THREADS": "7"}),
    )
    run.run_parallel()
    assert printed(layout_of(run), "share") == ["1 1"]
    assert printed(layout_of(run), "own") == ["7 1"]
