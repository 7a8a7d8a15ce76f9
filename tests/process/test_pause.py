"""Pausing, resuming and retrying real processes: by leaving, by being held, with and without a supervisor."""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.adapters.cli.main import main
from parallel_ml.monitor.process_monitor import MonitorEvent
from parallel_ml.runtime.client import RunClient
from parallel_ml.store.files import read_json
from parallel_ml.store.layout import RunLayout
from tests.process.conftest import survivors, until
from tests.process.test_runtime import in_background, is_running, layout_of, messages

pytestmark = pytest.mark.process
Write = Callable[..., Path]
Make = Callable[..., ParallelMLExecutor]
PYTHON = sys.executable

COUNTS = """
import sys, time, pathlib
from parallel_ml import checkpoint_dir, report, should_stop
state = pathlib.Path(checkpoint_dir()) / "step"
step = int(state.read_text()) if state.exists() else 0
while step < int(sys.argv[1]):
    step += 1
    print("step", step, flush=True)
    report(epoch=step, loss=1 / step)
    if should_stop():
        state.write_text(str(step))
        sys.exit(0)
    time.sleep(0.01)
"""
CATCHES = """
import pathlib, signal, sys, time
from parallel_ml import checkpoint_dir
state = pathlib.Path(checkpoint_dir()) / "saved"
if state.exists():
    print("goes on", flush=True)
    sys.exit(0)
def save(number, frame):
    state.write_text("x")
    print("saved on", signal.Signals(number).name, flush=True)
    sys.exit(3)
signal.signal(signal.{signal}, save)
print("up", flush=True)
time.sleep(99)
"""
TICKS = "import time, itertools\nfor n in itertools.count():\n  print(n, flush=True); time.sleep(0.01)"


def state_of(run: ParallelMLExecutor, job: str) -> str:
    """Return the word for a job's state."""
    return {one.name: one.state for one in run.get_status().jobs}[job]


def process_state(layout: RunLayout, job: str) -> str:
    """Return the letter that the kernel has for a job's process (T is stopped), or "" where it is gone."""
    pid = read_json(layout.job(job).attempt(1).shim)["process"]["pid"]
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def ticked_since(layout: RunLayout, seen: int) -> Callable[[], bool]:
    """Return a condition: the job has printed more lines than that."""
    return lambda: layout.job("a").log.exists() and len(messages(layout, "a")) > seen


def test_a_program_that_asks_saves_leaves_and_goes_on_where_it_was(write: Write, executor: Make) -> None:
    """Each step is done once, over two attempts."""
    run = executor(write("a", [PYTHON, "-c", COUNTS, "120"]))
    thread = in_background(run)
    layout = layout_of(run)
    until(lambda: layout.job("a").log.exists() and "step 9" in messages(layout, "a"), "some steps")
    RunClient(layout.dir).pause("a")
    until(lambda: state_of(run, "a") == "paused", "the pause")
    assert survivors(layout) == []
    (job,) = run.get_status().jobs
    assert (job.held, job.outcome) == (False, "released")
    RunClient(layout.dir).resume()
    thread.join()
    (result,) = run.results()
    assert (result.state, run.get_status().jobs[0].attempt) == ("completed", 2)
    assert messages(layout, "a") == [f"step {number}" for number in range(1, 121)]
    assert result.history["epochs"] == list(range(1, 121))


@pytest.mark.parametrize("signal", ["SIGUSR1", "SIGUSR2"])
def test_a_program_that_catches_the_signal_gets_it(write: Write, executor: Make, signal: str) -> None:
    """SIGUSR1, or the one that the configuration names; and whatever it exits with, it was asked to."""
    more = {} if signal == "SIGUSR1" else {"pause_signal": signal}
    run = executor(write("a", [PYTHON, "-c", CATCHES.replace("{signal}", signal)], **more))
    thread = in_background(run)
    layout = layout_of(run)
    until(lambda: layout.job("a").log.exists() and messages(layout, "a") == ["up"], "the program")
    RunClient(layout.dir).pause()
    until(lambda: state_of(run, "a") == "paused", "the pause")
    RunClient(layout.dir).resume("a")
    thread.join()
    assert messages(layout, "a") == ["up", f"saved on {signal}", "goes on"]
    assert state_of(run, "a") == "completed"


