"""What must not lose a job, double it, or leave anything of it behind: each hardship once, with real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.core import events as ev
from parallel_ml.core.model import Allocation
from parallel_ml.core.outcome import Outcome, OutcomeKind
from parallel_ml.errors import BackendError, UsageError
from parallel_ml.monitor.process_monitor import MonitorEvent
from parallel_ml.runtime import executor as executor_module
from parallel_ml.runtime.client import RunClient
from parallel_ml.store.files import read_json
from parallel_ml.store.identity import identify
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore
from tests.process.conftest import found, survivors, until
from tests.process.test_runtime import DRIVER, in_background, is_running, layout_of, messages

pytestmark = pytest.mark.process
Write = Callable[..., Path]
Make = Callable[..., ParallelMLExecutor]
PYTHON = sys.executable


def shim_of(layout: RunLayout, job: str) -> int:
    """Return the process number of a job's first shim."""
    return int(read_json(layout.job(job).attempt(1).shim)["shim"]["pid"])


@pytest.mark.parametrize(
    "poison", ["[]", '{"id": "x", "kind": "stop", "job": ["a"]}', "{", '{"id": "x"}', "[" * 100_000]
)
def test_a_file_that_is_no_order_is_passed_over(write: Write, executor: Make, poison: str) -> None:
    """Any program may write into `orders`."""
    run = executor(write("a", "true"))
    run.prepare()
    (layout_of(run).orders / "x.json").write_text(poison)
    assert run.run_parallel()[0].state == "completed"


NASTY = r"""
import json, os, socket
peer = socket.socket(socket.AF_UNIX)
peer.connect("\0" + os.environ["PARALLEL_ML_SOCKET"])
answers = peer.makefile("r")
for line in (
    '{"type": "epoch", "data": {"epoch": 1, "train_loss": 1e999}}', "[" * 60000, "null", "{", "",
    '{"type": "epoch", "data": {"epoch": 1, "name": "\\ud800"}}', '{"type": "end", "outcome": ["x"], "error": {}}',
    '{"type": "end", "outcome": "success", "error": "\\udc80"}', '{"type": 3}',
):
    peer.sendall(line.encode() + b"\n")
    print(json.loads(answers.readline())["ok"], flush=True)
raise SystemExit(1)
"""


def test_nothing_that_a_job_says_ends_its_shim_or_the_supervisor(write: Write, executor: Make) -> None:
    """Bad messages are refused, odd ones are kept, and the job goes on to its own end."""
    run = executor(write("a", [PYTHON, "-c", NASTY]))
    (result,) = run.run_parallel()
    assert (result.state, result.outcome, run.get_status().jobs[0].attempt) == ("failed", "error(1)", 1)
    said = messages(layout_of(run), "a")
    assert said == ["False", "False", "False", "False", "False", "True", "True", "True", "True"]


def test_callbacks_that_raise_do_not_end_the_run(write: Write, executor: Make) -> None:
    """Also several at once."""
    run = executor(write("a", "true"))

    def broken(_event: MonitorEvent) -> None:
        raise ValueError

    def broken_too(_event: MonitorEvent) -> None:
        raise KeyError

    for callback in (broken, broken_too):
        run.subscribe(callback)
    assert run.run_parallel()[0].state == "completed"


def test_a_supervisor_that_is_thrown_out_of_its_loop_says_so_and_the_run_can_be_taken_over(
    write: Write, executor: Make, tmp_path: Path
) -> None:
    """Although its process lives on, as a notebook does."""
    hold = tmp_path / "hold"
    hold.touch()
    run = executor(write("a", f"while [ -e {hold} ]; do sleep 0.02; done"))
    run.subscribe(lambda event: sys.exit("out") if event.data["state"] == "running" else None, "job_state")
    with pytest.raises(SystemExit):
        run.run_parallel()
    status = run.get_status()
    assert (status.supervisor, status.jobs[0].state) == ("gone", "running")
    hold.unlink()
    (result,) = ParallelMLExecutor.resume(status.dir).run_parallel()
    assert (result.state, run.get_status().jobs[0].attempt) == ("completed", 1)


