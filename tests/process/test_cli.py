"""The command line with real processes: runs of small programs, looked at and stopped from other processes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.adapters.cli.text import cell_width

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
STATUS_KEYS = {"run", "dir", "state", "as_of", "supervisor", "jobs"}
JOB_KEYS = {
    *("process_id", "name", "state", "outcome", "attempt", "pid", "epoch", "epochs", "metrics", "allocation"),
    *("batch_size", "accumulation", "seed", "started", "ended", "paths", "error"),
}
QUICK = "print('hello')"
BROKEN = "import sys; print('before'); sys.exit('it broke')"
REPORTS = """
from parallel_ml import report
for epoch in (1, 2, 3):
    report(epoch=epoch, epochs=3, loss=1 / epoch, val_accuracy=0.9 + epoch / 100)
"""
# It waits until the test lets it go, or for a minute at most: nothing is left behind by a test that fails.
WAITS = """
import os, time
print('ready', flush=True)
for _ in range(600):
    if os.path.exists('go'):
        break
    time.sleep(0.1)
"""
HOSTILE = r"print('\x1b[2J\x1b[31mred\x1b[0m\x07')"


class Shell:
    """A folder with configurations, and the command in it."""

    def __init__(self, folder: Path) -> None:
        """Work in `folder`."""
        self.folder = folder
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TERM": "xterm-256color"}
        self.started: list[subprocess.Popen[str]] = []

    def config(self, name: str, program: str, /, **more: Any) -> str:
        """Write a configuration that runs a Python program, and return its path."""
        text = json.dumps({"command": [sys.executable, "-c", program], **more})
        (self.folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        return f"{name}.yaml"

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start the command and return its process, its output in pipes."""
        argv = [sys.executable, "-m", "parallel_ml", *words]
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, cwd=self.folder, env=self.env, stdout=pipe, stderr=pipe, text=True)
        self.started.append(process)
        return process

    def run(self, *words: str) -> tuple[int, str, str]:
        """Carry out the command; return exit code, stdout and stderr."""
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def status(self, *words: str) -> dict[str, Any]:
        """Return what `status --json` says."""
        code, out, err = self.run("status", "--json", *words)
        assert code == 0, err
        return dict(json.loads(out))

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Return the jobs of the newest run by name."""
        return {job["name"]: job for job in self.status()["jobs"]}

    def let_go(self) -> None:
        """Let the programs that wait come to their end."""
        (self.folder / "go").touch()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Return a shell; at the end every program that waits is let go and every command is gone."""
    shell = Shell(tmp_path)
    yield shell
    shell.let_go()
    for process in shell.started:
        process.kill()
        process.communicate()


def read_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Return the lines of a process up to the first one with `text` in it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if text in line:
            return lines
    raise AssertionError("\n".join(lines))


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_tells_its_progress_in_plain_lines(shell: Shell) -> None:
    """Into a pipe: a line for each state and epoch, a table at the end, exit code 0, and no escape sequence."""
    code, out, err = shell.run("run", shell.config("a", QUICK), shell.config("b", REPORTS))
    assert (code, err) == (0, "")
    assert "b: epoch 2/3 loss 0.5 val_accuracy 0.92" in out
    assert {"a: completed", "b: completed"} <= set(out.splitlines())
    assert re.search(r"^b +completed +3/3 +0\.9300 ", out, flags=re.MULTILINE)
    assert "\x1b" not in out


def test_a_failed_job_leaves_the_others_alone(shell: Shell) -> None:
    """Exit code 1; the others are completed; the end shows what the job wrote to its standard error."""
    code, out, _ = shell.run("run", shell.config("bad", BROKEN), shell.config("good", QUICK))
    assert code == 1
    assert "good: completed" in out
    assert "bad failed: error in the program\n  try: look at the end of its log: parallel-ml logs\n" in out
    assert "  the last lines of its stderr:\n    it broke\n" in out


def test_run_json_prints_one_object(shell: Shell) -> None:
    """Nothing else is on stdout, and the contract's keys are in it."""
    code, out, err = shell.run("run", "--json", shell.config("a", REPORTS))
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert set(found) >= STATUS_KEYS
    [job] = found["jobs"]
    assert set(job) >= JOB_KEYS
    assert (job["state"], job["epoch"], job["metrics"]["val_accuracy"]) == ("completed", 3, 0.93)


@pytest.mark.parametrize(("program", "code"), [(QUICK, 1), (BROKEN, 1)])
def test_json_that_cannot_be_written_is_no_success(shell: Shell, program: str, code: int) -> None:
    """A full disk: it is said, and a script that reads the exit code knows."""
    argv = [sys.executable, "-m", "parallel_ml", "run", "--json", shell.config("a", program)]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            argv, cwd=shell.folder, env=shell.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == code
    assert done.stderr == "parallel-ml: the output could not be written: No space left on device\n"