def test_a_program_that_can_do_neither_is_held_in_memory(write: Write, executor: Make) -> None:
    """A signal that it does not catch would kill it. Held twice, it has lost nothing."""
    run = executor(write("a", [PYTHON, "-c", TICKS]))
    thread = in_background(run)
    layout = layout_of(run)
    client = RunClient(layout.dir)
    for _ in range(2):
        until(ticked_since(layout, len(messages(layout, "a")) if layout.job("a").log.exists() else 0), "a tick")
        client.pause("a")
        until(lambda: state_of(run, "a") == "paused", "the pause")
        assert run.get_status().jobs[0].held
        assert process_state(layout, "a") == "T"
        client.resume("a")
        until(is_running(run, "a"), "the job again")
    client.stop()
    thread.join()
    ticks = list(map(int, messages(layout, "a")))
    assert ticks == list(range(len(ticks)))
    assert run.get_status().jobs[0].attempt == 1


def test_a_frozen_job_keeps_its_place_and_can_be_stopped(write: Write, executor: Make) -> None:
    """`--freeze` holds it though it could save; a stop reaches it all the same."""
    run = executor(write("a", [PYTHON, "-c", COUNTS, "100000"]), write("b", "true"), max_parallel=1)
    thread = in_background(run)
    layout = layout_of(run)
    until(lambda: layout.job("a").log.exists() and messages(layout, "a"), "a step")
    RunClient(layout.dir).pause("a", freeze=True)
    until(lambda: process_state(layout, "a") == "T", "the held process")
    assert state_of(run, "b") == "pending"
    RunClient(layout.dir).stop("a")
    thread.join()
    assert (state_of(run, "a"), state_of(run, "b")) == ("stopped", "completed")


def test_a_paused_job_makes_room_for_the_next(write: Write, executor: Make) -> None:
    """What it held is free."""
    run = executor(write("a", [PYTHON, "-c", COUNTS, "100000"]), write("b", "true"), max_parallel=1)
    thread = in_background(run)
    layout = layout_of(run)
    until(lambda: layout.job("a").log.exists() and messages(layout, "a"), "a step")
    RunClient(layout.dir).pause("a")
    until(lambda: state_of(run, "b") == "completed", "the other job")
    assert state_of(run, "a") == "paused"
    RunClient(layout.dir).stop("a")
    thread.join()
    assert state_of(run, "a") == "stopped"


