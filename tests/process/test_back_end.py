"""The back end and the shim without a supervisor: what is dead, whose it was, and what a full disk does to them."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from parallel_ml.core.recovery import ExitFacts
from parallel_ml.core.stimuli import Command, Ended, Started, Stimulus
from parallel_ml.runtime import sweep
from parallel_ml.runtime.backend import AttemptRef, Launch
from parallel_ml.runtime.local import LocalBackend, _claim
from parallel_ml.store.attempts import is_guarded, read_guards
from parallel_ml.store.files import read_json, write_json
from parallel_ml.store.identity import identify, is_alive
from parallel_ml.store.layout import AttemptLayout, JobLayout
from tests.process.conftest import until

pytestmark = pytest.mark.process


@pytest.fixture(params=[True, False], ids=["warm", "cold"])
def backend(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LocalBackend]:
    """Return a back end without attempts, whose shims are forked from an image or are interpreters of their own."""
    made = LocalBackend(tmp_path / "shim.log", warm=request.param)
    yield made
    made.close()


def start(backend: LocalBackend, folder: Path, argv: list[str], grace_s: float = 5.0) -> AttemptLayout:
    """Start an attempt of job `a`."""
    job = JobLayout(folder / "job")
    files, token = job.attempt(1), os.urandom(16).hex()
    files.dir.mkdir(parents=True)
    plan = {
        "v": 1,
        "token": token,
        "process_id": 0,
        "attempt": 1,
        "argv": argv,
        "cwd": str(folder),
        "grace_s": grace_s,
        "log": str(job.log),
        "metrics": str(job.metrics),
        "result": None,
    }
    backend.start(Launch("a", 1, files, plan, {**os.environ, sweep.TOKEN_VARIABLE: token}))
    return files


def news(backend: LocalBackend, kind: type[Stimulus]) -> Stimulus:
    """Wait for news of a kind."""
    found: list[Stimulus] = []

    def looked() -> bool:
        backend.wait(0.05)
        found.extend(one for one in backend.poll() if isinstance(one, kind))
        return bool(found)

    until(looked, f"news: {kind.__name__}")
    return found[0]


def shim_of(files: AttemptLayout) -> int:
    """Return the number of the attempt's shim."""
    return int(read_json(files.shim)["shim"]["pid"])


def messages(files: AttemptLayout) -> list[str]:
    """Return what the job's log says."""
    log = files.dir.parent / "log.jsonl"
    return [json.loads(line)["message"] for line in log.read_text().splitlines()] if log.exists() else []


def test_a_shim_that_is_slow_to_leave_holds_up_nobody(tmp_path: Path) -> None:
    """It has said how its attempt ended; it is waited for later, and not forgotten."""
    backend = LocalBackend(tmp_path / "shim.log")
    files = start(backend, tmp_path, ["sleep", "60"])
    news(backend, Started)
    shim = shim_of(files)
    write_json(files.exit, {"v": 1, "code": 0})
    found: list[Stimulus] = []
    while not found:
        before = time.monotonic()
        found = backend.poll()
        assert time.monotonic() - before < 0.9
    assert isinstance(found[0], Ended)
    gc.collect()  # a child that is forgotten complains here
    os.kill(shim, signal.SIGTERM)
    backend.close()
    assert not Path(f"/proc/{shim}").exists()


def test_a_claim_of_a_supervisor_that_died_is_no_shim(backend: LocalBackend, tmp_path: Path) -> None:
    """No attempt was lost, and the session of that supervisor is nobody's to end."""
    files = JobLayout(tmp_path / "job").attempt(1)
    files.dir.mkdir(parents=True)
    write_json(files.start, {"token": "t" + os.urandom(8).hex()})
    read, write = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        os.setsid()
        os.write(write, str(subprocess.Popen(["sleep", "60"]).pid).encode())
        _claim(files)
        os.kill(os.getpid(), signal.SIGKILL)
    stranger = int(os.read(read, 20))
    os.waitpid(supervisor, 0)
    backend.adopt([AttemptRef("a", 1, files, started=False)])
    assert backend.poll() == [Ended("a", 1, ExitFacts(never_started=True))]
    assert identify(stranger) is not None
    os.kill(stranger, signal.SIGKILL)
    for handle in (read, write):
        os.close(handle)


