"""Jobs that are forked from an image: they are what they would be in an interpreter of their own."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.core.stimuli import Ended, Started, Stimulus
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent
from parallel_ml.runtime import sweep
from parallel_ml.runtime.backend import Launch
from parallel_ml.runtime.local import LocalBackend
from parallel_ml.runtime.origin import Origin, entry_of, origin_of
from parallel_ml.store.attempts import read_guards
from parallel_ml.store.layout import AttemptLayout, JobLayout
from tests.process.conftest import until
from tests.process.test_runtime import layout_of

pytestmark = pytest.mark.process

ABOUT = """
import json, os, random, signal, sys, threading
told = {
    "argv": sys.argv,
    "first": sys.path[0],
    "file": __file__,
    "name": __name__,
    "main": sys.modules["__main__"].__dict__ is globals(),
    "names": sorted(name for name in globals() if not name.startswith("__cached")),
    "stdin": sys.stdin.read(),
    "buffered": sys.stdout.line_buffering or sys.stdout.write_through,
    "signals": {str(number): str(signal.getsignal(number)).split(" at ")[0] for number in signal.valid_signals()},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "handles": sorted(os.listdir("/proc/self/fd"))[:-1],
    "threads": len(os.listdir("/proc/self/task")),
    "cwd": os.getcwd(),
    "ours": [name for name in sys.modules if name.startswith("parallel_ml")],
    "environ": {name: value for name, value in os.environ.items() if "TOKEN" not in name and "SOCKET" not in name},
    "hash": hash("parallel"),
    "group": os.getpgrp() == os.getpid(),
    "seen": {line.split(b"=")[0].decode() for line in open("/proc/self/environ", "rb").read().split(b"\\0")}
    >= {"PARALLEL_ML_ATTEMPT_TOKEN", "PARALLEL_ML_RUN", "PARALLEL_ML_JOB", "PARALLEL_ML_JOB_DIR"},
    "shown": open("/proc/self/cmdline", "rb").read().split(b"\\0")[1].decode(),
}
told["seen"] = bool(told["seen"])
json.dump(told, open(sys.argv[1], "w"))
"""


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    """Return a back end without attempts that forks what it can."""
    made = LocalBackend(tmp_path / "shim.log", noted.append)
    yield made
    noted.clear()
    made.close()


noted: list[str] = []


def start(
    backend: LocalBackend, folder: Path, script: str, *words: str, warm: bool = True, **more: object
) -> AttemptLayout:
    """Start an attempt that runs a script, forked from an interpreter that has imported `colorsys`."""
    job = JobLayout(folder / "job")
    files, token = job.attempt(1), os.urandom(16).hex()
    files.dir.mkdir(parents=True)
    path = folder / "script.py"
    path.write_text(script)
    env = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PARALLEL_ML_RUN": "r",
        "PARALLEL_ML_JOB": "a",
        "PARALLEL_ML_JOB_DIR": str(job.dir),
        sweep.TOKEN_VARIABLE: token,
    }
    argv = [sys.executable, str(path), *words]
    origin = origin_of(sys.executable, ("colorsys",), env) if warm else None
    plan = {
        "v": 1,
        "token": token,
        "process_id": 0,
        "attempt": 1,
        "argv": argv,
        "cwd": str(folder),
        "grace_s": 5.0,
        "log": str(job.log),
        "metrics": str(job.metrics),
        "result": None,
        "image": origin.key if origin else None,
        "entry": entry_of(argv),
        **more,
    }
    backend.start(Launch("a", 1, files, plan, env, origin))
    return files


def news(backend: LocalBackend, kind: type[Stimulus]) -> Stimulus:
    """Return the next news of a kind."""
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        for found in backend.poll():
            if isinstance(found, kind):
                return found
        backend.wait(0.05)
    raise AssertionError(kind)


def log_of(files: AttemptLayout) -> str:
    """Return the texts of a job's log."""
    lines = (files.dir.parent / "log.jsonl").read_text().splitlines()
    return "\n".join(json.loads(line)["message"] for line in lines)


def test_a_forked_program_finds_what_a_cold_one_finds(backend: LocalBackend, tmp_path: Path) -> None:
    """Its arguments, paths, names, signals, open files, threads, environment, hashes; and how /proc shows it."""
    told = {}
    for warm in (True, False):
        folder = tmp_path / str(warm)
        folder.mkdir()
        files = start(backend, folder, ABOUT, "out.json", "--x", warm=warm)
        ended = news(backend, Ended)
        assert isinstance(ended, Ended)
        assert ended.facts.code == 0, log_of(files)
        assert ("started warm" in log_of(files)) is warm
        text = (folder / "out.json").read_text().replace(str(folder), "FOLDER")
        told[warm] = json.loads(text)
    assert told[True] == told[False]
    assert noted == []


