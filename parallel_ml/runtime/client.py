"""RunClient: how another process sees a run and asks for something. Light: it reads files and drops orders."""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.core import events as ev
from parallel_ml.core.model import JobState
from parallel_ml.core.status import JobResult, RunStatus
from parallel_ml.core.story import told
from parallel_ml.errors import StoreError, UsageError
from parallel_ml.monitor.follow import CHUNK_BYTES, LogFollower, parse_line
from parallel_ml.monitor.history import job_result
from parallel_ml.store.files import last_lines
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.orders import Order, OrderKind, drop_order, new_order, pending_orders
from parallel_ml.store.run_view import RunView, iso
from parallel_ml.store.runs import find_run, run_layouts, runs_folder

__all__ = ["LogReader", "Order", "OrderReply", "RunClient", "list_runs"]

POLL_S = 0.05
LEAST_PIECE_BYTES, MOST_BYTES = 64 << 10, 16 << 20
"""The logs of a run are read in pieces: of each so much at least, and of all together no more where that allows it."""
UNREADABLE = "unreadable"
"""The state of a run of which nothing can be said."""
_PAUSABLE = frozenset({JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.PAUSING, JobState.RETRYING})
_RESUMABLE = frozenset({JobState.PAUSED, JobState.PAUSING})
_RETRIABLE = frozenset({JobState.FAILED, JobState.STOPPED})
_HINTS = {OrderKind.RESUME: "; retry brings a failed or stopped job back"}


_Timed = tuple[str, str, dict[str, Any]]
"""When a record is told, its job, and the record."""


@dataclass(frozen=True)
class OrderReply:
    """What became of an order: `done`, `rejected` (with the reason) or `unanswered`."""

    state: str
    reason: str | None = None