def test_a_supervisor_that_comes_up_too_late_is_ended(
    write: Write, executor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was told that it did not start must not find the run driven a moment later."""
    monkeypatch.setattr(executor_module, "DETACH_PATIENCE_S", 0.0)
    run = executor(write("a", "true"))
    with pytest.raises(BackendError, match="its supervisor did not start"):
        run.detach()
    layout = layout_of(run)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert str(layout.dir).encode() not in path.read_bytes()
    (result,) = ParallelMLExecutor.resume(layout.dir).run_parallel()
    assert result.state == "completed"


def test_a_shim_that_is_stuck_is_ended_with_its_tree(write: Write, executor: Make) -> None:
    """It reads no order any more; the second time its grace is over it is killed itself."""
    run = executor(write("a", "sleep 99 & sleep 98", grace="0.1s"))
    thread = in_background(run)
    until(is_running(run, "a"), "the job")
    layout = layout_of(run)
    os.kill(shim_of(layout, "a"), signal.SIGSTOP)
    RunClient(layout.dir).stop(at_once=True)
    thread.join()
    assert run.get_status().jobs[0].state == "stopped"
    assert survivors(layout) == []


def test_signals_that_the_parent_ignores_or_blocks_do_not_reach_the_job(write: Write, tmp_path: Path) -> None:
    """A shell's `trap '' CHLD` is inherited by everything below it."""
    trap = write("trap", "trap 'echo saved; exit 0' TERM; echo up; while true; do sleep 0.02; done")
    prelude = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    )
    argv = [PYTHON, "-c", prelude + DRIVER, str(tmp_path / "runs"), str(trap)]
    driver = subprocess.Popen(argv, cwd=tmp_path)
    runs = tmp_path / "runs"
    until(lambda: len(list(found(runs, "*/jobs/*/log.jsonl"))) == 1, "the log")
    layout = RunLayout(next(runs.iterdir()))
    until(lambda: messages(layout, "trap") == ["up"], "the job")
    RunClient(layout.dir).stop()
    assert driver.wait() == 0
    assert messages(layout, "trap") == ["up", "saved"]
    assert RunClient(layout.dir).status().jobs[0].attempt == 1


def test_a_job_that_something_else_ends_is_lost_and_tried_again(write: Write, executor: Make) -> None:
    """As when the machine is shut down: nobody asked this program for it."""
    run = executor(write("a", "[ $PARALLEL_ML_ATTEMPT = 2 ] || sleep 99"))
    thread = in_background(run)
    until(is_running(run, "a"), "the job")
    os.kill(shim_of(layout_of(run), "a"), signal.SIGTERM)
    thread.join()
    status = run.get_status().jobs[0]
    assert (status.state, status.attempt) == ("completed", 2)


def test_an_intent_that_was_never_carried_out_costs_no_attempt(write: Write, executor: Make) -> None:
    """The supervisor died between writing it down and acting, time and again."""
    run = executor(write("a", "echo once"))
    run.prepare()
    layout = layout_of(run)
    for number in range(1, 6):
        store = RunStore(layout)
        me = identify()
        assert me is not None
        store.add([ev.SupervisorStarted(me), ev.JobPlaced("a", number, Allocation(0), None, 1)], time.time())
        store.flush()
        store.close()
        if number < 5:
            store = RunStore(layout)
            never = ev.AttemptEnded("a", number, Outcome(OutcomeKind.NEVER_STARTED))
            store.add([never, ev.JobQueued("a", "again")], time.time())
            store.flush()
            store.close()
    (result,) = ParallelMLExecutor.resume(layout.dir).run_parallel()
    assert result.state == "completed"
    assert messages(layout, "a") == ["once"]


@pytest.mark.parametrize("only", [None, "a"])
def test_a_stop_works_without_a_supervisor(write: Write, tmp_path: Path, only: str | None) -> None:
    """The command itself drives the run for as long as that takes, and starts nothing."""
    configs = [write(name, "echo up; sleep 99") for name in ("a", "b", "c")]
    argv = [PYTHON, "-c", DRIVER, str(tmp_path / "runs"), *map(str, configs)]
    driver = subprocess.Popen(argv, cwd=tmp_path)
    runs = tmp_path / "runs"
    until(lambda: len(list(found(runs, "*/jobs/*/log.jsonl"))) == 2, "two logs")
    layout = RunLayout(next(runs.iterdir()))
    client = RunClient(layout.dir)
    until(lambda: [job.state for job in client.status().jobs].count("running") == 2, "two running jobs")
    driver.kill()
    driver.wait()
    argv = [PYTHON, "-m", "parallel_ml", "stop", str(layout.dir), *(["--job", only] if only else [])]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "a: stopped" in done.stdout
    states = [job.state for job in client.status().jobs]
    assert states == (["stopped"] * 3 if only is None else ["stopped", "running", "pending"])
    if only is not None:
        subprocess.run([PYTHON, "-m", "parallel_ml", "stop", str(layout.dir), "--now"], check=True)
    assert survivors(layout) == []


def test_children_without_the_token_are_swept_with_a_killed_shim(write: Write, executor: Make, tmp_path: Path) -> None:
    """A program may start children with an empty environment."""
    pids = tmp_path / "pids"
    job = f"[ $PARALLEL_ML_ATTEMPT = 2 ] && exit 0; env -i sleep 97 & echo $! > {pids}; wait"
    run = executor(write("a", job))
    thread = in_background(run)
    until(lambda: pids.exists() and pids.read_text().strip(), "the child")
    until(is_running(run, "a"), "the job")
    os.kill(shim_of(layout_of(run), "a"), signal.SIGKILL)
    thread.join()
    assert identify(int(pids.read_text())) is None
    assert run.get_status().jobs[0].state == "completed"


def test_orphans_that_have_ended_do_not_pile_up(write: Write, executor: Make, tmp_path: Path) -> None:
    """The shim collects them while the job goes on."""
    hold = tmp_path / "hold"
    hold.touch()
    run = executor(write("a", f"for i in $(seq 40); do (true &) ; done; while [ -e {hold} ]; do sleep 0.02; done"))
    thread = in_background(run)
    until(is_running(run, "a"), "the job")
    shim = shim_of(layout_of(run), "a")
    stats = Path(f"/proc/{shim}/task/{shim}/children")
    until(lambda: len(stats.read_text().split()) <= 1, "a shim without corpses")
    hold.unlink()
    thread.join()