@pytest.mark.parametrize(
    ("script", "code", "signalled"),
    [
        ("raise SystemExit", 0, None),
        ("raise SystemExit(7)", 7, None),
        ("import sys; sys.exit('no data')", 1, None),
        ("def f():\n    1 / 0\nf()", 1, None),
        ("import os; os._exit(3)", 3, None),
        ("raise KeyboardInterrupt", None, signal.SIGINT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", None, signal.SIGSEGV),
        ("import atexit; atexit.register(print, 'bye'); print('hi')", 0, None),
        ("import threading; threading.Timer(0.1, print, ['late']).start()", 0, None),
        ("x = (", 1, None),
    ],
)
def test_it_ends_and_complains_as_a_cold_one_does(
    backend: LocalBackend, tmp_path: Path, script: str, code: int | None, signalled: int | None
) -> None:
    """Exit code, signal, what is printed, the whole traceback."""
    said = {}
    for warm in (True, False):
        folder = tmp_path / str(warm)
        folder.mkdir()
        files = start(backend, folder, script, warm=warm)
        ended = news(backend, Ended)
        assert isinstance(ended, Ended)
        assert (ended.facts.code, ended.facts.signal) == (code, signalled), log_of(files)
        lines = log_of(files).replace(str(folder), "FOLDER").splitlines()
        said[warm] = [line for line in lines if not line.startswith("attempt 1 ")]
    assert said[True] == said[False]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(99,), daemon=True).start()", "1 threads"),
        ("raise OSError('no licence')", "OSError: no licence"),
        ("import os; os._exit(3)", "ended while it was loading"),
    ],
)
def test_what_cannot_be_forked_starts_cold(backend: LocalBackend, tmp_path: Path, text: str, reason: str) -> None:
    """A package that starts threads, or fails, at its import: the job runs as ever, and it is said why."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "odd_package.py").write_text(text)
    env = {**os.environ, "PYTHONPATH": str(folder)}
    origin = origin_of(sys.executable, ("odd_package",), env)
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        files = start_from(backend, tmp_path / str(number), origin, env)
        ended = news(backend, Ended)
        assert isinstance(ended, Ended)
        assert ended.facts.code == 0, log_of(files)
        assert "started warm" not in log_of(files)
    assert len(noted) == 1
    assert reason in noted[0]


def start_from(backend: LocalBackend, folder: Path, origin: Origin, env: dict[str, str]) -> AttemptLayout:
    """Start a script that prints, from an origin."""
    job = JobLayout(folder / "job")
    files, token = job.attempt(1), os.urandom(16).hex()
    files.dir.mkdir(parents=True)
    (folder / "script.py").write_text("print('hello')")
    argv = [sys.executable, str(folder / "script.py")]
    plan = {
        "v": 1,
        "token": token,
        "process_id": 0,
        "attempt": 1,
        "argv": argv,
        "cwd": str(folder),
        "grace_s": 5.0,
        "log": str(job.log),
        "metrics": str(job.metrics),
        "result": None,
        "image": origin.key,
        "entry": entry_of(argv),
    }
    backend.start(Launch("a", 1, files, plan, {**env, sweep.TOKEN_VARIABLE: token}, origin))
    return files


def test_a_forked_job_that_does_not_begin_is_started_cold(backend: LocalBackend, tmp_path: Path) -> None:
    """It is killed and started anew by itself, within the same attempt; the image is used no more."""
    script = "import sys, time\nprint('here')\ntime.sleep(99 if 'colorsys' in sys.modules else 0)\nprint('done')"
    files = start(backend, tmp_path, script, heartbeat_s=0.5)
    began = news(backend, Started)
    ended = news(backend, Ended)
    assert isinstance(began, Started)
    assert isinstance(ended, Ended)
    assert (ended.facts.code, ended.facts.signal) == (0, None)
    assert log_of(files).count("here") == 2
    assert "is started anew, cold" in log_of(files)
    again = tmp_path / "again"
    again.mkdir()
    files = start(backend, again, "print('x')")
    news(backend, Ended)
    assert "started warm" not in log_of(files)
    assert "hung" in noted[0]


def test_nothing_of_a_forked_job_outlives_its_shim(backend: LocalBackend, tmp_path: Path) -> None:
    """Its workers neither, which were forked without another program and left its session."""
    script = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("worker", os.getpid(), flush=True)
    time.sleep(99)
time.sleep(99)
"""
    files = start(backend, tmp_path, script)
    news(backend, Started)
    until(lambda: "worker" in log_of(files), "the worker")
    token = json.loads(files.start.read_text())["token"]
    assert len(sweep.carriers(token)) == 4
    shim = read_guards(files).shim
    assert shim is not None
    os.kill(shim.pid, signal.SIGKILL)
    ended = news(backend, Ended)
    assert isinstance(ended, Ended)
    assert ended.facts.lost
    assert sweep.carriers(token) == []