class RunClient:
    """One run, as seen from outside."""

    def __init__(self, run_dir: Path | str) -> None:
        """Look at the run in `run_dir`.

        Raises:
            StoreError: There is no run, or it cannot be read.
        """
        self._layout = RunLayout(Path(run_dir))
        self._view = RunView(self._layout)

    @classmethod
    def find(
        cls,
        run: str | None = None,
        *,
        runs_dir: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> RunClient:
        """Return the run that is meant; the newest where none is named.

        Raises:
            UsageError: There is none, or several fit.
        """
        environ = os.environ if environ is None else environ
        return cls(find_run(runs_folder(runs_dir, environ, cwd or Path.cwd()), run, environ).dir)

    @property
    def dir(self) -> Path:
        """The run's directory."""
        return self._layout.dir

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._view.state.run_id

    def status(self) -> RunStatus:
        """Return the run as it stands now."""
        self._view.refresh()
        return self._view.status()

    def trend(self, job: str, metric: str, epochs: int) -> list[float | None]:
        """Return a metric of a job's last epochs, oldest first; None where an epoch has no finite value.

        Raises:
            StoreError: The metrics are there and cannot be read.
        """
        points = map(parse_line, last_lines(self._layout.job(job).metrics, epochs))
        values = [point.get(metric) for point in points if point is not None]
        return [value if isinstance(value, (int, float)) else None for value in values]

    def results(self) -> list[JobResult]:
        """Return what has become of each job so far."""
        return [job_result(job) for job in self.status().jobs]

    def stop(self, job: str | None = None, *, at_once: bool = False) -> Order:
        """Ask for one job, or all, to be stopped, and return the order; `wait` tells what became of it.

        It is kept for the next supervisor where none lives; `ParallelMLExecutor.carry_out` is one for just this order.

        Raises:
            UsageError: There is no such job, or nothing to stop.
            StoreError: The order could not be written.
        """
        return self._ask(new_order(OrderKind.STOP, job, at_once=at_once), lambda state: not state.finished, "to stop")

    def pause(self, job: str | None = None, *, freeze: bool = False) -> Order:
        """Ask for one job, or all, to be paused: saved and ended, so that its GPU is free.

        An own program that can neither catch the signal nor asks `should_stop()` is held in memory instead.

        Args:
            job: The job; None is all.
            freeze: Hold it in memory in any case; the GPU's memory stays taken.

        Raises:
            UsageError, StoreError: As `stop`.
        """
        return self._ask(new_order(OrderKind.PAUSE, job, freeze=freeze), _PAUSABLE.__contains__, "to pause")

    def resume(self, job: str | None = None) -> Order:
        """Ask for one paused job, or all of them, to go on.

        Raises:
            UsageError, StoreError: As `stop`.
        """
        return self._ask(new_order(OrderKind.RESUME, job), _RESUMABLE.__contains__, "to resume")

    def retry(self, job: str | None = None) -> Order:
        """Ask for one failed or stopped job, or all of them, to be tried again, from its last checkpoint.

        Raises:
            UsageError, StoreError: As `stop`.
        """
        return self._ask(new_order(OrderKind.RETRY, job), _RETRIABLE.__contains__, "to retry")

    def _ask(self, order: Order, allowed: Callable[[JobState], bool], what: str) -> Order:
        self._view.refresh()
        state, name = self._view.state, order.job
        if name is not None and name not in state.jobs:
            raise UsageError(f"run {self.run_id} has no job {name}", f"its jobs: {_some(list(state.jobs))}")
        if name is not None and not allowed(state.jobs[name].state):
            if state.jobs[name].state.finished:
                raise UsageError(f"{name} is {state.jobs[name].state.word} already{_HINTS.get(order.kind, '')}")
            held = order.kind is OrderKind.PAUSE and state.jobs[name].frozen
            hint = f"to free its GPU: resume --job {name}, then pause it without --freeze" if held else ""
            raise UsageError(f"{name} is {state.jobs[name].state.word}: there is nothing {what}", hint)
        if not any(allowed(job.state) for job in state.jobs.values()):
            already = f"run {self.run_id} is {state.word}"
            raise UsageError(f"{already} already" if state.finished else f"{already}: there is nothing {what}")
        drop_order(self._layout, order)
        return order

    def can_resume(self) -> bool:
        """Return whether a job is paused, or about to be."""
        self._view.refresh()
        return any(job.state in _RESUMABLE for job in self._view.state.jobs.values())

    def at_rest(self) -> bool:
        """Return whether nothing is left to do: every job's end is on record, and no order waits for a supervisor."""
        self._view.refresh()
        return self._view.state.finished and not pending_orders(self._layout)

    def wait(self, order: Order, timeout_s: float) -> OrderReply:
        """Wait until an order is answered."""
        give_up_at = time.monotonic() + timeout_s
        offset = 0
        while True:
            records, offset = read_records(self._layout.events, offset)
            for record in records:
                event = record.event
                if isinstance(event, ev.CommandRejected) and event.order == order.id:
                    return OrderReply("rejected", event.reason)
                if isinstance(event, ev.OrderDone) and event.order == order.id:
                    return OrderReply("done")
            if time.monotonic() >= give_up_at:
                return OrderReply("unanswered")
            time.sleep(POLL_S)

    def follow_logs(self, jobs: Sequence[str] | None = None) -> LogReader:
        """Return a reader of the jobs' logs from their beginning; None is all jobs.

        Raises:
            UsageError: There is no such job.
        """
        known = list(self._view.state.jobs)
        for job in jobs or ():
            if job not in known:
                raise UsageError(f"run {self.run_id} has no job {job}", f"its jobs: {_some(known)}")
        return LogReader(self._layout, list(jobs) if jobs else known, self._view)


class LogReader:
    """Reads the logs of several jobs in the order of time, with what the supervisor has to say of them.

    The lines of one job come as they stand in its log, also where the clock was set back meanwhile. What is newer than
    the lines of a log that are still to be read waits for these: a call reads a piece of each log and no more.
    """

    def __init__(self, layout: RunLayout, jobs: Sequence[str], view: RunView) -> None:
        """Begin at the beginning."""
        files = {job: layout.job(job) for job in jobs}
        self._logs = {job: _ReadLog(job, LogFollower(files[job].log, files[job].older_log)) for job in jobs}
        self._piece_bytes = max(LEAST_PIECE_BYTES, min(CHUNK_BYTES, MOST_BYTES // max(1, len(jobs))))
        self._told: list[_Timed] = []
        self._events = layout.events
        self._offset = 0
        self._positions = {name: job.spec.position for name, job in view.state.jobs.items()}

    def poll(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what came since the last call: each record of `log.jsonl` with its job's name, oldest first.

        A large log comes in pieces: nothing is left for now when nothing is returned. Of a job that runs there are also
        records with `"progress": true`: what a line looked like that it draws again and again.
        """
        while True:
            # The events first: what a job printed before one of them is on the disk by then.
            self._read_events()
            for log in self._logs.values():
                log.read_on(self._piece_bytes)
            until = min((log.read_until for log in self._logs.values() if log.has_more), default=None)
            if (found := self._taken(until)) or until is None:
                return [(job, record) for _, job, record in found]

    def _taken(self, until: str | None) -> list[_Timed]:
        """Give out what is no newer than a time; None is all."""
        found = [entry for log in self._logs.values() for entry in log.take(until)]
        count = len(self._told) if until is None else bisect_right(self._told, until, key=_time)
        found += self._told[:count]
        del self._told[:count]
        return sorted(found, key=_time)

    def _read_events(self) -> None:
        records, self._offset = read_records(self._events, self._offset)
        for entry in records:
            event = entry.event
            if isinstance(event, ev.JobEvent) and event.job in self._logs and (text := told(event)):
                self._told.append((iso(entry.ts) or "", event.job, self._system_line(event.job, entry.ts, text)))
        if records:
            self._told.sort(key=_time)

    def _system_line(self, job: str, ts: float, text: str) -> dict[str, Any]:
        return {
            "timestamp": iso(ts),
            "process_id": self._positions.get(job),
            "pid": None,
            "message": text,
            "type": "system",
        }


class _ReadLog:
    """One job's log, and what was read of it and not given out yet."""

    def __init__(self, job: str, follower: LogFollower) -> None:
        self._job, self._follower = job, follower
        self._waiting: list[_Timed] = []
        self._begin = 0
        self.read_until = ""
        """The time of the newest line that was read."""

    @property
    def has_more(self) -> bool:
        """Whether lines are left in the file."""
        return not self._follower.caught_up

    def read_on(self, most_bytes: int) -> None:
        """Read the next piece where all of the last one was given out."""
        if self._begin < len(self._waiting):
            return
        self._waiting, self._begin = [], 0
        records = [record for line in self._follower.poll(most_bytes) if (record := parse_line(line)) is not None]
        if len(records) > 1 and "dropped" in records[0]:  # written when the lines behind it were there already
            records[0] = {**records[0], "timestamp": records[1].get("timestamp")}
        for record in records:
            self.read_until = max(self.read_until, str(record.get("timestamp", "")))
            self._waiting.append((self.read_until, self._job, record))

    def take(self, until: str | None) -> list[_Timed]:
        """Give out what is no newer than a time; None is all."""
        begin = self._begin
        self._begin = len(self._waiting) if until is None else bisect_right(self._waiting, until, lo=begin, key=_time)
        return self._waiting[begin : self._begin]


def _time(entry: _Timed) -> str:
    return entry[0]


def list_runs(
    runs_dir: str | Path | None = None, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> list[RunStatus]:
    """Return the runs of a folder (where none is chosen, of the per-user index as well), newest first.

    A run that cannot be read is in the list with the state `unreadable` and the reason in its notes.
    """
    environ = os.environ if environ is None else environ
    folder = runs_folder(runs_dir, environ, cwd or Path.cwd())
    return [_status_of(layout) for layout in run_layouts(folder, environ, damaged=True)]


def _status_of(layout: RunLayout) -> RunStatus:
    try:
        return RunView(layout).status()
    except StoreError as error:
        run, note = layout.dir.name, str(error)
        if not layout.events.exists():
            note = f"{layout.events} is missing; parallel-ml clean {run} removes what is left"
        return RunStatus(run, "", str(layout.dir), UNREADABLE, None, "gone", (), notes=(note,))


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
