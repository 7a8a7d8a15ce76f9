"""What this machine offers, and what to do about what is missing. What is installed: `installed.py`.

Nothing is kept of what is tried here: files are made in a hidden folder beside the runs and removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from parallel_ml.core.recovery import ExitFacts
from parallel_ml.core.stimuli import Command, Ended
from parallel_ml.core.units import GIB, MIB, format_duration, format_size
from parallel_ml.errors import BackendError, ParallelMLError, StoreError
from parallel_ml.gpu.host import usable_cores, usable_memory_bytes
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.gpu.registry import Registry, default_folder
from parallel_ml.runtime.backend import Launch
from parallel_ml.runtime.finding import Finding
from parallel_ml.runtime.installed import gpu_findings, package_findings, python_finding, version
from parallel_ml.runtime.local import LocalBackend
from parallel_ml.runtime.sweep import TOKEN_VARIABLE
from parallel_ml.store.files import free_bytes
from parallel_ml.store.layout import JobLayout

LITTLE_DISK_BYTES = 5 * GIB
NO_DISK_BYTES = 200 * MIB
LITTLE_SHM_BYTES = GIB
"""PyTorch's data loaders pass batches through it; a container has 64 MiB if nothing else is said."""
CLOCK_SKEW_S = 5.0
LONGEST_START_S = 15.0
"""A trivial attempt takes a tenth of a second."""
_EARLIEST = 1_704_067_200.0
"""2024-01-01: a clock before it was never set."""


def examine(runs: Path, gpus: GPUManager, environ: Mapping[str, str]) -> list[Finding]:
    """Look at everything that a run needs.

    Args:
        runs: The runs folder; it need not be there yet.
        gpus: The cards of this machine.
        environ: The environment.
    """
    cards = len(gpus.snapshot().devices)
    found = [python_finding(), *package_findings(cards=cards), *gpu_findings(gpus), _cores(), _memory()]
    return [*found, *_runs_folder(runs, environ), _shared_memory(), _leases(environ, cards=cards)]


def _cores() -> Finding:
    usable, built_in = usable_cores(), os.cpu_count() or 1
    less = f" of {built_in} (this process or its container is limited)" if usable < built_in else ""
    return Finding("cores", "ok", f"{usable}{less}")