def test_an_image_that_dies_costs_no_job_anything(backend: LocalBackend, tmp_path: Path) -> None:
    """What it has forked goes on; the next job gets a new one."""
    first = start(backend, tmp_path, "import time; time.sleep(0.5)")
    news(backend, Started)
    shim = read_guards(first).shim
    assert shim is not None
    image = int(Path(f"/proc/{shim.pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    os.kill(image, signal.SIGKILL)
    ended = news(backend, Ended)
    assert isinstance(ended, Ended)
    assert ended.facts.code == 0
    again = tmp_path / "again"
    again.mkdir()
    files = start(backend, again, "print('x')")
    ended = news(backend, Ended)
    assert isinstance(ended, Ended)
    assert ended.facts.code == 0
    assert "started warm" in log_of(files)


def images() -> list[int]:
    """Return the images of this test: its home stands in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environ = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"parallel-ml-image" in command and os.environb[b"HOME"] in environ:
            found.append(int(folder.name))
    return found


def test_an_image_that_is_kept_serves_the_next_run_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as was said; one that is not kept ends with its supervisor."""
    monkeypatch.setenv("PARALLEL_ML_IMAGES", str(tmp_path / "i"))
    for number, kept in enumerate((0.0, 30.0, 0.0)):
        (tmp_path / str(number)).mkdir()
        backend = LocalBackend(tmp_path / "shim.log", warm=kept or True)
        before = images()
        files = start(backend, tmp_path / str(number), "print('x')")
        news(backend, Ended)
        backend.close()
        assert "started warm" in log_of(files)
        if number == 1:
            until(lambda: len(images()) == 1, "the image that is kept")
        elif number == 0:
            until(lambda: images() == [], "the end of the image")
        else:
            assert images() == before
    (socket,) = (tmp_path / "i").iterdir()
    assert socket.stat().st_mode & 0o077 == 0
    socket.unlink()
    (left,) = images()
    os.kill(left, signal.SIGTERM)
    until(lambda: images() == [], "its end")


def test_a_folder_that_others_may_enter_keeps_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever could put a socket there could run programs as this user."""
    monkeypatch.setenv("PARALLEL_ML_IMAGES", str(tmp_path / "i"))
    (tmp_path / "i").mkdir(mode=0o777)
    (tmp_path / "i").chmod(0o777)
    backend = LocalBackend(tmp_path / "shim.log", warm=30.0)
    start(backend, tmp_path, "print('x')")
    news(backend, Ended)
    backend.close()
    assert list((tmp_path / "i").iterdir()) == []
    until(lambda: images() == [], "the end of the image")


def test_an_own_program_says_what_it_is_forked_with(
    write: Callable[..., Path], executor: Callable[..., ParallelMLExecutor], tmp_path: Path
) -> None:
    """`warm: [package]` beside `command`; the job's process is a fork, its metrics and its code are as ever."""
    (tmp_path / "train.py").write_text("import sys\nprint('colorsys' in sys.modules, sys.argv[1:], __name__)\n")
    command = ["python", "train.py", "--lr", "1"]
    run = executor(write("a", command, warm=["colorsys"]), write("b", command, warm=False))
    notes: list[MonitorEvent] = []
    run.subscribe(notes.append, EventKind.NOTE)
    assert [result.state for result in run.run_parallel()] == ["completed"] * 2
    said = {name: layout_of(run).job(name).log.read_text() for name in "ab"}
    assert "True ['--lr', '1'] __main__" in said["a"]
    assert "False ['--lr', '1'] __main__" in said["b"]
    assert notes == [note for note in notes if "cold" not in note.data["text"]]


def test_a_second_job_costs_no_second_import(tmp_path: Path) -> None:
    """Two jobs of one run are forked from the same image: the package is imported once."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "slow_package.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write('x')")
    env = {**os.environ, "PYTHONPATH": str(folder)}
    origin = origin_of(sys.executable, ("slow_package",), env)
    backend = LocalBackend(tmp_path / "shim.log")
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        start_from(backend, tmp_path / str(number), origin, env)
        news(backend, Ended)
    backend.close()
    assert (tmp_path / "imported").read_text() == "x"


def test_an_image_shows_nobody_the_environment_of_jobs(backend: LocalBackend, tmp_path: Path) -> None:
    """A secret that a job has in its environment is not in that of the image, which others share."""
    os.environ["SOME_NAME"] = "s3cr3t"
    try:
        start(backend, tmp_path, "print('x')")
    finally:
        del os.environ["SOME_NAME"]
    until(lambda: len(images()) == 1, "the image")
    assert b"s3cr3t" not in Path(f"/proc/{images()[0]}/environ").read_bytes()
    news(backend, Ended)
