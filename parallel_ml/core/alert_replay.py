"""Alert rules over a training that is over: what they would have told, at the times at which it really happened."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parallel_ml.core.alert_functions import READINGS
from parallel_ml.core.alert_history import EPOCH_TIME
from parallel_ml.core.alert_rules import AlertRule
from parallel_ml.core.alert_tree import Call, Metric, walk
from parallel_ml.core.alerts import AlertInputs, AlertNotification, AlertState, step

EVERY_S = 2.0
MOST_LOOKS = 4000
"""A job of a day is looked at every 20 s or so: what comes true between its epochs is found within seconds still."""


@dataclass(frozen=True)
class Stay:
    """An attempt, from its start to its end, in seconds since the epoch.

    Attributes:
        holds: When it was held in memory, from and to, oldest first.
        afresh: Whether a user had it begun anew.
    """

    began: float
    ended: float
    holds: tuple[tuple[float, float], ...] = ()
    afresh: bool = False

    def stretches(self) -> Iterator[tuple[float, float]]:
        """Yield when it ran, without the times in which it was held."""
        at = self.began
        for held, went_on in self.holds:
            yield at, min(held, self.ended)
            at = went_on
        if at <= self.ended:
            yield at, self.ended


@dataclass(frozen=True)
class Past:
    """What is known of a job's past. Times are in seconds since the epoch.

    Attributes:
        points: The lines of `metrics.jsonl`, oldest first.
        stays: Its attempts, oldest first.
        told_at: When epochs were told, by their numbers, where the log says it.
        last_told: When the newest epoch was told, or None.
        logged: When it printed something, oldest first.
        logged_from: What it printed before is not known.
    """

    points: Sequence[Mapping[str, Any]] = ()
    stays: tuple[Stay, ...] = ()
    told_at: Mapping[int, float] = field(default_factory=dict)
    last_told: float | None = None
    logged: Sequence[float] = ()
    logged_from: float = -math.inf

    @property
    def began(self) -> float | None:
        """When it was started first, or None."""
        return self.stays[0].began if self.stays else None


def can_be_replayed(rule: AlertRule) -> bool:
    """Whether what a run keeps is enough to judge a rule; what is measured of the machine is not kept for that."""
    parts = list(walk(rule.tree))
    names = {part.name for part in parts if isinstance(part, Metric)}
    names |= {part.metric for part in parts if isinstance(part, Call) and part.metric}
    return names.isdisjoint(READINGS)


def replay(rules: Sequence[AlertRule], past: Past) -> list[AlertNotification]:
    """Return what rules would have told; of a job without any attempt, by a clock that its epochs alone move from 0."""
    if not past.stays:
        past = _by_epochs_alone(past.points)
    times = times_of(past)
    began, found = past.stays[0].began, list[AlertNotification]()
    state, next_point, told = AlertState(), 0, None
    running_s = sum(to - at for stay in past.stays for at, to in stay.stretches())
    for stay in past.stays:
        state = state.again() if stay.afresh else state
        for since, until in stay.stretches():
            for now in _looks(since, until, times[next_point:], max(EVERY_S, running_s / MOST_LOOKS)):
                points = past.points[next_point : bisect_right(times, now)]
                next_point += len(points)
                told = now if points else told
                inputs = AlertInputs(
                    points=points,
                    began=began,
                    running_since=since,
                    last_epoch=told,
                    last_log=_last_log(past, now),
                    whole=True,
                )
                state, news, _ = step(state, rules, inputs, now)
                found += news
    return found


def times_of(past: Past) -> list[float]:
    """Return when each epoch was told, never earlier than the one before.

    Where the log does not say it, by the newest one and the lengths of epochs, back to where an attempt began; what
    lies before that by the start of its attempt, and by how long the newest one needed until its first epoch.
    """
    points, stays = past.points, past.stays
    found: list[float | None] = [past.told_at.get(point.get("epoch", 0)) for point in points]
    if points and found[-1] is None and stays:
        found[-1] = _within(past.last_told, stays[-1].began, stays[-1].ended)
    for place in range(len(points) - 2, -1, -1):
        after, took = found[place + 1], _seconds(points[place + 1].get(EPOCH_TIME))
        if found[place] is None and after is not None and took is not None:
            found[place] = _within(after - took, _stay_of(after, stays).began, after)
    return _filled(points, found, stays)


def _filled(points: Sequence[Mapping[str, Any]], found: list[float | None], stays: Sequence[Stay]) -> list[float]:
    """Return times for all epochs, going forward from the starts of the attempts."""
    known = [seconds for point in points if (seconds := _seconds(point.get(EPOCH_TIME))) is not None]
    usual = statistics.median(known) if known else 0.0
    newest = next((at for at in found if at is not None and stays and at >= stays[-1].began), None)
    lead = usual if newest is None else newest - stays[-1].began
    times: list[float] = []
    for place, point in enumerate(points):
        at = found[place]
        if at is None:
            took = _seconds(point.get(EPOCH_TIME))
            first = took is None and bool(known)  # `report()` cannot know how long the first one of an attempt took
            at = _next(times[-1] if times else None, usual if took is None else took, lead, stays, first=first)
            later = next((one for one in found[place + 1 :] if one is not None), stays[-1].ended)
            at = min(at, later)
        times.append(min(max(at, times[-1] if times else stays[0].began), stays[-1].ended))
    return times


def _next(last: float | None, took: float, lead: float, stays: Sequence[Stay], *, first: bool) -> float:
    """Return when an epoch was told that came after another one; one that is too late for an attempt is the next's.

    The last one of an attempt may come out a little too late: it ended with it, or broke down right after it.
    """
    if last is None:
        return stays[0].began + max(lead, took)
    place = stays.index(_stay_of(last, stays))
    if place + 1 == len(stays):
        return last + took
    if first or last + took / 2 > stays[place].ended:
        return stays[place + 1].began + max(lead, took)
    return min(last + took, stays[place].ended)


def _stay_of(at: float, stays: Sequence[Stay]) -> Stay:
    """Return the newest attempt that had begun."""
    return stays[max(0, bisect_right([stay.began for stay in stays], at) - 1)]


def _looks(since: float, until: float, times: Iterable[float], every_s: float) -> list[float]:
    """Return when to look in a stretch: at each epoch, now and then between them, and at its end."""
    count = int((until - since) / every_s)
    regular = {since + every_s * number for number in range(count + 1)}
    return sorted({*regular, *(at for at in times if since <= at <= until), until})


def _last_log(past: Past, now: float) -> float | None:
    if now < past.logged_from:
        return now
    place = bisect_right(past.logged, now)
    return past.logged[place - 1] if place else None


def _by_epochs_alone(points: Sequence[Mapping[str, Any]]) -> Past:
    """Return a past in which nothing but epochs took time, and nothing was silent."""
    now, told_at = 0.0, {}
    numbered = [{**point, "epoch": point.get("epoch", place)} for place, point in enumerate(points, 1)]
    for point in numbered:
        now += _seconds(point.get(EPOCH_TIME)) or 0.0
        told_at[point["epoch"]] = now
    return Past(numbered, (Stay(0.0, now),), told_at, logged_from=math.inf)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return float(value)


def _within(at: float | None, earliest: float, latest: float) -> float | None:
    """Return a time that can be, None for one that cannot: files that were copied have lost theirs."""
    return at if at is not None and earliest <= at <= latest else None
