"""RunClient: how another process sees a run and asks for something. Light: it reads files and drops orders."""

from __future__ import annotations

import os
import time

from parallel_ml.core.model import JobState
from parallel_ml.core.status import RunStatus
from parallel_ml.errors import StoreError, UsageError
from parallel_ml.records import dataclass
from parallel_ml.store.job_status import BRIEF, EVERYTHING, TABLE
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.orders import Order, OrderKind, drop_order, new_order, pending_orders
from parallel_ml.store.run_view import RunView
from parallel_ml.store.runs import find_run, run_layouts, runs_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from parallel_ml.core.status import JobResult
    from parallel_ml.runtime.log_reader import LogReader
    from parallel_ml.runtime.run_tail import RunTail

__all__ = ["Order", "OrderReply", "RunClient", "list_runs"]

POLL_S = 0.05
UNREADABLE = "unreadable"
"""The state of a run of which nothing can be said."""
_PAUSABLE = frozenset({JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.PAUSING, JobState.RETRYING})
_RESUMABLE = frozenset({JobState.PAUSED, JobState.PAUSING})
_RETRIABLE = frozenset({JobState.FAILED, JobState.STOPPED})
_HINTS = {OrderKind.RESUME: "; retry brings a failed or stopped job back"}


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
        self._layout = RunLayout(run_dir)
        self._view = RunView(self._layout)
        self._asked_from: dict[str, int] = {}
        """Where the log ended before each order was given: no answer to it stands before that."""

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
        return cls(find_run(runs_folder(runs_dir, environ, cwd or os.getcwd()), run, environ).root)

    @property
    def dir(self) -> Path:
        """The run's directory."""
        return self._layout.dir

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._view.state.run_id

    def exists(self) -> bool:
        """Return whether the run is still there."""
        return self._layout.events.exists()

    def status(self) -> RunStatus:
        """Return the run as it stands now."""
        self._view.refresh()
        return self._view.status()

    def status_json(self) -> tuple[str, str]:
        """Return the run's state, and the same as JSON in one line, which of thousands of jobs takes half the time.

        Raises:
            ValueError: A job's files say NaN, which is no JSON.
        """
        self._view.refresh()
        return self._view.status_json()

    def table_status(self) -> RunStatus:
        """Return the same without what no table has a column for: the jobs' times of day and paths."""
        self._view.refresh()
        return self._view.status(TABLE)

    def brief_status(self) -> RunStatus:
        """Return the same without what only the jobs' own files say: their metrics and what they take."""
        self._view.refresh()
        return self._view.status(BRIEF)

    def status_of(self, jobs: Sequence[str]) -> RunStatus:
        """Return the run as it stands now, with these of its jobs alone.

        Raises:
            UsageError: There is no such job.
        """
        self._view.refresh()
        self._check_known(jobs)
        return self._view.status(EVERYTHING, jobs)

    def job_states(self) -> dict[str, str]:
        """Return the state of each job by its name, in the words of `JobStatus.state`."""
        self._view.refresh()
        return self._view.states()

    @property
    def job_names(self) -> list[str]:
        """The names of its jobs, in their order."""
        return list(self._view.state.jobs)

    def trend(self, job: str, metric: str, epochs: int) -> list[float | None]:
        """Return a metric of a job's last epochs, oldest first; None where an epoch has no finite value.

        Raises:
            StoreError: The metrics are there and cannot be read.
        """
        from parallel_ml.monitor.follow import parse_line  # noqa: PLC0415 - only for who watches
        from parallel_ml.store.files import last_lines  # noqa: PLC0415

        points = map(parse_line, last_lines(self._layout.job(job).metrics, epochs))
        values = [point.get(metric) for point in points if point is not None]
        return [value if isinstance(value, (int, float)) else None for value in values]

    def results(self) -> list[JobResult]:
        """Return what has become of each job so far."""
        from parallel_ml.monitor.history import job_result  # noqa: PLC0415 - only for results

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
        self._asked_from[order.id] = self._view.offset
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
        from parallel_ml.core import events as ev  # noqa: PLC0415 - only for who waits
        from parallel_ml.store.journal import read_records  # noqa: PLC0415

        give_up_at = time.monotonic() + timeout_s
        offset = self._asked_from.get(order.id, 0)
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
        from parallel_ml.runtime.log_reader import LogReader  # noqa: PLC0415 - only for who reads logs

        known = self._view.state.jobs
        self._check_known(jobs or ())
        wanted = list(jobs or known)
        return LogReader(self._layout, wanted, {job: known[job].spec.position for job in wanted})

    def follow(self, place: str | None = None) -> RunTail:
        """Return what tells the news of the run from a place on; None is from now on.

        Raises:
            UsageError: There is no such place in the run.
        """
        from parallel_ml.runtime.run_tail import RunTail, read_place  # noqa: PLC0415 - only for who follows a run

        if place is not None:
            return RunTail(self._layout, self.job_names, read_place(self._layout, self.job_names, place))
        self._view.refresh()
        return RunTail.from_now(self._view)

    def _check_known(self, jobs: Sequence[str]) -> None:
        known = self._view.state.jobs
        for job in jobs:
            if job not in known:
                raise UsageError(f"run {self.run_id} has no job {job}", f"its jobs: {_some(list(known))}")


def list_runs(
    runs_dir: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    brief: bool = False,
) -> list[RunStatus]:
    """Return the runs of a folder (where none is chosen, of the per-user index as well), newest first.

    A run that cannot be read is in the list with the state `unreadable` and the reason in its notes.

    Args:
        runs_dir: The folder; None is `$PARALLEL_ML_RUNS`, else `./runs`.
        environ: The environment; None is this process's.
        cwd: The working folder; None is this process's.
        brief: Leave out what only the jobs' own files say.
    """
    environ = os.environ if environ is None else environ
    folder = runs_folder(runs_dir, environ, cwd or os.getcwd())
    return [_status_of(layout, brief=brief) for layout in run_layouts(folder, environ, damaged=True)]


def _status_of(layout: RunLayout, *, brief: bool) -> RunStatus:
    try:
        return RunView(layout).status(BRIEF if brief else EVERYTHING)
    except StoreError as error:
        run, note = layout.dir.name, str(error)
        if not layout.events.exists():
            note = f"{layout.events} is missing; parallel-ml clean {run} removes what is left"
        return RunStatus(run, "", str(layout.dir), UNREADABLE, None, "gone", (), notes=(note,))


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