def test_pause_and_resume_work_without_a_supervisor(
    write: Write, executor: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pause` drives the loop itself until the job is paused; `resume` takes the run over, to its end."""
    run = executor(write("a", [PYTHON, "-c", COUNTS, "150"]))
    drive_until_it_reports(run)
    layout = layout_of(run)
    assert run.get_status().supervisor == "gone"
    assert main(["pause", str(layout.dir)]) == 0
    assert "a: paused; nothing of it runs" in capsys.readouterr().out
    assert survivors(layout) == []
    assert main(["resume", str(layout.dir), "--json"]) == 0
    assert messages(layout, "a") == [f"step {number}" for number in range(1, 151)]


def drive_until_it_reports(run: ParallelMLExecutor) -> None:
    """Drive a run until its job has begun, then let go of it."""

    def leave(_: MonitorEvent) -> None:
        if run._supervisor is not None:
            run._supervisor.leave("a test")

    run.subscribe(leave, "epoch")
    run.run_parallel()


def test_a_retry_of_a_finished_run_takes_it_up_again(
    write: Write, executor: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The job that failed; the one that succeeded is left alone."""
    mark = tmp_path / "mark"
    run = executor(write("a", "true"), write("b", f"test -e {mark}"))
    run.run_parallel()
    layout = layout_of(run)
    assert (state_of(run, "a"), state_of(run, "b")) == ("completed", "failed")
    mark.touch()
    assert main(["retry", str(layout.dir)]) == 0
    assert "b: completed" in capsys.readouterr().out
    assert [(job.state, job.attempt) for job in run.get_status().jobs] == [("completed", 1), ("completed", 2)]


WRONG = [
    (["pause"], "is completed already"),
    (["resume"], "is finished (completed): there is nothing to go on with"),
    (["retry"], "is completed already"),
    (["pause", "--job", "b"], "has no job b"),
    (["resume", "--job", "a"], "a is completed already; retry brings"),
]


@pytest.mark.parametrize(("words", "told"), WRONG)
def test_what_cannot_be_done_is_said_in_a_line(
    write: Write, executor: Make, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and no order is left behind."""
    run = executor(write("a", "true"))
    run.run_parallel()
    layout = layout_of(run)
    assert main([words[0], str(layout.dir), *words[1:]]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert len(captured.err.splitlines()) <= 2
    assert list(layout.orders.glob("*.json")) == []


def test_those_who_work_below_a_shell_get_the_grace_too(write: Write, executor: Make) -> None:
    """Bash dies of TERM at once; its child, which asks, is given the time to save."""
    slow = (
        "import signal, time; from parallel_ml import should_stop; signal.signal(15, lambda *_: None)\n"
        "print('up', flush=True)\nwhile not should_stop(): time.sleep(0.01)\n"
        "time.sleep(2.5); print('saved', flush=True)"
    )
    run = executor(write("a", f"{shlex.join([PYTHON, '-c', slow])}; true", grace="20s"))
    thread = in_background(run)
    layout = layout_of(run)
    until(lambda: layout.job("a").log.exists() and messages(layout, "a") == ["up"], "the child")
    RunClient(layout.dir).stop()
    thread.join()
    assert messages(layout, "a") == ["up", "saved"]


def test_a_job_out_of_memory_is_tried_with_half_its_batch(write: Write, executor: Make) -> None:
    """An own program that takes `{batch_size}`; the reason is read from what it printed."""
    program = (
        "import sys\nbatch = int(sys.argv[1])\nprint(batch, sys.argv[2], flush=True)\n"
        "if batch > 8: raise MemoryError('Unable to allocate 9 GiB for an array')"
    )
    argv = [PYTHON, "-c", program, "{batch_size}", "{accumulation}"]
    run = executor(write("a", argv, data_preprocessing={"batch_size": 32}))
    (result,) = run.run_parallel()
    assert (result.state, messages(layout_of(run), "a")) == ("completed", ["32 1", "16 2", "8 4"])
    (job,) = run.get_status().jobs
    assert (job.batch_size, job.accumulation, len(job.recoveries)) == (8, 4, 2)


def test_a_failure_is_told_with_its_class_its_line_and_something_to_try(write: Write, executor: Make) -> None:
    """In `status --json` and in the results."""
    run = executor(write("a", [PYTHON, "-c", "import there_is_no_such_module"]))
    (result,) = run.run_parallel()
    failure = result.failure or {}
    assert (failure["class"], failure["suspected"]) == ("import", False)
    assert failure["evidence"] == "ModuleNotFoundError: No module named 'there_is_no_such_module'"
    assert failure["advice"]
    assert Path(result.paths["log"] or "").exists()


LAZY = """
import signal, sys, time
def leave(*_):
    time.sleep(1.5)
    sys.exit(0)
signal.signal(signal.SIGUSR1, leave)
print("up", flush=True)
time.sleep(99)
"""


def test_a_pause_that_is_resumed_before_it_was_done_ends_and_says_so(
    write: Write, executor: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pause` does not wait for the end of the job that goes on."""
    run = executor(write("a", [PYTHON, "-c", LAZY]))
    thread = in_background(run)
    layout = layout_of(run)
    until(lambda: layout.job("a").log.exists() and messages(layout, "a") == ["up"], "the program")
    pausing = threading.Thread(target=main, args=(["pause", str(layout.dir)],))
    pausing.start()
    until(lambda: run.get_status().jobs[0].pausing, "the pause")
    assert main(["resume", str(layout.dir)]) == 0
    pausing.join(20)
    told = capsys.readouterr().out
    assert "a: in the queue again" in told
    assert "a: was paused, and somebody has resumed it" in told
    RunClient(layout.dir).stop(at_once=True)
    thread.join()


def test_a_run_that_is_taken_over_in_the_background_wakes_only_who_is_named(
    write: Write, executor: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other job stays paused."""
    run = executor(write("a", [PYTHON, "-c", COUNTS, "100000"]), write("b", [PYTHON, "-c", COUNTS, "100000"]))
    drive_until_it_reports(run)
    layout = layout_of(run)
    assert main(["pause", str(layout.dir)]) == 0
    assert main(["resume", str(layout.dir), "--job", "a", "--detach"]) == 0
    until(is_running(run, "a"), "the job that was named")
    assert state_of(run, "b") == "paused"
    assert main(["stop", str(layout.dir)]) == 0
    assert "background" in capsys.readouterr().out
