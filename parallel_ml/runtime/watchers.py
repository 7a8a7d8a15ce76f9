"""Telling those who watch a run what has changed: callbacks of Python, the display, later messages."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

from parallel_ml.core import events as ev
from parallel_ml.core.model import Job, JobState
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent, ProcessMonitor

_SHARE = 20.0
"""A look that took t seconds is taken again after 20 t: many jobs that run cost 5 % of a core at the most, ..."""
_LONGEST_PAUSE_S = 0.1
"""... but nobody waits longer than this for news."""


class Watchers:
    """Tells each thing once, through the run's monitor."""

    def __init__(self, monitor: ProcessMonitor) -> None:
        """Start with nothing told."""
        self._monitor = monitor
        self._told: dict[str, tuple[JobState, int]] = {}
        self._look_at, self._owed = 0.0, False

    def tell_jobs(self, jobs: Iterable[Job]) -> None:
        """Call back for each job whose state or attempt is not what was told last."""
        for job in jobs:
            known = (job.state, len(job.attempts))
            if self._told.get(job.name, (JobState.QUEUED, 0)) != known:
                self._told[job.name] = known
                if job.state.finished or job.state is JobState.RETRYING:
                    self._monitor.unwatch(job.name)
                self._monitor.emit(MonitorEvent(EventKind.JOB_STATE, job.name, _news_of(job)))

    def look(self, now: float) -> None:
        """Look at the files of the jobs that run, and call back for what is new there, if it is time; see `owed_s`."""
        self._owed = now < self._look_at
        if self._owed:
            return
        self._monitor.poll()
        done = time.monotonic()
        self._look_at = done + min(_LONGEST_PAUSE_S, _SHARE * (done - now))

    def owed_s(self) -> float:
        """Return how long a look that it was too early for may still wait."""
        return self._look_at - time.monotonic() if self._owed else math.inf

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
