"""A reader's view of a run: its state from the cache and the log, its jobs' metrics from their files.

Any number of readers may look while a supervisor writes, and after it is gone.
"""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial
from typing import TYPE_CHECKING

from parallel_ml.core.codec import decode, encode
from parallel_ml.core.model import JobState, RunState, word_of
from parallel_ml.core.status import RunStatus
from parallel_ml.errors import StoreError
from parallel_ml.records import replace
from parallel_ml.store.cached_jobs import NO_SENSE, CachedJobs
from parallel_ml.store.files import is_locked, read_json
from parallel_ml.store.job_status import EVERYTHING, Show, holds, iso, job_status, last_metrics, read_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from parallel_ml.core.model import Job
    from parallel_ml.core.status import JobStatus
    from parallel_ml.store.layout import RunLayout

_FINISHED = frozenset(state for state in JobState if state.finished)

__all__ = ["RunView", "iso", "last_metrics", "read_metrics"]


class RunView:
    """A run as a reader sees it; `refresh` reads on from where the last look ended."""

    def __init__(self, layout: RunLayout) -> None:
        """Read the run.

        Raises:
            StoreError: There is no run, or it cannot be read.
        """
        self.layout = layout
        self.state, self._offset = _load(layout)
        if not self.state.run_id:
            torn = layout.plan.exists() and layout.events.exists()
            lost = f"the first line of events.jsonl is torn; parallel-ml clean {layout.dir.name} removes the run"
            raise StoreError(layout.dir, "reading run", lost if torn else "there is no run here")
        self.plan: dict[str, Any] = read_json(layout.plan) or {}

    def refresh(self) -> None:
        """Take in what was written since.

        Raises:
            StoreError: The log cannot be read.
        """
        try:
            self.state, self._offset = _read_on(self.layout, self.state, self._offset)
        except StoreError:  # what was read last was cut, by a full disk or the next supervisor, and the log has grown
            self.state, self._offset = _read_on(self.layout, RunState(), 0)

    @property
    def supervised(self) -> bool:
        """Whether a supervisor drives the run: it holds the run's lock for as long as it lives, whatever its host."""
        return self.state.supervisor is not None and is_locked(self.layout.lock)

    @property
    def offset(self) -> int:
        """Up to where the log was read, in bytes."""
        return self._offset

    def live_jobs(self) -> list[str]:
        """Return the jobs whose newest attempt lives, for all that the log says."""
        return [name for name in self.state.jobs if holds(_as_json(self.state, name))]

    def status(self, show: Show = EVERYTHING, only: Iterable[str] | None = None) -> RunStatus:
        """Return everything that a user is told.

        Args:
            show: What is left out of each job.
            only: The jobs that are told of; None is all. Their names are known ones.

        Raises:
            StoreError: A file of a job is there and cannot be read.
        """
        now, supervised = time.time(), self.supervised
        state = self.state if supervised else self._foreseen()
        states = _states(state)
        reasons = _reasons(state, states) if supervised else None
        names = state.jobs if only is None else only
        jobs = tuple(_job_status(self.layout, state, name, now, reasons, show) for name in names)
        return RunStatus(
            run=state.run_id,
            name=state.name,
            dir=str(self.layout.dir),
            state=word_of(set(map(JobState, set(states.values())))),
            as_of=iso(now if supervised else state.as_of),
            supervisor="running" if supervised else "gone",
            jobs=jobs,
            as_of_age_s=0.0 if supervised else round(max(0.0, now - state.as_of), 1),
            created=iso(state.created_at),
            notes=tuple(self.plan.get("notes", ())),
            undelivered=tuple(self._undelivered()),
        )

    def states(self) -> dict[str, str]:
        """Return the state of each job by its name, in the words that users see."""
        state = self.state if self.supervised else self._foreseen()
        return {name: JobState(told).word for name, told in _states(state).items()}

    def _undelivered(self) -> list[str]:
        """Return what of the messages did not arrive, as the last supervisor left it."""
        told = read_json(self.layout.undelivered)
        return [str(line) for line in told.get("notes", ())] if isinstance(told, dict) else []

    def _foreseen(self) -> RunState:
        """Return the state as the next supervisor will find it."""
        if all(not holds(job) for job in map(partial(_as_json, self.state), self.state.jobs)):
            return self.state
        from parallel_ml.store.attempts import foresee  # noqa: PLC0415 - the state machine, which is rarely needed here

        return foresee(self.state, self.layout)


