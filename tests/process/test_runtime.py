"""Whole runs through the supervisor, the shims and the event log, with small programs as jobs."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.runtime.client import RunClient
from parallel_ml.runtime.local import _BOOT
from parallel_ml.store.files import read_json
from parallel_ml.store.identity import identify
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import RunLayout
from tests.process.conftest import found, leftovers, survivors, until

pytestmark = pytest.mark.process
Write = Callable[..., Path]
Make = Callable[..., ParallelMLExecutor]
PYTHON = sys.executable
DEAF = (
    "import os, signal, time; os.setsid(); signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
)
DEAF_CHILD = shlex.join([PYTHON, "-c", DEAF])
REPORTING = """
import subprocess, sys
from parallel_ml import report
report(epoch=1, epochs=2, loss=0.5)
child = "from parallel_ml import report; report(epoch=2, epochs=2, loss=0.25)"
subprocess.run([sys.executable, "-c", child], close_fds=True)
"""
ASKING = """
import signal, time
from parallel_ml import should_stop
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while not should_stop():
    time.sleep(0.01)
print("leaving")
"""


def layout_of(executor: ParallelMLExecutor) -> RunLayout:
    """Return the files of an executor's run."""
    return RunLayout(Path(executor.get_status().dir))


def in_background(executor: ParallelMLExecutor) -> threading.Thread:
    """Prepare a run and drive it in a thread."""
    executor.prepare()
    thread = threading.Thread(target=executor.run_parallel)
    thread.start()
    return thread


def is_running(executor: ParallelMLExecutor, job: str) -> Callable[[], bool]:
    """Return a condition: the job runs."""
    return lambda: {one.name: one.state for one in executor.get_status().jobs}[job] == "running"


def messages(layout: RunLayout, job: str, kind: str = "stdout") -> list[str]:
    """Return the lines of one kind in a job's log."""
    records = map(json.loads, layout.job(job).log.read_text().splitlines())
    return [record["message"] for record in records if record["type"] == kind]


def test_each_job_has_its_own_end_and_the_others_do_not_care(write: Write, executor: Make) -> None:
    """Results come in the order of the configurations."""
    run = executor(write("good", "echo out; echo err >&2"), write("bad", "echo broken >&2; exit 3"))
    good, bad = run.run_parallel()
    assert (good.name, good.state, good.outcome, good.error) == ("good", "completed", "success", None)
    assert (bad.name, bad.state, bad.outcome, bad.error) == ("bad", "failed", "error(3)", "broken")
    layout = layout_of(run)
    assert (messages(layout, "good"), messages(layout, "good", "stderr")) == (["out"], ["err"])
    assert leftovers(layout) == []


def test_a_log_line_has_the_keys_of_the_format(write: Write, executor: Make) -> None:
    """Timestamp in UTC, position, process number, message, type."""
    run = executor(write("a", "true"), write("b", "echo $$"))
    run.run_parallel()
    lines = layout_of(run).job("b").log.read_text().splitlines()
    record = next(record for record in map(json.loads, lines) if record["type"] == "stdout")
    assert list(record) == ["timestamp", "process_id", "pid", "message", "type"]
    assert record["timestamp"].endswith("+00:00")
    assert (record["process_id"], str(record["pid"])) == (1, record["message"])


def test_more_jobs_than_slots_wait_and_say_why(write: Write, executor: Make, tmp_path: Path) -> None:
    """The third starts when one of the first two has ended."""
    hold = tmp_path / "hold"
    hold.touch()
    program = f"while [ -e {hold} ]; do sleep 0.02; done"
    run = executor(*[write(name, program) for name in ("a", "b", "c")])
    thread = in_background(run)
    until(lambda: [job.state for job in run.get_status().jobs].count("running") == 2, "two running jobs")
    waiting = run.get_status().jobs[2]
    assert (waiting.state, waiting.waiting) == ("pending", "2 of 2 slots in use")
    hold.unlink()
    thread.join()
    assert [result.state for result in run.results()] == ["completed"] * 3


def test_a_stop_ends_the_whole_tree_also_what_ignores_it_and_has_a_session_of_its_own(
    write: Write, executor: Make
) -> None:
    """Nothing that carries the attempt's token is left, and no temporary file."""
    run = executor(write("a", f"{DEAF_CHILD} & {DEAF_CHILD}; wait", grace="0.3s"), write("b", "true"))
    thread = in_background(run)
    layout = layout_of(run)
    until(lambda: layout.job("a").log.exists() and len(messages(layout, "a")) == 2, "two deaf children")
    order = RunClient(layout.dir).stop("a")
    thread.join()
    assert RunClient(layout.dir).wait(order, 0).state == "done"
    assert [job.state for job in run.get_status().jobs] == ["stopped", "completed"]
    assert survivors(layout) == []
    assert leftovers(layout) == []


def test_stopping_the_run_stops_what_runs_and_what_waits(write: Write, executor: Make) -> None:
    """And a program that leaves with code 0 because it was told to has not completed."""
    polite = "trap 'exit 0' TERM; while true; do sleep 0.02; done"
    run = executor(*[write(name, polite) for name in ("a", "b", "c")])
    thread = in_background(run)
    until(lambda: [job.state for job in run.get_status().jobs].count("running") == 2, "two running jobs")
    run.stop_execution()
    thread.join()
    assert [job.state for job in run.get_status().jobs] == ["stopped"] * 3
    assert survivors(layout_of(run)) == []


