"""Removing finished runs, and what crashes left of runs that were being made or removed.

A run that is not finished, or that somebody drives, is never touched. A run that goes is renamed to a hidden name
first, so that nobody ever sees half of one; what a crash leaves of it under that name goes with the next cleaning.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parallel_ml.errors import RunLocked, StoreError, UsageError
from parallel_ml.store.files import is_locked, store_errors, sync_dir
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.living import what_lives
from parallel_ml.store.orders import pending_orders
from parallel_ml.store.run_view import RunView
from parallel_ml.store.runs import RunsFolder

LEFTOVER_AGE_S = 3600.0
"""A hidden folder that nothing has happened to for so long belongs to no process that still works on it."""
_LOCK_PATIENCE_S = 0.5
"""A reader that looks whether the lock is held holds it for an instant itself."""
_HIDDEN = re.compile(r"\.[0-9]{8}-[0-9]{6}-[0-9a-f]+\.[0-9a-f]{8}\.(?:tmp|removed)")

_TEMPORARY = re.compile(
    r"\.*(?:state|history|result|log|metrics|resolved|start|shim|order|exit|provenance|samples|rates|alerts|report)"
    r"(?:\.(?:html|json|jsonl|md|yaml))?"
    r"(?:\.[a-z0-9_]+\.tmp)+"
)
_TEMPORARY_OF_A_SUPERVISOR = re.compile(
    r"\.(?:state|history|resolved|start|order|provenance|samples|rates|alerts)\.(?:json|jsonl|yaml)\.[a-z0-9_]+\.tmp"
)
"""None that a shim or a training writes, which may live while nobody drives the run."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that may be removed.

    Attributes:
        ended_at: When its last event was written, in seconds since the epoch.
        size_bytes: What its folder takes on the disk.
    """

    layout: RunLayout
    name: str
    state: str
    ended_at: float
    size_bytes: int

    @property
    def run(self) -> str:
        """Its id."""
        return self.layout.dir.name


@dataclass(frozen=True)
class Criteria:
    """Which finished runs go. None is no criterion.

    Attributes:
        older_than_s: Those that ended longer ago than this.
        keep: All but the newest so many; beside another criterion these stay, whatever that says.
        max_bytes: The oldest, until all runs together take no more than this.
    """

    older_than_s: float | None = None
    keep: int | None = None
    max_bytes: int | None = None


def finished_runs(layouts: Iterable[RunLayout]) -> tuple[list[FinishedRun], list[RunLayout]]:
    """Return the finished runs that nobody drives, and all others; those that cannot be read are among these."""
    finished, others = [], []
    for layout in layouts:
        try:
            finished.append(finished_run(layout))
        except (StoreError, UsageError):
            others.append(layout)
    return finished, others


def finished_run(layout: RunLayout) -> FinishedRun:
    """Return a run that may be removed.

    Raises:
        UsageError: It is not finished, or somebody drives it.
        StoreError: It cannot be read.
    """
    view = RunView(layout)
    state = view.state
    if is_locked(layout.lock):
        raise UsageError(f"run {layout.dir.name} is driven by a supervisor", "it cannot be removed now")
    if not state.finished:
        raise UsageError(f"run {layout.dir.name} is not finished", f"end it first: parallel-ml stop {layout.dir.name}")
    return FinishedRun(layout, state.name, state.word, state.as_of, size_bytes(layout.dir))


def removable_run(layout: RunLayout) -> FinishedRun:
    """Return a run that may be removed as somebody names it: a finished one, or one that cannot be read.

    Raises:
        UsageError: It is not finished, somebody drives it, or it cannot be read and something of it may still run.
        StoreError: Nobody can tell whether something of it runs.
    """
    try:
        return finished_run(layout)
    except StoreError:
        if is_locked(layout.lock):
            raise UsageError(f"run {layout.dir.name} is driven by a supervisor", "it cannot be removed now") from None
        _refuse_what_lives(layout)
        return FinishedRun(layout, "", "unreadable", os.stat(layout.dir).st_mtime, size_bytes(layout.dir))


def _refuse_what_lives(layout: RunLayout) -> None:
    if lives := what_lives(layout):
        raise UsageError(f"run {layout.dir.name} cannot be read, and {lives}", "end that first")


def choose(runs: Sequence[FinishedRun], criteria: Criteria, now: float, other_bytes: int = 0) -> list[FinishedRun]:
    """Return the runs that go by the criteria, oldest first.

    Args:
        runs: The finished ones.
        criteria: Which of them go.
        now: Seconds since the epoch.
        other_bytes: What the runs take that cannot go.
    """
    oldest_first = sorted(runs, key=lambda run: run.run)
    free_to_go = oldest_first[: max(0, len(oldest_first) - (criteria.keep or 0))]
    if criteria.older_than_s is None and criteria.max_bytes is None:
        return free_to_go if criteria.keep is not None else []
    going: list[FinishedRun] = []
    if criteria.older_than_s is not None:
        going = [run for run in free_to_go if now - run.ended_at > criteria.older_than_s]
    if criteria.max_bytes is not None:
        left = other_bytes + sum(run.size_bytes for run in oldest_first if run not in going)
        for run in free_to_go:
            if left > criteria.max_bytes and run not in going:
                going.append(run)
                left -= run.size_bytes
    return sorted(going, key=lambda run: run.run)


def remove_run(layout: RunLayout) -> None:
    """Remove a run, looking once more, under its lock, whether it may go.

    Raises:
        UsageError: It is not finished, or cannot be read and something of it may still run.
        RunLocked: Somebody drives it.
        StoreError: It could not be removed, or not wholly: then what is left has a hidden name.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - 31 ms that `clean --dry-run` does not spend

    if layout.dir.is_symlink():
        raise StoreError(layout.dir, "removing run", "it is a link; remove it by hand")
    lock = FileLock(layout.lock)
    with store_errors(layout.lock, "locking"):
        try:
            lock.acquire(timeout=_LOCK_PATIENCE_S, poll_interval=0.01)
        except Timeout:
            raise RunLocked(layout.lock) from None
    try:
        try:
            finished = RunView(layout).state.finished and not pending_orders(layout)
        except StoreError:
            finished = True
            _refuse_what_lives(layout)
        if not finished:
            raise UsageError(f"run {layout.dir.name} is not finished any more")
        hidden = layout.dir.with_name(f".{layout.dir.name}.{secrets.token_hex(4)}.removed")
        with store_errors(layout.dir, "removing run"):
            os.rename(layout.dir, hidden)
    finally:
        lock.release()
    sync_dir(layout.dir.parent)
    with store_errors(hidden, "removing run"):
        shutil.rmtree(hidden)


