"""From what a run's monitor tells to messages: what of it is worth one, and when. It keeps nobody waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from parallel_ml.core.alert_functions import shown
from parallel_ml.core.status import JobResult, JobStatus, RunStatus
from parallel_ml.notify.best import NEW_BEST_EVERY_S, BestTracker
from parallel_ml.notify.compose import Composer
from parallel_ml.notify.message import Level, Message
from parallel_ml.notify.words import known, summary_of, word

WANTED = ("job_state", "epoch", "out_of_memory", "alert", "run_ended")
"""The kinds of events to subscribe to; the log's lines are not read for messages."""
_OVER = frozenset({"completed", "failed", "stopped"})


class Event(Protocol):
    """What `parallel_ml.monitor.MonitorEvent` looks like."""

    @property
    def kind(self) -> str:
        """One of `WANTED`."""

    @property
    def job(self) -> str | None:
        """The job's name, or None."""

    @property
    def data(self) -> Mapping[str, Any]:
        """What there is to tell."""


class Source(Protocol):
    """Where a message's facts come from; called in the dispatcher's thread."""

    def status(self) -> RunStatus:
        """Return the run as it stands."""

    def result(self, job: JobStatus) -> JobResult:
        """Return a job's result with its history."""


class Notices:
    """Turns events into what the dispatcher composes messages by.

    >>> notices = Notices([Composer(run)], dispatcher.put, source)      # doctest: +SKIP
    >>> for kind in WANTED: monitor.subscribe(notices, kind)            # doctest: +SKIP
    """

    def __init__(
        self,
        composers: Iterable[Composer],
        put: Callable[[Callable[[], Iterable[Message]]], None],
        source: Source,
        *,
        memory: Path | None = None,
        new_best_every_s: float = NEW_BEST_EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Know who writes, and who sends.

        Args:
            composers: One for each language that a channel has.
            put: The dispatcher's.
            source: Where the facts come from.
            memory: A file that remembers which best values were told, over a restart.
            new_best_every_s: A job's new bests are told at most so often.
            clock: Seconds since the epoch.
        """
        self._composers, self._put, self._source = tuple(composers), put, source
        self._tracker, self._clock = BestTracker(memory, new_best_every_s), clock

    def __call__(self, event: Event) -> None:
        """Take an event; what it leads to is composed later, in the dispatcher's thread."""
        if str(event.kind) in WANTED:
            self._put(lambda: self._told(event))

    def supervisor_ended(self) -> None:
        """Tell that the run goes on without anybody who drives it."""
        self._put(lambda: [composer.supervisor_ended(self._source.status()) for composer in self._composers])

    def _told(self, event: Event) -> Iterable[Message]:
        kind = str(event.kind)
        if kind == "run_ended":
            return self._run_ended()
        if kind == "epoch" and event.job is not None:
            return self._epoch(event.job, event.data)
        if kind == "alert":
            return [_alert(composer, event.job, event.data) for composer in self._composers]
        job = self._job(event.job)
        if job is None:
            return []
        if kind == "out_of_memory":
            text, attempt = str(event.data.get("text", "")), int(event.data.get("attempt") or job.attempt)
            return [composer.out_of_memory(job, text, attempt) for composer in self._composers]
        return self._state(job, event.data) if kind == "job_state" else []

    def _run_ended(self) -> list[Message]:
        status = self._source.status()
        if not all(job.state in _OVER for job in status.jobs):
            return [composer.supervisor_ended(status) for composer in self._composers]
        results: Sequence[JobResult] = [self._source.result(job) for job in status.jobs]
        return [composer.run_done(status, results) for composer in self._composers]

    def _epoch(self, name: str, point: Mapping[str, Any]) -> list[Message]:
        best = self._tracker.see(name, point, self._clock())
        job = self._job(name) if best is not None else None
        if best is None or job is None:
            return []
        return [composer.new_best(job, best) for composer in self._composers]

    def _state(self, job: JobStatus, news: Mapping[str, Any]) -> list[Message]:
        state, attempt = str(news.get("state", "")), int(news.get("attempt") or 0)
        if state == "running":
            return [composer.started(job) for composer in self._composers] if attempt == 1 else []
        if state in ("stopped", "paused") and state == job.state and attempt:  # what never ran is in the run's table
            return [composer.interrupted(job) for composer in self._composers]
        if state == "completed":
            result = self._source.result(job)
            return [composer.finished(job, result) for composer in self._composers]
        return [composer.failed(job) for composer in self._composers] if state == "failed" else []

    def _job(self, name: str | None) -> JobStatus | None:
        return next((job for job in self._source.status().jobs if job.name == name), None)


def _alert(composer: Composer, job: str | None, data: Mapping[str, Any]) -> Message:
    """Return the message of an alert; its number comes from its id, `rule#episode.times`, the same after a restart."""
    language = composer.language
    values = [f"{name} {shown(name, value)}" for name, value in (data.get("values") or {}).items() if value is not None]
    values += [word("at_epoch", language, epoch=data["epoch"])] if data.get("epoch") else []
    action = str(data.get("action", "")) if data.get("news") == "firing" else ""
    return composer.alert(
        str(data.get("alert", "")),
        summary_of(str(data.get("text", "")), language),
        job=job,
        level=Level(str(data.get("severity", "warning"))),
        value=word("comma", language).join(values),
        action="" if action == "notify" else known(f"action_{action}", language, action),
        number=str(data.get("id", "")),
        resolved=data.get("news") == "resolved",
    )