def test_the_session_of_a_shim_that_nobody_waited_for_is_swept() -> None:
    """As in a container whose first process collects no corpses."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.write(write, str(subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"]}).pid).encode())
        time.sleep(60)
    worker = int(os.read(read, 20))
    shim = identify(pid)
    assert shim is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: is_alive(shim) is False, "the corpse")
    assert sweep.sweep(shim, "nobody's token")
    assert identify(worker) is None
    os.waitpid(pid, 0)
    for handle in (read, write):
        os.close(handle)


def test_what_cannot_be_killed_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hangs in the kernel: the next look is the next try."""
    held = subprocess.Popen(["sleep", "60"], env={**os.environ, sweep.TOKEN_VARIABLE: "a token"})
    until(lambda: sweep.carriers("a token"), "the process")
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", lambda *_: None)
        before = time.monotonic()
        assert not sweep.sweep(None, "a token")
        assert time.monotonic() - before < 1.0
    assert sweep.sweep(None, "a token")
    held.wait()


def test_a_stop_in_the_first_moment_stops(tmp_path: Path) -> None:
    """Signals that come before the shim has handlers wait for them."""
    for number in range(8):
        backend = LocalBackend(tmp_path / "shim.log")
        files = start(backend, tmp_path / str(number), ["sleep", "60"])
        while not files.shim.exists():
            backend.wait(0)
            backend.poll()
        backend.tell("a", Command.STOP)
        ended = news(backend, Ended)
        backend.close()
        assert isinstance(ended, Ended)
        assert (ended.facts.lost, ended.facts.asked) == (False, "stop")


def test_a_job_is_served_while_its_shim_cannot_write(backend: LocalBackend, tmp_path: Path) -> None:
    """Who guards it, and that it is held, is written as soon as that is possible; why it was not is said once."""
    files = start(backend, tmp_path, ["bash", "-c", "echo up; while [ ! -e go ]; do sleep 0.02; done; echo on"])
    news(backend, Started)
    shim = shim_of(files)
    files.shim.unlink()
    files.shim.mkdir()  # stands for a disk that is full: nothing can be put there
    for number, command in enumerate(("pause", "thaw")):
        write_json(files.order, {"command": command, "id": number})
        os.kill(shim, signal.SIGUSR1)
        said = {"pause": "held in memory: it cannot save and leave by itself", "thaw": "it goes on"}[command]
        until(lambda said=said: said in messages(files), said)  # type: ignore[misc]
    (tmp_path / "go").touch()
    until(lambda: "on" in messages(files), "the job's last line")
    with contextlib.suppress(OSError):
        files.shim.rmdir()
    until(files.exit.exists, "the end")
    complaints = (tmp_path / "shim.log").read_text()
    assert complaints.count("shim.json cannot be written") == 1


def test_who_guards_is_written_when_there_is_room_again(backend: LocalBackend, tmp_path: Path) -> None:
    """Not only at the next change."""
    files = start(backend, tmp_path, ["sleep", "60"])
    news(backend, Started)
    shim = shim_of(files)
    files.shim.unlink()
    files.shim.mkdir()
    write_json(files.order, {"command": "pause", "id": 1})
    os.kill(shim, signal.SIGUSR1)
    until(lambda: "shim.json cannot be written" in (tmp_path / "shim.log").read_text(), "the complaint")
    files.shim.rmdir()
    until(files.shim.is_file, "the file")
    assert (shim_of(files), read_guards(files).held) == (shim, 1)
    backend.tell("a", Command.KILL)
    news(backend, Ended)


def test_a_second_stop_starts_no_grace_anew() -> None:
    """Another supervisor that asks again, say."""
    code = (
        "from parallel_ml.runtime.shim.orders import Orders\n"
        "orders = Orders('/nowhere', {'grace_s': 9.0}, lambda: None)\n"
        "orders.stop(); first = orders.kill_at\n"
        "orders.stop(); print(orders.kill_at == first)\n"
        "orders.asked = 'pause'; orders.stop(); print(orders.kill_at > first)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_a_shim_in_another_container_is_told_by_its_lock(backend: LocalBackend, tmp_path: Path) -> None:
    """Its number means nothing here: it is neither signalled nor buried while it lives, and found dead when it is."""
    files = start(backend, tmp_path, ["sleep", "60"])
    news(backend, Started)
    shim = shim_of(files)
    guards = read_guards(files)
    assert guards.shim is not None
    elsewhere = replace(guards, shim=replace(guards.shim, namespace="pid:[1]"))
    assert is_alive(replace(guards.shim, namespace="pid:[1]")) is None
    assert is_guarded(files, elsewhere) is True
    backend.tell("a", Command.KILL)
    news(backend, Ended)
    until(lambda: identify(shim) is None, "the shim's end")
    assert is_guarded(files, elsewhere) is False
    assert is_guarded(files, replace(elsewhere, locked=False)) is None


def test_an_identity_of_an_older_version_is_compared_as_before() -> None:
    """It says nothing of a namespace."""
    me = identify()
    assert me is not None
    assert me.namespace
    assert is_alive(replace(me, namespace="")) is True