def _memory() -> Finding:
    usable, built_in = usable_memory_bytes(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    less = f" of {format_size(built_in)} (the container is limited)" if usable < built_in else ""
    text, slots = f"{format_size(usable)}{less}", max(2, usable_cores() // 2)
    if usable < slots * GIB:
        advice = f"a training takes about 1GiB: run with --max-parallel {max(1, usable // GIB)}"
        return Finding("memory", "warning", f"{text} for {slots} jobs at a time", advice)
    return Finding("memory", "ok", text)


def _runs_folder(runs: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Try in the folder, or in the nearest one above it that is there, what a run does."""
    there = next(folder for folder in (runs, *runs.parents) if os.path.exists(folder))
    place = str(runs) if there == runs else f"{runs} (it will be made in {there})"
    advice = "choose another folder with --runs-dir or PARALLEL_ML_RUNS"
    try:
        trial = Path(tempfile.mkdtemp(prefix=".doctor-", suffix=".tmp", dir=there))
    except OSError as error:
        return [Finding("runs folder", "problem", f"{place} cannot be written: {error.strerror or error}", advice)]
    try:
        return [
            Finding("runs folder", "ok", f"{place} can be written"),
            _disk(there),
            _guarded("file locks", lambda: _locks(trial)),
            _guarded("clock", lambda: _clock(trial)),
            _guarded("job start", lambda: _start(trial, environ)),
        ]
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _guarded(name: str, look: Callable[[], Finding]) -> Finding:
    """Let what fails in an unforeseen way be a finding, so that the others are still told."""
    try:
        return look()
    except (OSError, ParallelMLError) as error:
        return Finding(name, "problem", str(error))


def _disk(folder: Path) -> Finding:
    free = free_bytes(folder)
    text = f"{format_size(free)} free for runs"
    advice = "make room, or choose another folder with --runs-dir; parallel-ml clean removes finished runs"
    if free < NO_DISK_BYTES:
        return Finding("disk", "problem", text, advice)
    return Finding("disk", "warning", text, advice) if free < LITTLE_DISK_BYTES else Finding("disk", "ok", text)


def _locks(folder: Path) -> Finding:
    """Try flock(2), which says who drives a run, and link(2), which says who guards an attempt."""
    advice = "put the runs on another disk with --runs-dir (a local one is best)"
    path = folder / "lock"
    with path.open("w", encoding="ascii") as one, path.open("w", encoding="ascii") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return Finding("file locks", "problem", f"do not work here: {error.strerror}", advice)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Finding("file locks", "problem", "keep nobody out here", advice)
    try:
        os.link(path, folder / "link")
    except OSError as error:
        return Finding("file locks", "problem", f"hard links do not work here: {error.strerror}", advice)
    return Finding("file locks", "ok", "work where the runs are")


def _clock(folder: Path) -> Finding:
    path = folder / "now"
    path.touch()
    now, stamped = time.time(), path.stat().st_mtime
    if now < _EARLIEST:
        text = f"says {time.strftime('%Y-%m-%d', time.gmtime(now))}"
        return Finding("clock", "problem", text, "set it: runs are named and sorted by time")
    if abs(now - stamped) > CLOCK_SKEW_S:
        text = f"differs by {format_duration(abs(now - stamped))} from the clock of the disk where the runs are"
        return Finding("clock", "warning", text, "synchronise both machines (NTP)")
    return Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))


def _start(folder: Path, environ: Mapping[str, str]) -> Finding:
    """Let a shim guard a trivial program, as every job is guarded."""
    begun = time.monotonic()
    job = JobLayout(folder / "job")
    facts = _run_trivial(job, environ)
    took = format_duration(time.monotonic() - begun)
    said = job.log.read_text(encoding="utf-8", errors="replace") if job.log.exists() else ""
    complaint = (folder / "shim.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if facts is not None and facts.code == 0 and "ready" in said:
        return Finding("job start", "ok", f"a guarded process was started, logged and ended in {took}")
    if facts is None:
        return Finding(
            "job start", "problem", f"a guarded process did not end within {format_duration(LONGEST_START_S)}"
        )
    why = facts.spawn_error or facts.error or (f"exit code {facts.code}" if facts.code else "nothing of it was logged")
    return Finding("job start", "problem", f"a guarded process failed: {complaint[-1] if complaint else why}")


def _run_trivial(job: JobLayout, environ: Mapping[str, str]) -> ExitFacts | None:
    """Return how a program that prints a word ended; None where it does not."""
    files, token = job.attempt(1), secrets.token_hex(16)
    files.dir.mkdir(parents=True)
    plan = {
        "v": 1,
        "token": token,
        "process_id": 0,
        "attempt": 1,
        "argv": [sys.executable, "-IS", "-c", "print('ready')"],
        "cwd": str(job.dir),
        "grace_s": 1.0,
        "log": str(job.log),
        "metrics": str(job.metrics),
        "result": None,
    }
    backend = LocalBackend(job.dir.parent / "shim.log")
    try:
        backend.start(Launch("doctor", 1, files, plan, {**environ, TOKEN_VARIABLE: token}))
        give_up_at, killed = time.monotonic() + LONGEST_START_S, False
        while True:
            ends = [news.facts for news in backend.poll() if isinstance(news, Ended)]
            if ends:
                return None if killed else ends[0]
            if time.monotonic() > give_up_at:
                if killed:
                    return None
                backend.tell("doctor", Command.KILL)
                give_up_at, killed = time.monotonic() + LONGEST_START_S, True
            backend.wait(0.1)
    except BackendError as error:
        return ExitFacts(spawn_error=error.reason)
    finally:
        backend.close()


def _shared_memory(folder: Path = Path("/dev/shm")) -> Finding:  # noqa: S108 - nothing is made there
    try:
        found = os.statvfs(folder)
    except OSError:
        return Finding("shared memory", "warning", f"there is no {folder}", "PyTorch's data loaders need it")
    size = found.f_blocks * found.f_frsize
    text = f"{format_size(size)} in {folder}"
    if size < LITTLE_SHM_BYTES and version("torch") is not None:
        advice = "PyTorch's data loaders need more; start the container with --shm-size 2g"
        return Finding("shared memory", "warning", text, advice)
    return Finding("shared memory", "ok", text)


def _leases(environ: Mapping[str, str], *, cards: int) -> Finding:
    """Try the folder by which runs share cards; it is of no use without one."""
    folder = default_folder(environ)
    try:
        with Registry(folder).locked():
            return Finding("leases", "ok", f"runs share cards by {folder}")
    except StoreError as error:
        return Finding("leases", "problem" if cards else "warning", str(error))