def test_a_job_may_be_called_like_an_option(shell: Shell) -> None:
    """`logs -- -x` is about the job -x."""
    assert shell.run("run", shell.config("a", QUICK, name="-x"))[0] == 0
    assert "hello" in shell.run("logs", "--", "-x")[1].splitlines()


def test_a_bad_configuration_starts_nothing(shell: Shell) -> None:
    """Exit code 2, the errors of all files on stderr, and no folder of runs."""
    code, out, err = shell.run("run", shell.config("a", QUICK), shell.config("b", QUICK, nose=1, timeout="soon"))
    assert (code, out) == (2, "")
    assert all(line.startswith("b.yaml:1: ") for line in err.splitlines())
    assert len(err.splitlines()) == 2
    assert not (shell.folder / "runs").exists()


def test_a_run_is_stopped_from_another_shell(shell: Shell) -> None:
    """`stop` says what it stopped, `run` leaves with 3, and nothing of it is alive."""
    running = shell.start("run", shell.config("a", WAITS), shell.config("b", WAITS), "--max-parallel", "1")
    read_until(running, "a: running")
    pid = shell.jobs()["a"]["pid"]
    assert shell.run("stop") == (0, "a: stopped\nb: stopped\n", "")
    assert running.wait(30) == 3
    assert not is_alive(pid)


def test_one_job_is_stopped_alone(shell: Shell) -> None:
    """The other one goes on to its end."""
    running = shell.start("run", shell.config("a", WAITS), shell.config("b", WAITS))
    read_until(running, "b: running")
    assert shell.run("stop", "--job", "a", "--now")[1] == "a: stopped\n"
    shell.let_go()
    assert running.wait(30) == 3
    assert {name: job["state"] for name, job in shell.jobs().items()} == {"a": "stopped", "b": "completed"}


def test_there_may_be_nothing_to_stop(shell: Shell) -> None:
    """A run that has finished, and a job that is not there: exit code 2 and the reason."""
    shell.run("run", shell.config("a", QUICK))
    code, out, err = shell.run("stop")
    assert (code, out) == (2, "")
    assert "completed already" in err
    code, _, err = shell.run("stop", "--job", "nose")
    assert code == 2
    assert "has no job nose; its jobs: a" in err


def test_a_job_that_waits_says_why(shell: Shell) -> None:
    """`status` has the reason, for people and for programs."""
    running = shell.start("run", "--max-parallel", "1", shell.config("a", WAITS), shell.config("b", WAITS))
    read_until(running, "a: running")
    waiting = shell.jobs()["b"]["waiting"]
    assert waiting
    assert waiting in shell.run("status")[1]


def test_ctrl_c_stops_the_run(shell: Shell) -> None:
    """The jobs end, the summary is printed, and the exit code is 130."""
    running = shell.start("run", shell.config("a", WAITS))
    read_until(running, "a: running")
    pid = shell.jobs()["a"]["pid"]
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (130, "")
    assert re.search(r"^a +stopped ", out, flags=re.MULTILINE)
    assert not is_alive(pid)


def test_a_terminated_run_leaves_its_trainings(shell: Shell) -> None:
    """SIGTERM, of a machine that is shut down say: exit code 143, and what to do about the jobs, which go on."""
    running = shell.start("run", shell.config("a", WAITS))
    read_until(running, "a: running")
    pid = shell.jobs()["a"]["pid"]
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=30)
    run = shell.status()["run"]
    command = "python -m parallel_ml"
    told = f"{command} resume {run} takes them over, {command} stop {run} stops them"
    assert (running.returncode, err) == (143, f"ended by SIGTERM; the trainings go on: {told}\n")
    assert is_alive(pid)
    shell.let_go()
    assert shell.run("resume")[0] == 0


def test_a_run_outlives_its_terminal(shell: Shell) -> None:
    """A hangup stops nothing."""
    running = shell.start("run", shell.config("a", WAITS))
    read_until(running, "a: running")
    running.send_signal(signal.SIGHUP)
    assert shell.jobs()["a"]["state"] == "running"
    shell.let_go()
    assert running.wait(30) == 0


def test_a_run_outlives_its_reader(shell: Shell) -> None:
    """`run | head -1`: the pipe breaks, the training goes on and its exit code is kept."""
    running = shell.start("run", shell.config("a", REPORTS), shell.config("b", BROKEN))
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.close()
    assert running.wait(30) == 1
    assert shell.jobs()["a"]["state"] == "completed"


