"""The writer of a run: makes its directory, holds its lock, appends its events, keeps the state and its cache."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from parallel_ml.core.events import Event, JobEvent, Record, RunCreated, SupervisorStarted
from parallel_ml.core.index import JobIndex
from parallel_ml.core.model import RunState
from parallel_ml.core.state import fold
from parallel_ml.errors import RunLocked, StoreError
from parallel_ml.store.files import make_dir, read_json, store_errors, sync_dir, write_json, write_whole
from parallel_ml.store.journal import Journal
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.lock import Lock
from parallel_ml.store.new_files import write_new
from parallel_ml.store.state_cache import JobTexts, cache_text

LOCK_PATIENCE_S = 0.5
"""A reader that looks whether the lock is held holds it for an instant itself."""
SNAPSHOT_EVERY_S = 1.0
SNAPSHOT_SHARE = 20.0
"""A snapshot that took t seconds is not written again before 20 t: it may cost 5 % of a core at the most, beside the
encoding of what has changed."""

MOST_TOLD = 2000
"""Finished jobs whose files are read for one snapshot, at 0.1 ms each; the others' turn comes with the next ones."""


def new_run_id(now: float) -> str:
    """Return an id that sorts by time: `20260101-120000-3fa9`, in UTC; at the end the second's fraction."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{int(now % 1 * 65536):04x}"


def stage_run(layout: RunLayout) -> RunLayout:
    """Return where a run is made until it is whole: under a hidden name, which is no run to anybody. Nothing is made.

    Raises:
        StoreError: The run is there already.
    """
    if layout.dir.exists():
        raise StoreError(layout.dir, "making run", "it exists already")
    return RunLayout(layout.dir.with_name(f".{layout.dir.name}.{secrets.token_hex(4)}.tmp"))


def create_run(
    layout: RunLayout,
    created: RunCreated,
    plan: Mapping[str, Any],
    sources: Mapping[str, str],
    now: float,
    staged: RunLayout | None = None,
) -> None:
    """Make the directory of a new run with everything that a supervisor needs to drive it.

    It is made under another name and renamed, so that nobody ever sees half a run.

    Args:
        layout: Where; the folder must not exist.
        created: The first event.
        plan: What `run.json` says.
        sources: Each job's configuration as text, by the job's name. They may name secrets' variables, never secrets.
        now: Seconds since the epoch.
        staged: Where something of the run was put already, by `stage_run`; it goes should this fail.

    Raises:
        StoreError: Something could not be written.
    """
    hidden = staged or stage_run(layout)
    try:
        _fill(hidden, created, plan, sources, now)
        with store_errors(layout.dir, "making run"):
            os.rename(hidden.dir, layout.dir)
    except BaseException:
        shutil.rmtree(hidden.dir, ignore_errors=True)
        raise
    sync_dir(layout.dir.parent)


def _fill(
    layout: RunLayout, created: RunCreated, plan: Mapping[str, Any], sources: Mapping[str, str], now: float
) -> None:
    make_dir(layout.orders_done)
    for name in sources:
        make_dir(layout.job(name).checkpoints)
    write_new([(layout.job(name).source, text.encode()) for name, text in sources.items()], mode=0o600)
    write_json(layout.plan, plan)
    journal = Journal(layout.events)
    try:
        journal.append(journal.number([created], now))
    finally:
        journal.close()


class RunStore:
    """The one writer of a run's events and state.

    Attributes:
        state: What all events so far add up to, those that are not on disk yet included.
        index: Its jobs, sorted by what is asked of them at each turn.
    """

    def __init__(self, layout: RunLayout) -> None:
        """Take the run's lock and read its events.

        Raises:
            RunLocked: Another supervisor drives the run.
            StoreError: The run cannot be read.
        """
        self.layout = layout
        self._check()
        self._lock = Lock(layout.lock, LOCK_PATIENCE_S)
        try:
            self._lock.acquire()
        except BlockingIOError:
            raise RunLocked(layout.lock) from None
        except OSError as error:
            raise StoreError(layout.lock, "locking", error.strerror or str(error)) from error
        try:
            self._check()
            self.state = RunState()
            self._journal = Journal(layout.events, lambda record: fold(self.state, record))
            self._drop_cache_of_what_was_cut()
        except BaseException:
            self._lock.release()
            raise
        self.index = JobIndex(self.state)
        self._unwritten: list[Record] = []
        self._texts: dict[str, JobTexts] = {}
        """Each job as JSON, for the cache; those that have changed since are not in here."""
        self._snapshot_due = 0.0
        self._snapshot_seq = 0

    def _drop_cache_of_what_was_cut(self) -> None:
        """Remove a `state.json` that knows more than the log, before the log grows past the place where that ended."""
        cached = read_json(self.layout.state)
        offset = cached.get("offset") if isinstance(cached, dict) else None
        if not isinstance(offset, int) or offset > self._journal.end:
            with store_errors(self.layout.state, "removing"):
                self.layout.state.unlink(missing_ok=True)

    def _check(self) -> None:
        """Refuse to make a run anew that somebody has removed."""
        if not os.path.exists(self.layout.events):
            raise StoreError(self.layout.dir, "opening run", "there is no run here")

    def add(self, events: Sequence[Event], now: float) -> list[Record]:
        """Number the events of one decision and take them into the state; `flush` makes them durable."""
        records = self._journal.number(events, now, together=True)
        for record in records:
            fold(self.state, record)
            self.index.take(record.event)
            if isinstance(record.event, JobEvent):
                self._texts.pop(record.event.job, None)
            elif isinstance(record.event, SupervisorStarted):  # which may move the times of all
                self._texts.clear()
        self._unwritten += records
        return records

    def flush(self) -> None:
        """Write what was added, with one fsync.

        Raises:
            StoreError: It could not be written (a full disk, say). Nothing is lost: the next flush tries again.
        """
        self._journal.append(self._unwritten)
        self._unwritten.clear()

    def snapshot(self, steady_now: float, *, at_once: bool = False) -> None:
        """Write the cache `state.json` when it is due. A failure is let be: it is a cache.

        Args:
            steady_now: Seconds of a clock that never jumps.
            at_once: Write now if anything is new.
        """
        if self._unwritten or self._snapshot_seq == self.state.seq:
            return
        if steady_now < self._snapshot_due and not at_once:
            return
        self._encode_changed()
        begun = time.perf_counter()
        try:
            write_whole(
                self.layout.state, cache_text(self.state, self._journal.end, self._texts).encode(), durable=False
            )
            self._snapshot_seq = self.state.seq
        except StoreError:
            pass
        cost_s = time.perf_counter() - begun
        self._snapshot_due = steady_now + max(SNAPSHOT_EVERY_S, SNAPSHOT_SHARE * cost_s)

    def _encode_changed(self) -> None:
        """Encode the jobs that have changed, and no others: there may be many thousands."""
        left = MOST_TOLD
        for name, job in self.state.jobs.items():
            text = self._texts.get(name)
            if text is None or (text.untold and left > 0):
                self._texts[name] = JobTexts(self.layout, job, tells=left > 0)
                left -= job.state.finished

    def close(self) -> None:
        """Let go of the run."""
        self._journal.close()
        self._lock.release()
