"""Telling those who watch a run what has changed: callbacks of Python, the display, later messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from parallel_ml.core import events as ev
from parallel_ml.core.model import Job, JobState
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent, ProcessMonitor


class Watchers:
    """Tells each thing once, through the run's monitor."""

    def __init__(self, monitor: ProcessMonitor) -> None:
        """Start with nothing told."""
        self._monitor = monitor
        self._told: dict[str, tuple[JobState, int]] = {}

    def tell_jobs(self, jobs: Iterable[Job]) -> None:
        """Call back for each job whose state or attempt is not what was told last."""
        for job in jobs:
            known = (job.state, len(job.attempts))
            if self._told.get(job.name, (JobState.QUEUED, 0)) != known:
                self._told[job.name] = known
                if job.state.finished or job.state is JobState.RETRYING:
                    self._monitor.unwatch(job.name)
                self._monitor.emit(MonitorEvent(EventKind.JOB_STATE, job.name, _news_of(job)))

    def tell_event(self, event: ev.Event) -> None:
        """Call back for what a job's state does not show."""
        if isinstance(event, ev.MemoryRecovered):
            data = {"text": event.text, "attempt": event.attempt, "batch_size": event.adjustment.batch_size}
            self._monitor.emit(MonitorEvent(EventKind.OUT_OF_MEMORY, event.job, data))

    def note(self, text: str) -> None:
        """Tell what concerns the whole run."""
        self._monitor.emit(MonitorEvent(EventKind.NOTE, None, {"text": text}))


def _news_of(job: Job) -> dict[str, Any]:
    attempt = job.attempt
    return {
        "state": job.state.word,
        "attempt": attempt.number if attempt else 0,
        "pid": attempt.process.pid if attempt and attempt.process else None,
        "outcome": str(attempt.outcome) if attempt and attempt.outcome else None,
        "error": job.error or (attempt.error if attempt else None),
        "allocation": attempt.allocation.to_dict() if attempt else None,
        "batch_size": attempt.batch_size if attempt else job.spec.batch_size,
        "accumulation": attempt.accumulation if attempt else job.spec.accumulation,
    }
