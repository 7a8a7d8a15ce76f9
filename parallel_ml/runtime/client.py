"""RunClient: how another process sees a run and asks for something. Light: it reads files and drops orders."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.core import events as ev
from parallel_ml.core.status import RunStatus
from parallel_ml.errors import StoreError, UsageError
from parallel_ml.monitor.follow import LogFollower, parse_line
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.orders import Order, OrderKind, drop_order, new_order
from parallel_ml.store.run_view import RunView, iso
from parallel_ml.store.runs import find_run, run_layouts, runs_folder

__all__ = ["LogReader", "Order", "OrderReply", "RunClient", "list_runs"]

POLL_S = 0.05


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

    def stop(self, job: str | None = None, *, at_once: bool = False) -> Order:
        """Ask for one job, or all, to be stopped, and return the order; `wait` tells what became of it.

        It is kept for the next supervisor where none lives; `ParallelMLExecutor.carry_out` is one for just this order.

        Raises:
            UsageError: There is no such job, or nothing to stop.
            StoreError: The order could not be written.
        """
        self._view.refresh()
        state = self._view.state
        if job is not None and job not in state.jobs:
            raise UsageError(f"run {self.run_id} has no job {job}", f"its jobs: {_some(list(state.jobs))}")
        if job is not None and state.jobs[job].state.finished:
            raise UsageError(f"{job} is {state.jobs[job].state.word} already")
        if state.finished:
            raise UsageError(f"run {self.run_id} is {state.word} already")
        order = new_order(OrderKind.STOP, job, at_once=at_once)
        drop_order(self._layout, order)
        return order

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

    The lines of one job come as they stand in its log, also where the clock was set back meanwhile.
    """

    def __init__(self, layout: RunLayout, jobs: Sequence[str], view: RunView) -> None:
        """Begin at the beginning."""
        files = {job: layout.job(job) for job in jobs}
        self._followers = {job: LogFollower(files[job].log, files[job].older_log) for job in jobs}
        self._newest = dict.fromkeys(jobs, "")
        self._events = layout.events
        self._offset = 0
        self._positions = {name: job.spec.position for name, job in view.state.jobs.items()}

    def poll(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what came since the last call: each record of `log.jsonl` with its job's name, oldest first."""
        found: list[tuple[str, str, dict[str, Any]]] = []
        for job, follower in self._followers.items():
            for record in map(parse_line, follower.poll()):
                if record is not None:
                    self._newest[job] = max(self._newest[job], str(record.get("timestamp", "")))
                    found.append((self._newest[job], job, record))
        told, self._offset = read_records(self._events, self._offset)
        for entry in told:
            event = entry.event
            if isinstance(event, ev.JobEvent) and event.job in self._followers and (text := _told(event)):
                found.append((iso(entry.ts) or "", event.job, self._system_line(event.job, entry.ts, text)))
        found.sort(key=lambda one: one[0])
        return [(job, record) for _, job, record in found]

    def _system_line(self, job: str, ts: float, text: str) -> dict[str, Any]:
        return {
            "timestamp": iso(ts),
            "process_id": self._positions.get(job),
            "pid": None,
            "message": text,
            "type": "system",
        }


def list_runs(
    runs_dir: str | Path | None = None, *, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> list[RunStatus]:
    """Return the runs of a folder (where none is chosen, of the per-user index as well), newest first.

    A run that cannot be read is in the list with the state `unreadable` and the reason in its notes.
    """
    environ = os.environ if environ is None else environ
    return [_status_of(layout) for layout in run_layouts(runs_folder(runs_dir, environ, cwd or Path.cwd()), environ)]


def _status_of(layout: RunLayout) -> RunStatus:
    try:
        return RunView(layout).status()
    except StoreError as error:
        run = layout.dir.name
        return RunStatus(run, "", str(layout.dir), "unreadable", None, "gone", (), notes=(str(error),))


def _told(event: ev.JobEvent) -> str | None:
    """Return what an event means to a reader of the job's log; the shim tells of starts and ends itself."""
    if isinstance(event, ev.JobPlaced):
        told = event.allocation.to_dict()
        where = "the CPU" if told["device"] == "cpu" else f"GPU {told['gpu_index']}, {told['memory_limit']} MB"
        batch = "" if event.batch_size is None else f", batch {event.batch_size} x {event.accumulation}"
        return f"attempt {event.attempt} placed on {where}{batch}"
    if isinstance(event, ev.StopBegun):
        return "asked to stop" if event.cause.value == "stopped" else f"asked to stop: {event.cause.value}"
    if isinstance(event, ev.RetryScheduled):
        return f"will be tried again: {event.reason}"
    if isinstance(event, ev.JobFinished):
        return f"{event.state.word}: {event.error}" if event.error else event.state.word
    return None


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