def test_what_a_job_leaves_in_the_background_is_ended_with_it(write: Write, executor: Make) -> None:
    """The job's memory must be free for the next one."""
    run = executor(write("a", "sleep 99 & echo started"))
    (result,) = run.run_parallel()
    layout = layout_of(run)
    assert result.state == "completed"
    assert "1 processes that the job left running were ended" in messages(layout, "a", "system")
    assert survivors(layout) == []


def test_a_failing_job_is_tried_again_and_the_log_goes_on(write: Write, executor: Make, tmp_path: Path) -> None:
    """The second attempt succeeds; both are in the same log."""
    mark = tmp_path / "mark"
    program = f"echo attempt $PARALLEL_ML_ATTEMPT; [ -e {mark} ] && exit 0; touch {mark}; exit 1"
    run = executor(write("a", program, retry={"max_attempts": 2, "backoff": "10ms"}))
    (result,) = run.run_parallel()
    assert (result.state, run.get_status().jobs[0].attempt) == ("completed", 2)
    assert messages(layout_of(run), "a") == ["attempt 1", "attempt 2"]


def test_a_job_over_its_time_is_ended_and_has_failed(write: Write, executor: Make) -> None:
    """With the limit in the reason."""
    (result,) = executor(write("a", "sleep 99", timeout="0.2s")).run_parallel()
    assert (result.state, result.outcome) == ("failed", "timeout")
    assert result.error == "it ran longer than its timeout of 0.2 s"


def test_a_program_that_cannot_be_started_says_so(write: Write, executor: Make, tmp_path: Path) -> None:
    """It was there when the run was planned, and is no program."""
    broken = tmp_path / "train"
    broken.write_bytes(b"\x7fELF garbage")
    broken.chmod(0o755)
    (result,) = executor(write("a", [str(broken)])).run_parallel()
    assert (result.state, result.outcome) == ("failed", "spawn_failed")
    assert result.error == f"cannot start {broken}: Exec format error"


def test_reports_reach_the_metrics_also_from_processes_that_a_script_starts(write: Write, executor: Make) -> None:
    """A child without inherited file descriptors reports as well."""
    run = executor(write("a", [PYTHON, "-c", REPORTING]))
    events: list[int] = []
    run.subscribe(lambda event: events.append(event.data["epoch"]), "epoch")
    (result,) = run.run_parallel()
    assert result.history["epochs"] == events == [1, 2]
    assert result.history["train_loss"] == [0.5, 0.25]
    assert read_json(Path(result.paths["dir"] or "") / "history.json") == result.history


def test_a_script_learns_that_it_should_stop(write: Write, executor: Make) -> None:
    """`should_stop()` turns true for a program that ignores the signal."""
    run = executor(write("a", [PYTHON, "-c", ASKING]))
    thread = in_background(run)
    layout = layout_of(run)
    until(lambda: layout.job("a").log.exists() and messages(layout, "a") == ["up"], "a running script")
    run.stop_execution()
    thread.join()
    assert messages(layout, "a") == ["up", "leaving"]


def test_a_killed_shim_takes_its_training_with_it_and_the_job_is_tried_again(write: Write, executor: Make) -> None:
    """Lost attempts are repeated with the same settings; nothing of the first one lives on."""
    run = executor(write("a", "sleep 99 & [ $PARALLEL_ML_ATTEMPT = 2 ] && exit 0; sleep 98; true"))
    thread = in_background(run)
    until(is_running(run, "a"), "the job")
    layout = layout_of(run)
    shim = read_json(layout.job("a").attempt(1).shim)["shim"]["pid"]
    os.kill(shim, signal.SIGKILL)
    thread.join()
    status = run.get_status().jobs[0]
    assert (status.state, status.attempt) == ("completed", 2)
    assert survivors(layout) == []


def test_an_attempt_has_one_shim_however_often_it_is_started(write: Write, executor: Make, tmp_path: Path) -> None:
    """The claim by link(2) lets one through."""
    folder = tmp_path / "attempt-01"
    folder.mkdir()
    plan = {"token": "t" + os.urandom(8).hex(), "process_id": 0, "attempt": 1, "argv": ["sh", "-c", "echo once >> out"]}
    files = {"cwd": str(tmp_path), "grace_s": 1, "log": str(tmp_path / "l"), "metrics": str(tmp_path / "m")}
    (folder / "start.json").write_text(json.dumps({**plan, **files}))
    read, write_end = os.pipe()
    argv = [PYTHON, "-IS", "-c", _BOOT, str(folder), str(write_end)]
    shims = [subprocess.Popen(argv, pass_fds=[write_end]) for _ in range(4)]
    assert [shim.wait() for shim in shims] == [0] * 4
    os.close(read)
    os.close(write_end)
    assert (tmp_path / "out").read_text() == "once\n"