def test_an_endless_line_on_stderr_makes_no_endless_error(write: Write, executor: Make) -> None:
    """The log has all of it, the event a beginning."""
    (result,) = executor(write("a", "head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1")).run_parallel()
    assert result.error is not None
    assert set(result.error) == {"x"}
    assert len(result.error) == 500


def test_what_starts_a_program_is_for_its_owner_only(write: Write, executor: Make) -> None:
    """Variables that a command names stand filled in there; the environment stands nowhere."""
    config = write("a", "echo ${TOKEN_A} > /dev/null", env={"OTHER": "${TOKEN_B}"})
    run = executor(config, environ={**os.environ, "TOKEN_A": "secret-a", "TOKEN_B": "secret-b"})
    run.run_parallel()
    holders = {}
    for path in layout_of(run).dir.rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            assert b"secret-b" not in text, path
            if b"secret-a" in text:
                holders[path.name] = path.stat().st_mode & 0o777
    assert holders == {"start.json": 0o600, "resolved.yaml": 0o600}


def test_a_finished_run_is_left_as_it_is(write: Write, executor: Make) -> None:
    """Running it again gives the same results, taking it over is refused."""
    run = executor(write("a", "true"))
    first = run.run_parallel()
    log = layout_of(run).events.read_bytes()
    assert run.run_parallel() == first
    with pytest.raises(UsageError, match="there is nothing to go on with"):
        ParallelMLExecutor.resume(layout_of(run).dir)
    assert layout_of(run).events.read_bytes() == log


def test_the_state_says_what_json_can_say(write: Write, executor: Make) -> None:
    """A name that is no UTF-8 does not break the log."""
    run = executor(write("a", [PYTHON, "-c", "import sys; sys.stderr.buffer.write(b'bad \\xff name'); sys.exit(1)"]))
    (result,) = run.run_parallel()
    assert result.error == "bad \ufffd name"
    json.dumps(run.get_status().to_dict(), allow_nan=False)


def test_a_supervisor_that_is_told_to_end_leaves_the_trainings_and_can_be_followed(
    write: Write, tmp_path: Path
) -> None:
    """TERM comes to everything when a machine is shut down: it must not stop the jobs for good."""
    hold = tmp_path / "hold"
    hold.touch()
    config = write("a", f"echo once; while [ -e {hold} ]; do sleep 0.02; done")
    driver = subprocess.Popen([PYTHON, "-c", DRIVER, str(tmp_path / "runs"), str(config)], cwd=tmp_path)
    runs = tmp_path / "runs"
    until(lambda: len(list(found(runs, "*/jobs/*/log.jsonl"))) == 1, "the log")
    layout = RunLayout(next(runs.iterdir()))
    until(lambda: RunClient(layout.dir).status().jobs[0].state == "running", "the job")
    driver.terminate()
    assert driver.wait() == 128 + signal.SIGTERM
    status = RunClient(layout.dir).status()
    assert (status.supervisor, status.jobs[0].state) == ("gone", "running")
    hold.unlink()
    (result,) = ParallelMLExecutor.resume(layout.dir).run_parallel()
    assert (result.state, messages(layout, "a")) == ("completed", ["once"])


def test_the_last_report_is_the_result_of_an_own_program_that_wrote_none(write: Write, executor: Make) -> None:
    """And one that it wrote itself stays."""
    report = "from parallel_ml import report\nfor epoch in (1, 2): report(epoch=epoch, loss=1 / epoch, score=epoch)\n"
    own = report + "import os; open(os.environ['PARALLEL_ML_JOB_DIR'] + '/result.json', 'w').write('{\"mine\": 1}')"
    run = executor(write("told", [PYTHON, "-c", report]), write("own", [PYTHON, "-c", own]), write("none", "true"))
    told, mine, none = run.run_parallel()
    result = read_json(Path(told.paths["result"] or ""))
    assert (result["epoch"], result["train_loss"], result["score"]) == (2, 0.5, 2)
    assert read_json(Path(mine.paths["result"] or "")) == {"mine": 1}
    assert mine.metrics["mine"] == 1
    assert not Path(none.paths["result"] or "").exists()


def test_what_makes_no_sense_is_refused_before_anything_is_made(write: Write, executor: Make, tmp_path: Path) -> None:
    """An unknown kind of event, a name that climbs out, no slot at all."""
    config = write("a", "true")
    with pytest.raises(UsageError, match=r"no events of the kind 'nonsense'; the kinds: run_started, job_state"):
        executor(config).subscribe(lambda _event: None, "nonsense")
    for name in ("../x", "", "a/b"):
        with pytest.raises(UsageError, match="is no name for a run"):
            executor(config, name=name)
    with pytest.raises(UsageError, match="max_parallel 0 is too small"):
        executor(config, max_parallel=0)
    assert not (tmp_path / "runs").exists()
