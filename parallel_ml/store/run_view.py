"""A reader's view of a run: its state from the cache and the log, its jobs' metrics from their files.

Any number of readers may look while a supervisor writes, and after it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from parallel_ml.core.codec import decode
from parallel_ml.core.model import Job, JobState, RunState
from parallel_ml.core.outcome import Diagnosis, OutcomeKind
from parallel_ml.core.placement import waiting_reasons
from parallel_ml.core.state import fold
from parallel_ml.core.status import JobStatus, RunStatus
from parallel_ml.errors import StoreError
from parallel_ml.store.files import is_locked, last_lines, read_json
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import RunLayout

_NOT_METRICS = frozenset({"epoch", "epochs"})
_TOTALS = (
    "cpu_seconds",
    "cpu_mean_percent",
    "memory_peak_mb",
    "gpu_memory_peak_mb",
    "energy_wh",
    "energy_estimated",
)


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

    def status(self) -> RunStatus:
        """Return everything that a user is told."""
        now, supervised = time.time(), self.supervised
        state = self.state if supervised else self._foreseen()
        reasons = waiting_reasons(state, state.machine) if supervised else {}
        return RunStatus(
            run=state.run_id,
            name=state.name,
            dir=str(self.layout.dir),
            state=state.word,
            as_of=iso(now if supervised else state.as_of),
            supervisor="running" if supervised else "gone",
            jobs=tuple(
                self._job_status(job, now, _waiting(job, now, reasons, supervised=supervised))
                for job in state.jobs.values()
            ),
            as_of_age_s=0.0 if supervised else round(max(0.0, now - state.as_of), 1),
            created=iso(state.created_at),
            notes=tuple(self.plan.get("notes", ())),
            undelivered=tuple(self._undelivered()),
        )

    def _undelivered(self) -> list[str]:
        """Return what of the messages did not arrive, as the last supervisor left it."""
        told = read_json(self.layout.undelivered)
        return [str(line) for line in told.get("notes", ())] if isinstance(told, dict) else []

    def _foreseen(self) -> RunState:
        """Return the state as the next supervisor will find it."""
        if all(job.holds is None for job in self.state.jobs.values()):
            return self.state
        from parallel_ml.store.attempts import foresee  # noqa: PLC0415 - the state machine, which is rarely needed here

        return foresee(self.state, self.layout)

    def _job_status(self, job: Job, now: float, waiting: str | None) -> JobStatus:
        attempt, spec = job.attempt, job.spec
        files = self.layout.job(job.name)
        last = last_metrics(files.metrics) if attempt else {}
        found = read_summary(files.result) if job.state is JobState.SUCCEEDED else {}
        started = attempt.started_at if attempt else None
        ended = attempt.ended_at if attempt else job.finished_at
        return JobStatus(
            process_id=spec.position,
            name=job.name,
            state=job.state.word,
            outcome=_outcome(job),
            waiting=waiting,
            attempt=attempt.number if attempt else 0,
            pid=attempt.process.pid if attempt and attempt.process else None,
            epoch=last.get("epoch"),
            epochs=last.get("epochs") or spec.epochs,
            metrics={key: value for key, value in (last | found).items() if key not in _NOT_METRICS},
            allocation=attempt.allocation.to_dict() if attempt else None,
            batch_size=attempt.batch_size if attempt else spec.batch_size,
            accumulation=attempt.accumulation if attempt else spec.accumulation,
            seed=spec.seed,
            started=iso(started),
            ended=iso(ended),
            paths=self._paths(job),
            error=job.error or (attempt.error if attempt else None),
            elapsed_s=round((ended or now) - started - _held_s(job, now), 3) if started is not None else None,
            resources=_resources(files.attempt(attempt.number).samples, running=ended is None) if attempt else {},
            held=job.frozen,
            pausing=job.state is JobState.PAUSING,
            failure=_failure(attempt.diagnosis) if attempt else None,
            recoveries=job.recoveries,
        )

    def _paths(self, job: Job) -> dict[str, str | None]:
        files = self.layout.job(job.name)
        number = job.attempt.number if job.attempt else 1
        return {
            "dir": str(files.dir),
            "config": str(files.attempt(number).config),
            "log": str(files.log),
            "metrics": str(files.metrics),
            "model": job.spec.model_path,
            "result": str(files.result),
        }


def _outcome(job: Job) -> str | None:
    """Return why the newest attempt ended; for a job that never had one, why it never will."""
    if job.attempt is not None:
        return str(job.attempt.outcome) if job.attempt.outcome else None
    never = {JobState.FAILED: OutcomeKind.DEPENDENCY, JobState.STOPPED: OutcomeKind.STOPPED}
    return never[job.state].value if job.state in never else None


def _held_s(job: Job, now: float) -> float:
    """Return how long the newest attempt was held in memory, until now where it still is."""
    so_far = job.attempt.held_s if job.attempt else 0.0
    return so_far + (max(0.0, now - job.held_since) if job.frozen and job.held_since is not None else 0.0)


def _failure(found: Diagnosis | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "class": found.kind.value,
        "words": found.kind.words,
        "evidence": found.evidence,
        "advice": found.advice,
        "suspected": found.suspected,
    }


def _waiting(job: Job, now: float, reasons: Mapping[str, str], *, supervised: bool) -> str | None:
    if job.state not in (JobState.QUEUED, JobState.RETRYING):
        return None
    if not supervised:
        return "no supervisor drives this run"
    if job.state is JobState.RETRYING:
        return f"tries again in {max(0.0, (job.due_at or now) - now):.0f} s"
    return reasons.get(job.name)


def _resources(path: Path, *, running: bool) -> dict[str, Any]:
    """Return the newest sample of an attempt; of one that has ended the totals alone."""
    last = last_metrics(path)
    if not running:
        return {name: last[name] for name in _TOTALS if name in last}
    return {name: value for name, value in last.items() if name not in {"timestamp", "ended"}}


def last_metrics(path: Path) -> dict[str, Any]:
    """Return the newest line of a `metrics.jsonl` or the like, {} where there is none."""
    for line in last_lines(path, 1):
        try:
            value = json.loads(line)
        except ValueError:
            break
        if isinstance(value, dict):
            return value
    return {}


def read_summary(path: Path) -> dict[str, Any]:
    """Return the plain figures of a `result.json` (`test_accuracy`, `best_epoch` ...), {} where there is none."""
    found = read_json(path)
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, (int, float)) or value is None}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return all lines of a `metrics.jsonl`, [] where there is none; lines that are no objects are left out."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    points = []
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            points.append(value)
    return points


def iso(timestamp: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC."""
    if timestamp is None:
        return None
    return datetime.fromtimestamp(timestamp, timezone.utc).isoformat(timespec="microseconds")


def _load(layout: RunLayout) -> tuple[RunState, int]:
    """Return the run's state and where in the log it stands; a cache that makes no sense is passed over."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, StoreError):
        cached = read_json(layout.state)
        if cached["v"] == 1 and 0 <= cached["offset"] <= os.stat(layout.events).st_size:
            state = decode(RunState, cached["state"])
            if state.run_id:
                return _read_on(layout, state, cached["offset"])
    return _read_on(layout, RunState(), 0)


def _read_on(layout: RunLayout, state: RunState, offset: int) -> tuple[RunState, int]:
    records, end = read_records(layout.events, offset)
    if records and records[0].seq > state.seq + 1:
        raise StoreError(layout.events, "reading", f"events {state.seq + 1} to {records[0].seq - 1} are not there")
    for record in records:
        fold(state, record)
    return state, end
