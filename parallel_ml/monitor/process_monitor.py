"""ProcessMonitor: collects what the jobs of a run print and report, and calls back for each event."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parallel_ml.core.outcome import StrEnum
from parallel_ml.errors import StoreError
from parallel_ml.monitor.follow import FileFollower, LogFollower, LogPlace, Place, parse_line
from parallel_ml.monitor.history import build_history
from parallel_ml.store.files import write_json
from parallel_ml.store.layout import JobLayout, RunLayout

HISTORY_EVERY_S = 2.0
_HISTORY_SHARE = 20.0
"""Those of all jobs together cost 5 % of a core at the most: each is written as a whole, and grows."""
_log = logging.getLogger("parallel_ml")


class EventKind(StrEnum):
    """What a monitor tells of."""

    RUN_STARTED = "run_started"
    JOB_STATE = "job_state"
    EPOCH = "epoch"
    LOG = "log"
    OUT_OF_MEMORY = "out_of_memory"
    ALERT = "alert"
    NOTE = "note"
    RUN_ENDED = "run_ended"


@dataclass(frozen=True)
class MonitorEvent:
    """Something that a person or a program may want to know at once.

    Attributes:
        kind: RUN_STARTED and RUN_ENDED (data: `run`, `dir`, `state`), JOB_STATE (data: `state`, `outcome`, `error`,
            `attempt`, `allocation`, `batch_size`, `accumulation`, `waiting`), EPOCH (data: a line of `metrics.jsonl`),
            OUT_OF_MEMORY (data: `text`, what is done about it; `attempt`, the one that it happened to; `batch_size` of
            the next one, or None as asked for), ALERT (data: `alert`, the rule; `news`: `firing`, `still_firing`,
            `resolved`, `unknown_metric`; `severity`, `text`, `epoch`, `values`, `action`, `id`), LOG (data: a line of
            `log.jsonl`; `progress` is true in what a line looks like that is drawn again and again), NOTE (data:
            `text`).
        job: The job's name; None for what concerns the whole run.
    """

    kind: EventKind
    job: str | None
    data: Mapping[str, Any]


Callback = Callable[[MonitorEvent], None]


@dataclass
class _Watched:
    """One job that is watched."""

    files: JobLayout
    metrics: FileFollower
    log: LogFollower
    points: list[dict[str, Any]] = field(default_factory=list)
    history_due: float | None = None
    history_cost_s: float = 0.0
    trouble: str = ""


class ProcessMonitor:
    """Follows the logs and metrics of a run's jobs, keeps `history.json`, and calls back.

    >>> monitor = ProcessMonitor("runs/20260101-120000-3fa9")                  # doctest: +SKIP
    >>> monitor.subscribe(lambda event: print(event.job, event.data), "epoch")  # doctest: +SKIP
    >>> monitor.watch("config1"); monitor.poll()                                # doctest: +SKIP

    A callback that raises is dropped, logged with its traceback (to standard error, where logging is not set up), and
    told by a NOTE to the others: watching must never hurt what is watched.
    """

    def __init__(self, run_dir: Path | str, *, keep_history: bool = False) -> None:
        """Watch the run in `run_dir`; nothing is read before `watch`.

        Args:
            run_dir: The run's directory.
            keep_history: Write `history.json`; only the run's supervisor may (one writer a file).
        """
        self._layout = RunLayout(Path(run_dir))
        self._keep_history = keep_history
        self._callbacks: list[tuple[EventKind | None, Callback]] = []
        self._watched: dict[str, _Watched] = {}
        self._settled: dict[str, _Watched] = {}
        """Jobs that are not followed and whose histories are not up to date yet."""
        self._left: dict[str, tuple[Place, LogPlace]] = {}
        """Where the others that were followed were left: of thousands, their metrics would fill the memory."""

    def subscribe(self, callback: Callback, kind: EventKind | str | None = None) -> None:
        """Call `callback` for each event of a kind, or of all kinds. Log lines are read only if somebody wants them."""
        self._callbacks.append((EventKind(kind) if kind is not None else None, callback))

    def watch(self, job: str) -> None:
        """Follow a job; one that was followed before goes on where that ended."""
        if job not in self._watched:
            self._watched[job] = self._settled.pop(job) if job in self._settled else self._begin(job)

    def unwatch(self, job: str) -> None:
        """Read what is left of a job, bring its history up to date, and follow it no longer."""
        if job in self._watched:
            while self._poll_job(job):
                pass
            self._settled[job] = self._watched.pop(job)
            self._settle(job)

    def poll(self, *, last: bool = False) -> None:
        """Read what came since the last call and call back for it. The `last` time every history is written."""
        for job in list(self._watched):
            self._poll_job(job)
        for watched in self._watched.values():
            if _is_due(watched, last=last):
                self._write_history(watched, durable=last)
        for job in [job for job, watched in self._settled.items() if _is_due(watched, last=last)]:
            self._settle(job)

    def emit(self, event: MonitorEvent) -> None:
        """Call back for an event."""
        notes = []
        for entry in list(self._callbacks):
            wanted, callback = entry
            if wanted is not None and wanted is not event.kind:
                continue
            try:
                callback(event)
            except Exception as error:  # noqa: BLE001 - protects the run from a user's callback
                self._callbacks.remove(entry)
                _log.warning("%r failed and is called no more", callback, exc_info=True)
                notes.append(f"a callback failed and is called no more: {type(error).__name__}: {error}")
        for text in notes:
            self.emit(MonitorEvent(EventKind.NOTE, event.job, {"text": text}))

    def _begin(self, job: str) -> _Watched:
        """Return a job to follow: from the beginning, or from where it was left."""
        files = self._layout.job(job)
        watched = _Watched(files, FileFollower(files.metrics), LogFollower(files.log, files.older_log))
        if job in self._left:
            watched.metrics.place, watched.log.place = self._left.pop(job)
            with contextlib.suppress(StoreError):
                watched.points = _points(watched.metrics.passed())
        return watched

    def _settle(self, job: str) -> None:
        """Bring the history of a job up to date that is not followed any more, and keep only where it was left."""
        watched = self._settled[job]
        self._write_history(watched, durable=bool(watched.points))
        if watched.history_due is None:
            if watched.metrics.begun or watched.log.begun:
                self._left[job] = watched.metrics.place, watched.log.place
            del self._settled[job]

    def _poll_job(self, job: str) -> bool:
        """Read once; return whether there was anything."""
        watched = self._watched[job]
        try:
            found = self._poll_metrics(job, watched)
            if any(kind in (None, EventKind.LOG) for kind, _ in self._callbacks):
                for line in (lines := watched.log.poll()):
                    if (record := parse_line(line)) is not None:
                        self.emit(MonitorEvent(EventKind.LOG, job, record))
                found = found or bool(lines)
        except StoreError as error:
            if str(error) != watched.trouble:  # told once, not at each look
                watched.trouble = str(error)
                self.emit(MonitorEvent(EventKind.NOTE, job, {"text": watched.trouble}))
            return False
        return found

    def _poll_metrics(self, job: str, watched: _Watched) -> bool:
        growth = watched.metrics.poll()
        points = _points(growth.lines)
        known = 0
        if growth.restarted:  # epochs are run again after a resume: tell only of what is new
            while known < min(len(points), len(watched.points)) and points[known] == watched.points[known]:
                known += 1
            watched.points = points[:known]
        watched.points += points[known:]
        for point in points[known:]:
            self.emit(MonitorEvent(EventKind.EPOCH, job, point))
        if (points or growth.restarted) and watched.history_due is None:
            pause_s = _HISTORY_SHARE * watched.history_cost_s * len(self._watched)
            watched.history_due = time.monotonic() + max(HISTORY_EVERY_S, pause_s)
        return bool(points)

    def _write_history(self, watched: _Watched, *, durable: bool) -> None:
        if not self._keep_history or (watched.history_due is None and os.path.exists(watched.files.history)):
            return
        watched.history_due, begun = None, time.monotonic()
        try:
            write_json(watched.files.history, build_history(watched.points), durable=durable)
            watched.history_cost_s = time.monotonic() - begun
        except StoreError:  # a full disk, say: it is derived from metrics.jsonl and is written again
            watched.history_due = time.monotonic() + HISTORY_EVERY_S


def _points(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    return [point for line in lines if (point := parse_line(line)) is not None]


def _is_due(watched: _Watched, *, last: bool) -> bool:
    return watched.history_due is not None and (last or time.monotonic() >= watched.history_due)