def test_a_detached_run_goes_on_alone(shell: Shell) -> None:
    """The command returns at once; `logs -f` follows the run to its end."""
    code, out, _ = shell.run("run", "--detach", "--name", "night", shell.config("a", WAITS))
    assert code == 0
    assert "goes on in the background" in out
    assert shell.status("night")["supervisor"] == "running"
    following = shell.start("logs", "-f")
    read_until(following, "ready")
    shell.let_go()
    assert following.wait(30) == 0
    assert shell.jobs()["a"]["state"] == "completed"


def test_following_ends_quietly_by_ctrl_c(shell: Shell) -> None:
    """No traceback, and the run goes on."""
    running = shell.start("run", shell.config("a", WAITS))
    read_until(running, "a: running")
    following = shell.start("logs", "-f")
    read_until(following, "ready")
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=30)
    assert (following.returncode, err) == (130, "")
    assert shell.jobs()["a"]["state"] == "running"


def test_a_lost_supervisor_shows_and_is_replaced(shell: Shell) -> None:
    """After kill -9 `status` says that nobody drives the run, and `resume` brings it to its end."""
    running = shell.start("run", shell.config("a", WAITS))
    read_until(running, "a: running")
    pid = shell.jobs()["a"]["pid"]
    running.kill()
    running.wait(30)
    assert re.search(r"^as of .* ago; supervisor not running$", shell.run("status")[1], flags=re.MULTILINE)
    resuming = shell.start("resume")
    read_until(resuming, "run ")
    shell.let_go()
    assert resuming.wait(30) == 0
    assert (shell.jobs()["a"]["pid"], shell.jobs()["a"]["attempt"]) == (pid, 1)


def test_there_may_be_nothing_to_resume(shell: Shell) -> None:
    """A run that is driven, and one that has finished: exit code 2 and the reason."""
    running = shell.start("run", shell.config("a", WAITS))
    read_until(running, "a: running")
    code, _, err = shell.run("resume")
    assert code == 2
    assert "a supervisor drives run" in err
    shell.let_go()
    running.wait(30)
    code, _, err = shell.run("resume")
    assert code == 2
    assert "is finished (completed)" in err


def test_logs_of_several_jobs_carry_their_names(shell: Shell) -> None:
    """All jobs together with names, one job alone without, and what a terminal would obey is taken out."""
    shell.run("run", shell.config("a", QUICK), shell.config("b", HOSTILE))
    merged = shell.run("logs")[1].splitlines()
    assert {"a: hello", "b: red\ufffd"} <= set(merged)
    alone = shell.run("logs", "b")[1].splitlines()
    assert "red\ufffd" in alone
    assert "hello" not in alone
    assert shell.run("logs", shell.status()["run"], "a", "-n", "3")[1].splitlines()[0] == "hello"


def test_logs_as_json_are_the_records(shell: Shell) -> None:
    """One object a line, the contract's keys and the job, in the order of time."""
    shell.run("run", shell.config("a", QUICK), shell.config("b", BROKEN))
    records = [json.loads(line) for line in shell.run("logs", "--json")[1].splitlines()]
    assert all({"job", "timestamp", "process_id", "pid", "message", "type"} <= set(record) for record in records)
    assert [record["timestamp"] for record in records] == sorted(record["timestamp"] for record in records)
    assert {"job": "b", "type": "stderr", "message": "it broke"}.items() <= next(
        record for record in records if record["type"] == "stderr"
    ).items()


def test_runs_are_listed_newest_first(shell: Shell) -> None:
    """From any folder where nobody chose one, by the per-user index; with `--runs-dir` only those there."""
    config = shell.config("a", QUICK)
    shell.run("run", config, "--name", "first")
    shell.run("run", config, "--name", "second", "--runs-dir", "elsewhere")
    shell.run("run", config, "--name", "third")

    def names(*words: str) -> list[str]:
        return [run["name"] for run in json.loads(shell.run(*words, "list", "--json")[1])["runs"]]

    assert names("--runs-dir", "elsewhere") == ["second"]
    assert names() == ["third", "second", "first"]


def test_a_status_loads_nothing_heavy(shell: Shell) -> None:
    """Looking at a run costs no third-party import."""
    shell.run("run", shell.config("a", QUICK))
    heavy = ("rich", "pydantic", "yaml", "structlog", "psutil", "pynvml", "numpy", "tensorflow", "asyncio", "logging")
    code = f"""
import sys
from parallel_ml.adapters.cli.main import main
for words in (["status"], ["logs"], ["list"], ["stop"]):
    main(words)
print([name for name in {heavy!r} if name in sys.modules])
"""
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=shell.folder, env=shell.env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- on a terminal


