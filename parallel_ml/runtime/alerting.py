"""Alert rules over the jobs that run: what is new goes through `core.alerts.step`; what follows is told and ordered.

A job's alerts stand in its `alerts.json`. It is written a moment after the messages were handed over, so that a crash
in between repeats the step: the same ids come again, and nothing is told twice.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from parallel_ml.core.alert_rules import AlertAction, AlertRule
from parallel_ml.core.alerts import AlertInputs, AlertNotification, AlertOrder, AlertState, step
from parallel_ml.core.codec import decode, encode
from parallel_ml.core.model import Attempt, Job, JobState
from parallel_ml.core.stimuli import CutRate, Pause, Stimulus, Stop
from parallel_ml.errors import StoreError
from parallel_ml.gpu.sample import DeviceSample
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent, ProcessMonitor
from parallel_ml.store.cached_jobs import NO_SENSE
from parallel_ml.store.files import free_bytes, read_json, write_json
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import last_metrics

EVERY_S = 2.0
SAVE_AFTER_S = 1.0
SAVE_EVERY_S = 30.0
"""What has only been seen, and led to nothing, is written so often: each time costs an fsync."""
Rules = Callable[[str], tuple[AlertRule, ...]]


class Alerting:
    """Watches the jobs of one run, in their supervisor's turn."""

    def __init__(
        self, layout: RunLayout, rules: Rules, monitor: ProcessMonitor, cards: Callable[[], Iterable[DeviceSample]]
    ) -> None:
        """Watch nothing yet.

        Args:
            layout: The run's files.
            rules: Returns the rules of a job, by its name.
            monitor: Tells of epochs, and is told of alerts.
            cards: Returns what is measured of the cards now.
        """
        self._layout, self._rules_of, self._monitor, self._cards = layout, rules, monitor, cards
        self._points: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._rules: dict[str, tuple[AlertRule, ...]] = {}
        self._states: dict[str, AlertState] = {}
        self._attempts: dict[str, int] = {}
        self._unsaved: dict[str, float] = {}
        self._seen: set[str] = set()
        self._over: set[str] = set()
        self._cards_now: tuple[DeviceSample, ...] | None = None
        self._look_at = 0.0
        monitor.subscribe(self._on_epoch, EventKind.EPOCH)

    def poll(self, jobs: Iterable[Job], now: float) -> list[Stimulus]:
        """Take in what is new and return what the rules order.

        Args:
            jobs: Those that run, at least.
            now: Seconds since the epoch.
        """
        look_at_all = now >= self._look_at or self._look_at > now + EVERY_S
        if look_at_all:
            self._look_at = now + EVERY_S
        else:
            jobs = [job for job in jobs if job.name in self._points]
            if not jobs and now < min(self._unsaved.values(), default=now + EVERY_S):
                return []
        found: list[Stimulus] = []
        free: float | None = None
        self._cards_now = None
        for job in jobs:
            attempt = job.attempt
            if job.state is not JobState.RUNNING or attempt is None:
                continue
            free = free_bytes(self._layout.dir) if free is None else free
            found += self._look(job, attempt, now, free)
        self._save(now)
        return found

    def ended(self, job: str) -> None:
        """Forget a job that has finished, as soon as how its alerts stand is on disk; a retry reads that again."""
        self._over.add(job)
        if job not in self._unsaved:
            self._forget(job)

    def _forget(self, job: str) -> None:
        for kept in (self._points, self._rules, self._states, self._attempts):
            kept.pop(job, None)
        self._seen.discard(job)
        self._over.discard(job)

    def _on_epoch(self, event: MonitorEvent) -> None:
        if event.job is not None:
            self._points[event.job].append(dict(event.data))

    def _look(self, job: Job, attempt: Attempt, now: float, free: float) -> Iterator[Stimulus]:
        name, points = job.name, self._points.pop(job.name, [])
        self._over.discard(name)
        rules = self._rules.get(name)
        if rules is None:
            rules = self._rules[name] = self._rules_of(name)
        if not rules:
            return
        state = self._state(job)
        points = self._new(name, points, state)
        inputs = self._inputs(job, attempt, points, free)
        new, told, orders = step(state, rules, inputs, now)
        if new != state:
            self._states[name] = new
            soon = bool(told or orders) or new.rules != state.rules
            due_at = now + (SAVE_AFTER_S if soon else SAVE_EVERY_S)
            self._unsaved[name] = min(due_at, self._unsaved.get(name, due_at))
        for one in told:
            self._monitor.emit(MonitorEvent(EventKind.ALERT, name, _news(one)))
        for order in orders:
            yield _stimulus(name, order)

    def _new(self, name: str, points: list[dict[str, Any]], state: AlertState) -> list[dict[str, Any]]:
        """Return the points that have not been judged: a supervisor that takes over is told all of them again.

        The newest epoch may come again with more in it, where it is this process that has seen it.
        """
        last = state.history.epoch - (name in self._seen)
        new = [point for point in points if not isinstance(point.get("epoch"), int) or point["epoch"] > last]
        if new:
            self._seen.add(name)
        return new

    def _state(self, job: Job) -> AlertState:
        """Return how a job's alerts stand; a user's retry begins them anew."""
        name = job.name
        if name not in self._states:
            told = read_json(self._layout.job(name).alerts) or {}
            try:
                self._states[name] = decode(AlertState, told["state"])
                self._attempts[name] = int(told["afresh"])
            except NO_SENSE:
                self._states[name], self._attempts[name] = AlertState(), job.fresh_starts
        if self._attempts[name] != job.fresh_starts:
            self._attempts[name] = job.fresh_starts
            self._states[name] = self._states[name].again()
        return self._states[name]

    def _inputs(self, job: Job, attempt: Attempt, points: list[dict[str, Any]], free: float) -> AlertInputs:
        files = self._layout.job(job.name)
        sample = last_metrics(files.attempt(attempt.number).samples)
        shares = attempt.allocation.shares
        if shares and self._cards_now is None:  # looked at once for all jobs
            self._cards_now = tuple(self._cards())
        own = {share.gpu_uuid for share in shares}
        cards = [card for card in self._cards_now or () if card.uuid in own]
        return AlertInputs(
            points=points,
            samples=[sample] if sample else [],
            began=job.attempts[0].started_at,
            running_since=attempt.thawed_at or attempt.started_at,
            last_epoch=None if points else _changed_at(files.metrics),
            last_log=_changed_at(files.log),
            disk_free=free,
            gpu_memory_granted=sum(share.memory_bytes for share in shares) or None,
            gpu_temperature=max((card.temperature_c for card in cards if card.temperature_c is not None), default=None),
            gpu_utilization=max(
                (card.utilization_percent for card in cards if card.utilization_percent is not None), default=None
            ),
            whole=job.spec.kind == "training",
        )

    def _save(self, now: float) -> None:
        """Write what has stood for a moment; what cannot be written now is tried again."""
        for name, due_at in list(self._unsaved.items()):
            if now < due_at <= now + SAVE_EVERY_S:
                continue
            told = {"v": 1, "afresh": self._attempts[name], "state": encode(self._states[name])}
            try:
                write_json(self._layout.job(name).alerts, told)
            except StoreError:
                self._unsaved[name] = now + SAVE_AFTER_S
            else:
                del self._unsaved[name]
                if name in self._over:
                    self._forget(name)

    def close(self) -> None:
        """Write what has not been written."""
        self._unsaved = dict.fromkeys(self._unsaved, 0.0)
        self._save(1.0)


def _stimulus(job: str, order: AlertOrder) -> Stimulus:
    if order.action is AlertAction.STOP:
        return Stop(job, alert=order.id, reason=order.reason)
    if order.action is AlertAction.PAUSE:
        return Pause(job, alert=order.id)
    # The epoch after the one that was told is under way: the rate is set at the beginning of each.
    from_epoch = order.epoch + 2
    return CutRate(
        job, alert=order.id, from_epoch=from_epoch, factor=order.factor, least=order.minimum, reason=order.reason
    )


def _news(one: AlertNotification) -> dict[str, Any]:
    return {
        "id": one.id,
        "alert": one.rule,
        "news": one.news.value,
        "severity": one.severity,
        "text": one.summary,
        "expr": one.expr,
        "action": one.action.value,
        "epoch": one.epoch,
        "values": dict(one.values),
        "annotations": dict(one.annotations),
    }


def _changed_at(path: os.PathLike[str]) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
