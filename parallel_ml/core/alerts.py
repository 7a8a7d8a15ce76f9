"""Alerts over one job: `step` takes what is new and gives the next state, what to tell, and what to do.

A rule is inactive, pending (its condition is true, not yet for long enough), firing, and inactive again when it has
resolved. The state is frozen data that `codec` can write: put back after a restart, it tells nothing twice. Every
notification and action has an id that is the same when the same step is taken again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from parallel_ml.core.alert_history import EPOCH_TIME, History, Needs, metrics_of, needs_of, take_point, take_reading
from parallel_ml.core.alert_rules import AlertAction, AlertRule, Span
from parallel_ml.core.alert_tree import nearest
from parallel_ml.core.alert_values import Times, holds
from parallel_ml.core.outcome import StrEnum

_TEMPLATE = re.compile(r"\{\{\s*\$(?:(value)|labels\.(\w+))\s*\}\}")
_MOST_SHOWN = 12
_PARTS_S = 10.0
"""A program that reports an epoch in several calls has done so by then."""


class AlertStatus(StrEnum):
    """Where a rule is."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


class News(StrEnum):
    """What a notification says of its rule."""

    FIRING = "firing"
    STILL_FIRING = "still_firing"
    RESOLVED = "resolved"
    UNKNOWN_METRIC = "unknown_metric"


@dataclass(frozen=True)
class RuleState:
    """What is known of one rule.

    Attributes:
        expr: The condition that this is about: another one under the same name begins anew.
        since: When it became true, with the epoch of then.
        true_at: When it was true last, with the epoch of then.
        told_at: When it was told last, with the epoch of then.
        episode: How many times it has fired.
        told: How many times that was told in this episode.
        warned: Whether it was said that a metric of it is not there.
    """

    expr: str = ""
    status: AlertStatus = AlertStatus.INACTIVE
    since: float = 0.0
    since_epoch: int = 0
    true_at: float = 0.0
    true_epoch: int = 0
    told_at: float = 0.0
    told_epoch: int = 0
    episode: int = 0
    told: int = 0
    warned: bool = False


@dataclass(frozen=True)
class AlertState:
    """Everything that must survive a restart: a job's rules by name, and what they remember."""

    rules: dict[str, RuleState] = field(default_factory=dict)
    history: History = field(default_factory=History)
    last_epoch_at: float | None = None

    def again(self) -> AlertState:
        """Return the state for a job that somebody has begun anew: nothing fires and nothing is remembered.

        What was told keeps its number, so that the next time is not taken for the last one.
        """
        return AlertState({name: RuleState(one.expr, episode=one.episode) for name, one in self.rules.items()})


@dataclass(frozen=True)
class AlertInputs:
    """What is new of a job, and how it stands; None is not known. Times are in seconds since the epoch.

    Attributes:
        points: New lines of `metrics.jsonl`, oldest first.
        samples: New lines of `samples.jsonl`, oldest first.
        began: When the job was started first.
        running_since: When it was started last, or went on after a pause; what waits does not begin before.
        last_epoch: When the newest epoch was told; left out, it is the `now` of the step that brought it.
        last_log: When it last printed something.
        disk_free: Bytes that are free where the run writes.
        gpu_memory_granted: Bytes, on all its cards.
        gpu_temperature: Of the hottest of its cards, in degrees Celsius.
        gpu_utilization: Of the busiest of its cards, in percent; taken where the samples do not tell the job's own, as
            they do not of one that leaves its card alone for long.
        whole: Whether nothing is added to an epoch that was told; a program may report one in several calls.
    """

    points: Sequence[Mapping[str, Any]] = ()
    samples: Sequence[Mapping[str, Any]] = ()
    began: float | None = None
    running_since: float | None = None
    last_epoch: float | None = None
    last_log: float | None = None
    disk_free: float | None = None
    gpu_memory_granted: float | None = None
    gpu_temperature: float | None = None
    gpu_utilization: float | None = None
    whole: bool = False


