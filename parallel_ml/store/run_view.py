"""A reader's view of a run: its state from the cache and the log, its jobs' metrics from their files.

Any number of readers may look while a supervisor writes, and after it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import time

from parallel_ml.core.codec import decode, encode
from parallel_ml.core.model import JobState, RunState, word_of
from parallel_ml.core.status import RunStatus
from parallel_ml.errors import StoreError
from parallel_ml.store.cached_jobs import NO_SENSE, CachedJobs
from parallel_ml.store.files import is_locked, read_json, read_whole
from parallel_ml.store.job_status import EVERYTHING, Show, holds, iso, job_status, last_metrics, read_metrics
from parallel_ml.store.state_cache import read_cache
from parallel_ml.store.told_jobs import status_of
from parallel_ml.store.waiting_jobs import reasons_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from parallel_ml.core.model import Job
    from parallel_ml.core.status import JobStatus
    from parallel_ml.store.layout import RunLayout

_FINISHED = frozenset(state for state in JobState if state.finished)
_AT_REST = _FINISHED | {JobState.QUEUED, JobState.RETRYING}
"""Where a job has no attempt that lives."""
_NO_JOBS = '"jobs": []'
"""Stands in no text of JSON: a quote within one has a backslash before it."""
_json = json.JSONEncoder(allow_nan=False, check_circular=False).encode

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
        self._files = layout.read_paths()
        plan = read_json(self._files["plan"])
        self.plan: dict[str, Any] = plan if isinstance(plan, dict) else {}

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
        return self.state.supervisor is not None and is_locked(self._files["lock"])

    @property
    def offset(self) -> int:
        """Up to where the log was read, in bytes."""
        return self._offset

    def live_jobs(self) -> list[str]:
        """Return the jobs whose newest attempt lives, for all that the log says."""
        states = _states(self.state)
        return [name for name in states if states[name] not in _AT_REST and holds(_as_json(self.state, name))]

    def status(self, show: Show = EVERYTHING, only: Iterable[str] | None = None) -> RunStatus:
        """Return everything that a user is told.

        Args:
            show: What is left out of each job.
            only: The jobs that are told of; None is all. Their names are known ones.

        Raises:
            StoreError: A file of a job is there and cannot be read.
        """
        now, supervised, notes = time.time(), self.supervised, self.plan.get("notes")
        state = self.state if supervised else self._foreseen()
        states = _states(state)
        names = list(state.jobs if only is None else only)
        if isinstance(state.jobs, CachedJobs):
            state.jobs.read(name for name in names if states[name] not in _FINISHED)
        reasons = reasons_of(state, states) if supervised else None
        jobs = tuple(_job_status(self.layout, state, name, now, reasons, show) for name in names)
        return RunStatus(
            run=state.run_id,
            name=state.name,
            dir=self.layout.root,
            state=word_of(set(map(JobState, set(states.values())))),
            as_of=iso(now if supervised else state.as_of),
            supervisor="running" if supervised else "gone",
            jobs=jobs,
            as_of_age_s=0.0 if supervised else round(max(0.0, now - state.as_of), 1),
            created=iso(state.created_at),
            notes=tuple(notes) if isinstance(notes, list) else (),
            undelivered=tuple(self._undelivered()),
        )

    def status_json(self) -> tuple[str, str]:
        """Return the run's state, and everything that a user is told as JSON in one line: what `status` returns.

        What the cache has ready to be told is put in as the text that it is there.

        Raises:
            StoreError: A file of a job is there and cannot be read.
            ValueError: One of them says NaN, which is no JSON.
        """
        from parallel_ml.store.told_texts import ready_texts  # noqa: PLC0415 - for programs alone

        jobs = self.state.jobs
        ready = ready_texts(self.layout, jobs.told_lines()) if isinstance(jobs, CachedJobs) else {}
        rest = [name for name in jobs if name not in ready]
        status = self.status(only=rest).to_dict()
        texts = {**ready, **dict(zip(rest, map(_json, status["jobs"]), strict=True))}
        told = ", ".join(texts[name] for name in jobs)
        return status["state"], _json({**status, "jobs": []}).replace(_NO_JOBS, f'"jobs": [{told}]', 1)

    def states(self) -> dict[str, str]:
        """Return the state of each job by its name, in the words that users see."""
        state = self.state if self.supervised else self._foreseen()
        return {name: JobState(told).word for name, told in _states(state).items()}

    def _undelivered(self) -> list[str]:
        """Return what of the messages did not arrive, as the last supervisor left it."""
        told = read_json(self._files["undelivered"])
        notes = told.get("notes") if isinstance(told, dict) else None
        return [str(line) for line in notes] if isinstance(notes, list) else []

    def _foreseen(self) -> RunState:
        """Return the state as the next supervisor will find it."""
        if not self.live_jobs():
            return self.state
        from parallel_ml.store.attempts import foresee  # noqa: PLC0415 - the state machine, which is rarely needed here

        return foresee(self.state, self.layout)


def _job_status(
    layout: RunLayout, state: RunState, name: str, now: float, reasons: Mapping[str, str] | None, show: Show
) -> JobStatus:
    """Return how a job stands; `reasons` says why the queued ones wait, and is None where nobody drives the run."""
    if isinstance(state.jobs, CachedJobs) and (ready := state.jobs.told_of(name)) is not None:
        try:
            status = status_of(layout, ready, show)
        except NO_SENSE:
            status = None
        if status is not None:
            return status
    told = _as_json(state, name)
    try:
        return job_status(layout, told, now, _waiting(told, now, reasons), show)
    except NO_SENSE:
        told = encode(state.jobs[name], sparing=True)  # what the log says
        return job_status(layout, told, now, _waiting(told, now, reasons), show)


def _as_json(state: RunState, name: str) -> dict[str, Any]:
    """Return a job as JSON values, as the cache has them where it is in there."""
    told = state.jobs.raw_of(name) if isinstance(state.jobs, CachedJobs) else None
    return encode(state.jobs[name], sparing=True) if told is None else told


def _states(state: RunState) -> Mapping[str, str]:
    """Return the state of each job."""
    if isinstance(state.jobs, CachedJobs):
        return {name: state.jobs.state_of(name) for name in state.jobs}
    return {name: job.state.value for name, job in state.jobs.items()}


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
    files = layout.read_paths()
    with contextlib.suppress(OSError, StoreError, *NO_SENSE):
        cached = read_cache(read_whole(files["state"]))
        if 0 <= cached.offset <= os.stat(files["events"]).st_size:
            state = decode(RunState, cached.state)
            jobs: Any = CachedJobs(cached, lambda: _read_to(layout, state.seq))
            if state.run_id:
                state.jobs = jobs
                return _read_on(layout, state, cached.offset)
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
        return os.stat(layout.read_paths()["events"]).st_size
    except OSError:
        return None