def _job_status(
    layout: RunLayout, state: RunState, name: str, now: float, reasons: Mapping[str, str] | None, show: Show
) -> JobStatus:
    """Return how a job stands; `reasons` says why the queued ones wait, and is None where nobody drives the run."""
    told = _as_json(state, name)
    try:
        return job_status(layout, told, now, _waiting(told, now, reasons), show)
    except NO_SENSE:
        told = encode(state.jobs[name], sparing=True)  # what the log says
        return job_status(layout, told, now, _waiting(told, now, reasons), show)


def _as_json(state: RunState, name: str) -> dict[str, Any]:
    """Return a job as JSON values, as the cache has them where it is in there."""
    told = state.jobs.raw.get(name) if isinstance(state.jobs, CachedJobs) else None
    return told if isinstance(told, dict) else encode(state.jobs[name], sparing=True)


def _states(state: RunState) -> Mapping[str, str]:
    """Return the state of each job."""
    if isinstance(state.jobs, CachedJobs):
        return {name: state.jobs.state_of(name) for name in state.jobs}
    return {name: job.state.value for name, job in state.jobs.items()}


def _reasons(state: RunState, states: Mapping[str, str]) -> Mapping[str, str]:
    """Return why each queued job waits, by its name."""
    if JobState.QUEUED not in states.values():
        return {}
    from parallel_ml.core.placement import waiting_reasons  # noqa: PLC0415 - only where something waits

    jobs = {name: state.jobs[name] for name in states if states[name] not in _FINISHED}
    needed = {name for job in jobs.values() for name in job.spec.depends_on if name in states}
    jobs.update({name: state.jobs[name] for name in needed})  # a finished job that nothing waits for tells nothing
    return waiting_reasons(replace(state, jobs=jobs), state.machine)


def _waiting(job: dict[str, Any], now: float, reasons: Mapping[str, str] | None) -> str | None:
    state = job.get("state", JobState.QUEUED)
    if state not in (JobState.QUEUED, JobState.RETRYING):
        return None
    if reasons is None:
        return "no supervisor drives this run"
    if state == JobState.RETRYING:
        return f"tries again in {max(0.0, (job.get('due_at') or now) - now):.0f} s"
    return reasons.get(job["spec"]["name"])


def _load(layout: RunLayout) -> tuple[RunState, int]:
    """Return the run's state and where in the log it stands; a cache that makes no sense is passed over."""
    with contextlib.suppress(OSError, StoreError, *NO_SENSE):
        cached = read_json(layout.state)
        if cached["v"] == 1 and 0 <= cached["offset"] <= os.stat(layout.events).st_size:
            raw = cached["state"].pop("jobs")
            state = decode(RunState, cached["state"])
            jobs: Any = CachedJobs(raw, lambda: _read_to(layout, state.seq))
            if state.run_id:
                state.jobs = jobs
                return _read_on(layout, state, cached["offset"])
    return _read_on(layout, RunState(), 0)


def _read_on(layout: RunLayout, state: RunState, offset: int) -> tuple[RunState, int]:
    if offset and _size(layout) == offset:
        return state, offset
    from parallel_ml.core.state import fold  # noqa: PLC0415 - only where the log says more than the cache
    from parallel_ml.store.journal import read_records  # noqa: PLC0415

    records, end = read_records(layout.events, offset)
    if records and records[0].seq > state.seq + 1:
        raise StoreError(layout.events, "reading", f"events {state.seq + 1} to {records[0].seq - 1} are not there")
    for record in records:
        fold(state, record)
    return state, end


def _read_to(layout: RunLayout, seq: int) -> Mapping[str, Job]:
    """Return the jobs as they stood after an event, by the log alone."""
    from parallel_ml.core.state import fold  # noqa: PLC0415 - only where the cache makes no sense
    from parallel_ml.store.journal import read_records  # noqa: PLC0415

    state = RunState()
    for record in read_records(layout.events)[0]:
        if record.seq <= seq:
            fold(state, record)
    return state.jobs


def _size(layout: RunLayout) -> int | None:
    try:
        return os.stat(layout.events).st_size
    except OSError:
        return None