@dataclass(frozen=True)
class AlertNotification:
    """Something to tell.

    Attributes:
        id: Unique for the job.
        summary: One sentence.
        values: The metrics that the rule looks at.
        epoch: The newest epoch, 0 before the first.
    """

    id: str
    rule: str
    news: News
    severity: str
    summary: str
    expr: str
    action: AlertAction
    epoch: int
    at: float
    values: dict[str, float | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AlertOrder:
    """Something to do to the job: stop, pause or reduce_lr; `id` is that of its notification."""

    id: str
    rule: str
    action: AlertAction
    reason: str
    epoch: int
    factor: float = 1.0
    minimum: float = 0.0


class Step(NamedTuple):
    """What a step gives."""

    state: AlertState
    notifications: tuple[AlertNotification, ...] = ()
    orders: tuple[AlertOrder, ...] = ()


def step(state: AlertState, rules: Sequence[AlertRule], inputs: AlertInputs, now: float) -> Step:
    """Return what follows from what is new; call it for a job that runs, when something is new and now and then."""
    needs = needs_of(rule.tree for rule in rules)
    history = _with_readings(state.history, inputs, needs)
    last_epoch = inputs.last_epoch or (now if inputs.points else state.last_epoch_at)
    times = Times(now, inputs.began, inputs.running_since, last_epoch, inputs.last_log)
    state = replace(state, last_epoch_at=last_epoch)
    told: list[AlertNotification] = []
    orders: list[AlertOrder] = []
    for point in inputs.points or (None,):
        history = history if point is None else take_point(history, point, needs)
        states = dict(state.rules)
        for rule in rules:
            turn = _Turn(rule, states.get(rule.name, RuleState()), history, times, whole=inputs.whole)
            states[rule.name] = turn.take()
            told += turn.told
            orders += turn.orders
        state = replace(state, rules=states, history=history)
    return Step(state, tuple(told), tuple(orders))


def _with_readings(history: History, inputs: AlertInputs, needs: Needs) -> History:
    for sample in inputs.samples:
        history = take_reading(history, sample, needs)
    of_the_machine = {
        "disk_free": inputs.disk_free,
        "gpu_memory_granted": inputs.gpu_memory_granted,
        "gpu_temperature": inputs.gpu_temperature,
    }
    if inputs.samples and all(sample.get("gpu_utilization") is None for sample in inputs.samples):
        of_the_machine["gpu_utilization"] = inputs.gpu_utilization
    return take_reading(history, of_the_machine, needs)


class _Turn:
    """One rule at one moment."""

    def __init__(self, rule: AlertRule, before: RuleState, history: History, times: Times, *, whole: bool) -> None:
        self.rule, self.history, self.times, self.whole = rule, history, times, whole
        self.state = before if before.expr == rule.expr else RuleState(rule.expr, episode=before.episode)
        self.told: list[AlertNotification] = []
        self.orders: list[AlertOrder] = []

    def take(self) -> RuleState:
        """Go on by what is true now."""
        self._warn()
        answer = holds(self.rule.tree, self.history, self.times)
        if answer:
            self._is_true()
        elif self.state.status is AlertStatus.PENDING:
            self.state = replace(self.state, status=AlertStatus.INACTIVE)
        # A loss that was too high and is nan now has not got better: what is not known resolves nothing.
        elif self.state.status is AlertStatus.FIRING and answer is not None:
            self._is_false()
        return self.state

    def _is_false(self) -> None:
        if self._passed(self.rule.keep, self.state.true_at, self.state.true_epoch):
            self.state = replace(self.state, status=AlertStatus.INACTIVE)
            if self.rule.send_resolved:
                self._tell(News.RESOLVED)

    def _is_true(self) -> None:
        now, epoch = self.times.now, self.history.epoch
        if self.state.status is AlertStatus.INACTIVE:
            self.state = replace(self.state, status=AlertStatus.PENDING, since=now, since_epoch=epoch)
        self.state = replace(self.state, true_at=now, true_epoch=epoch)
        if self.state.status is AlertStatus.PENDING:
            # An epoch that it is true in counts: three of them are over when the third is told.
            if self._passed(self.rule.hold, self._since(), self.state.since_epoch - 1):
                episode = self.state.episode + 1
                self.state = replace(self.state, status=AlertStatus.FIRING, episode=episode, told=0)
                self._tell(News.FIRING)
                self._order()
        elif self.rule.repeat and self._passed(self.rule.repeat, self.state.told_at, self.state.told_epoch):
            self._tell(News.STILL_FIRING)
            if self.rule.action is AlertAction.REDUCE_LR:
                self._order()

    def _since(self) -> float:
        """Return since when it has been true; a time in which the job was held does not count."""
        return max(self.state.since, self.times.running_since or 0.0)

    def _passed(self, span: Span, at: float, epoch: int) -> bool:
        return span.is_over(max(0.0, self.times.now - at), max(0, self.history.epoch - epoch))

    def _tell(self, news: News) -> None:
        self.state = replace(
            self.state, told=self.state.told + 1, told_at=self.times.now, told_epoch=self.history.epoch
        )
        self._add(news, f"{self.rule.name}#{self.state.episode}.{self.state.told}", self._summary(), self.rule.severity)

    def _add(self, news: News, identity: str, summary: str, severity: str) -> None:
        rule = self.rule
        self.told.append(
            AlertNotification(
                identity,
                rule.name,
                news,
                severity,
                summary,
                rule.expr,
                rule.action,
                self.history.epoch,
                self.times.now,
                self._values(),
                dict(rule.labels),
                {key: self._filled(text) for key, text in rule.annotations.items()},
            )
        )

    def _order(self) -> None:
        rule = self.rule
        if rule.action is AlertAction.NOTIFY:
            return
        identity = f"{rule.name}#{self.state.episode}.{self.state.told}"
        reason = f"alert {rule.name}: {self._summary()}"
        numbers = (rule.factor, rule.minimum) if rule.action is AlertAction.REDUCE_LR else (1.0, 0.0)
        self.orders.append(AlertOrder(identity, rule.name, rule.action, reason, self.history.epoch, *numbers))

    def _warn(self) -> None:
        """Say once, after the first epoch, which metrics of the rule no epoch has told."""
        if self.state.warned or not self.history.points:
            return
        if not (self.whole or self.history.epoch > 1 or (self.times.since(self.times.last_epoch) or 0.0) >= _PARTS_S):
            return
        missing = sorted(metrics_of(self.rule.tree) - {*self.history.seen, EPOCH_TIME})
        self.state = replace(self.state, warned=True)
        if missing and not self.rule.builtin:
            guess = nearest(missing[0], self.history.seen, alike=0.75)  # val_loss is no train_loss
            seen = ", ".join(self.history.seen[:_MOST_SHOWN]) or "none"
            text = f"no epoch has told {', '.join(missing)}, so that it cannot fire; seen so far: {seen}"
            hint = f"; did you mean {guess}?" if guess else ""
            self._add(News.UNKNOWN_METRIC, f"{self.rule.name}#unknown_metric", text + hint, "warning")

    def _summary(self) -> str:
        text = self.rule.annotations.get("summary")
        if text:
            return self._filled(text)
        hold = str(self.rule.hold)
        return f"{self.rule.expr}{f' for {hold}' if hold else ''}"

    def _values(self) -> dict[str, float | None]:
        """Return what the rule looks at; what is not finite is told as not known, and by the summary."""
        names = sorted(metrics_of(self.rule.tree) | (needs_of([self.rule.tree]).windows.keys() - {EPOCH_TIME}))
        return {name: _finite(self.history.last(name)) for name in names[:_MOST_SHOWN]}

    def _filled(self, text: str) -> str:
        """Return an annotation with `{{ $value }}` and `{{ $labels.name }}` replaced, as Prometheus has them."""
        values = [value for value in self._values().values() if value is not None]
        shown = f"{values[0]:.4g}" if values else "not known"
        return _TEMPLATE.sub(lambda match: shown if match[1] else self.rule.labels.get(match[2], ""), text)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