def leftovers(folder: RunsFolder, now: float) -> list[Path]:
    """Return what is left of runs whose making or removing was cut short, at least an hour ago."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder.path):
            if _HIDDEN.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                times = entry.stat(follow_symlinks=False)
                # Renaming changes the one, a new file in it the other.
                if now - max(times.st_mtime, times.st_ctime) > LEFTOVER_AGE_S:
                    found.append(folder.path / entry.name)
    return sorted(found)


def remove_leftover(path: Path) -> None:
    """Remove what `leftovers` found.

    Raises:
        StoreError: It could not be removed.
    """
    with store_errors(path, "removing"):
        shutil.rmtree(path)


def remove_temporaries(layout: RunLayout, *, of_supervisors: bool = False) -> None:
    """Remove the half-written files that killed processes left in a run; its jobs' own files stay.

    Args:
        layout: A finished run.
        of_supervisors: Remove only what supervisors write; then jobs may run. Call it with the run's lock held.
    """
    pattern = _TEMPORARY_OF_A_SUPERVISOR if of_supervisors else _TEMPORARY
    attempts = layout.dir.glob("jobs/*/attempt-*")
    for folder in [layout.dir, *layout.dir.glob("jobs/*"), *attempts]:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                if pattern.fullmatch(name):
                    os.unlink(folder / name)


def size_bytes(path: Path) -> int:
    """Return what a folder takes on the disk; what cannot be read counts nothing."""
    total, folders = 0, [str(path)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return total