# Takes the terminal that it was given as its own, so that Ctrl-C and hangups come from it, and becomes the command.
TAKES_THE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, '-m', 'parallel_ml', *sys.argv[1:]])
"""


def start_on_a_terminal(shell: Shell, *words: str, columns: int) -> tuple[subprocess.Popen[str], int]:
    """Start the command on a terminal of its own; return its process and our end of the terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))
    argv = [sys.executable, "-c", TAKES_THE_TERMINAL, *words]
    process = subprocess.Popen(
        argv,
        cwd=shell.folder,
        env=shell.env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        text=True,
    )
    os.close(theirs)
    shell.started.append(process)
    return process, ours


def read_terminal(ours: int, until: str | None = None) -> str:
    """Return what comes to the terminal, until a text is in it or everybody has left it."""
    seen = b""
    while until is None or until.encode() not in seen:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # EIO: the last one who had it open is gone
            break
    return seen.decode()


def on_a_terminal(shell: Shell, *words: str, columns: int = 80) -> tuple[int, str]:
    """Carry out the command on a terminal; return its exit code and what it wrote."""
    process, ours = start_on_a_terminal(shell, *words, columns=columns)
    seen = read_terminal(ours)
    os.close(ours)
    return process.wait(30), seen


def without_sequences(text: str) -> list[str]:
    """Return what was written line by line, without what moves the cursor or colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")


def test_a_terminal_shows_a_row_for_each_job(shell: Shell) -> None:
    """The display is drawn while the jobs run, the cursor is given back, and the summary stays."""
    code, seen = on_a_terminal(shell, "run", shell.config("a", REPORTS), shell.config("b", QUICK), columns=100)
    assert code == 0
    assert "Ctrl-C stops the run" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    end = without_sequences(seen[seen.rindex("\x1b[?25h") :])
    assert any(re.match(r"a +completed +3/3 +0\.9300 ", line) for line in end)
    assert "Ctrl-C stops the run" not in end


def test_a_narrow_terminal_is_not_overrun(shell: Shell) -> None:
    """At 40 columns no row of the display is wider, so that none wraps."""
    _, seen = on_a_terminal(shell, "run", shell.config("a_job_with_quite_a_long_name", REPORTS), columns=40)
    display = without_sequences(seen[seen.index("\x1b[?25l") : seen.rindex("\x1b[?25h")])
    rows = [line for line in display if line.startswith("a_job")]
    assert rows
    assert max(map(cell_width, rows)) <= 40


def test_no_color_is_heeded(shell: Shell) -> None:
    """With NO_COLOR there is no colour, only movement."""
    shell.env["NO_COLOR"] = "1"
    _, seen = on_a_terminal(shell, "run", shell.config("a", QUICK))
    assert not re.search(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", seen)


def test_ctrl_c_on_a_terminal_gives_the_cursor_back(shell: Shell) -> None:
    """Exit code 130, the job is stopped, the cursor visible."""
    process, ours = start_on_a_terminal(shell, "run", shell.config("a", WAITS), columns=100)
    read_terminal(ours, "running\x1b")
    os.write(ours, b"\x03")
    seen = read_terminal(ours)
    os.close(ours)
    assert process.wait(30) == 130
    assert "\x1b[?25l" not in seen
    assert "\x1b[?25h" in seen
    assert shell.jobs()["a"]["state"] == "stopped"


def test_a_terminated_run_gives_the_cursor_back(shell: Shell) -> None:
    """The display is cleared before the last line is printed, and the training goes on."""
    process, ours = start_on_a_terminal(shell, "run", shell.config("a", WAITS), columns=100)
    read_terminal(ours, "running\x1b")
    process.send_signal(signal.SIGTERM)
    seen = read_terminal(ours)
    os.close(ours)
    assert process.wait(30) == 143
    assert seen.rindex("\x1b[?25h") < seen.index("ended by SIGTERM")
    assert shell.jobs()["a"]["state"] == "running"


def test_a_run_outlives_a_terminal_that_vanishes(shell: Shell) -> None:
    """The window is closed while the display is drawn: the training goes on to its end."""
    process, ours = start_on_a_terminal(shell, "run", shell.config("a", WAITS), columns=100)
    read_terminal(ours, "running\x1b")
    os.close(ours)
    shell.let_go()
    assert process.wait(30) == 0
    assert shell.jobs()["a"]["state"] == "completed"


def test_watching_ends_with_the_run(shell: Shell) -> None:
    """`status --watch` draws again until the run has finished."""
    shell.run("run", "--detach", shell.config("a", WAITS))
    watching = shell.start("status", "--watch")
    read_until(watching, "a    running")
    shell.let_go()
    read_until(watching, "a    completed")
    assert watching.wait(30) == 0