DRIVER = """
import sys
from parallel_ml import ParallelMLExecutor
ParallelMLExecutor(sys.argv[2:], runs_dir=sys.argv[1], gpus="none").run_parallel()
"""


def test_a_killed_supervisor_harms_no_training_and_the_next_one_takes_over(write: Write, tmp_path: Path) -> None:
    """What ended meanwhile is read, what runs is adopted, what waited is started; each ran once."""
    hold = tmp_path / "hold"
    hold.touch()
    long = write("long", f"echo once; while [ -e {hold} ]; do sleep 0.02; done")
    short = write("short", f"echo once; while [ -e {hold}2 ]; do sleep 0.02; done")
    Path(f"{hold}2").touch()
    later = write("later", "echo once")
    argv = [PYTHON, "-c", DRIVER, str(tmp_path / "runs"), str(long), str(short), str(later)]
    driver = subprocess.Popen(argv, cwd=tmp_path)
    runs = tmp_path / "runs"
    until(lambda: [path for path in found(runs, "*/run.json") if path.parent.name[0] != "."], "the run")
    client = RunClient.find(runs_dir=runs)
    until(lambda: [job.state for job in client.status().jobs].count("running") == 2, "two running jobs")
    driver.kill()
    driver.wait()
    status = client.status()
    assert (status.supervisor, status.jobs[0].state) == ("gone", "running")
    Path(f"{hold}2").unlink()
    until((client.dir / "jobs/short/attempt-01/exit.json").exists, "the end of the short job")
    successor = ParallelMLExecutor.resume(client.dir)
    thread = threading.Thread(target=successor.run_parallel)
    thread.start()
    until(lambda: client.status().jobs[2].state == "completed", "the job that waited")
    hold.unlink()
    thread.join()
    status = client.status()
    assert [(job.state, job.attempt) for job in status.jobs] == [("completed", 1)] * 3
    layout = RunLayout(client.dir)
    assert [messages(layout, job.name) for job in status.jobs] == [["once"]] * 3
    assert [record.seq for record in read_records(layout.events)[0]] == list(
        range(1, len(read_records(layout.events)[0]) + 1)
    )


def test_ctrl_c_once_stops_gracefully_and_twice_kills(write: Write, tmp_path: Path) -> None:
    """The first lets a trap run; the second does not wait for the grace."""
    deaf = write("deaf", "trap '' TERM; echo up; while true; do sleep 0.02; done", grace="60s")
    polite = write("polite", "trap 'echo saved; exit 1' TERM; echo up; while true; do sleep 0.02; done")
    argv = [PYTHON, "-c", DRIVER, str(tmp_path / "runs"), str(deaf), str(polite)]
    driver = subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    runs = tmp_path / "runs"
    until(lambda: len(list(found(runs, "*/jobs/*/log.jsonl"))) == 2, "two logs")
    layout = RunLayout(next(runs.iterdir()))
    until(lambda: messages(layout, "deaf") == messages(layout, "polite") == ["up"], "two running jobs")
    driver.send_signal(signal.SIGINT)
    until(lambda: messages(layout, "polite") == ["up", "saved"], "the polite job's end")
    driver.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in driver.communicate()[1]
    assert [job.state for job in RunClient(layout.dir).status().jobs] == ["stopped", "stopped"]
    assert survivors(layout) == []


def test_a_run_in_a_thread_is_no_different(write: Write, executor: Make) -> None:
    """No signal handler is needed or touched."""
    before = signal.getsignal(signal.SIGINT)
    run = executor(write("a", "echo hi"))
    in_background(run).join()
    assert run.results()[0].state == "completed"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_starts_nothing_more_kills_nothing_and_loses_nothing(
    write: Write, executor: Make, tmp_path: Path
) -> None:
    """What runs goes on; when there is room again the waiting job starts, and every event is there."""
    disk = tmp_path / "runs"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        hold = tmp_path / "hold"
        hold.touch()
        program = f"echo up; while [ -e {hold} ]; do sleep 0.02; done"
        run = executor(write("a", program), write("b", "echo second"), max_parallel=1)
        notes: list[str] = []
        run.subscribe(lambda event: notes.append(event.data["text"]), "note")
        thread = in_background(run)
        until(is_running(run, "a"), "the first job")
        filler = disk / "filler"
        fill(filler)
        hold.unlink()
        until(lambda: any("less than 1 MiB is free" in note for note in notes), "a note on the full disk")
        assert run.get_status().jobs[1].state == "pending"
        filler.unlink()
        thread.join()
        assert [result.state for result in run.results()] == ["completed"] * 2
        seqs = [record.seq for record in read_records(layout_of(run).events)[0]]
        assert seqs == list(range(1, len(seqs) + 1))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def fill(path: Path) -> None:
    """Fill a file system to the last byte."""
    with path.open("wb", buffering=0) as stream:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError:
                continue


def test_a_process_is_known_by_its_start_and_not_by_its_number() -> None:
    """A corpse and a stranger with the same number are not it."""
    child = subprocess.Popen(["sleep", "99"])
    assert identify(child.pid) is not None
    child.kill()
    until(lambda: identify(child.pid) is None, "the corpse")
    child.wait()
