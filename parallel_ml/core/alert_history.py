"""What alert rules remember of a job: as many values of as few names as the rules need, and no more. Frozen data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from parallel_ml.core.alert_functions import READINGS
from parallel_ml.core.alert_tree import Call, Expression, Metric, canonical, walk
from parallel_ml.core.units import MIB

MOST_NAMES = 200
"""So many names of metrics are remembered, to name the nearest to one that was misspelt."""
LONGEST_NAME = 100
EPOCH_TIME = "time_per_epoch"
_SPARE = 5
"""So many more values are kept than are looked at: after a crash epochs are told again from the last checkpoint on."""
_NOT_METRICS = frozenset({"epoch", "epochs", "nonfinite", "source", "timestamp"})

Stored = float | str
"""A value as JSON can hold it: nan, inf and -inf are text."""


@dataclass(frozen=True)
class Series:
    """The last values of one name, oldest first, and the epoch of each (of a reading: which reading it was)."""

    at: tuple[int, ...] = ()
    values: tuple[Stored, ...] = ()

    def numbers(self) -> list[float]:
        """Return the values; those that are not finite are nan and inf again."""
        return [float(value) for value in self.values]


@dataclass(frozen=True)
class Best:
    """The best value of a metric so far, its epoch, and how many values came since."""

    value: float
    at: int
    waited: int = 0


@dataclass(frozen=True)
class History:
    """What is remembered of one job.

    Attributes:
        epoch: The newest epoch, from 1; 0 is none.
        epochs: How many there will be, or None.
        points: Epochs told so far, those told again included.
        readings: Readings of the machine so far.
        seen: The metrics that were told, by name.
        newest: Those that the newest epoch told.
        nonfinite: Those of them that are not finite.
        series: The last values, as many as the rules need.
        firsts: The first finite value of those that are needed.
        bests: The best value by `best_key`.
    """

    epoch: int = 0
    epochs: int | None = None
    points: int = 0
    readings: int = 0
    seen: tuple[str, ...] = ()
    newest: tuple[str, ...] = ()
    nonfinite: tuple[str, ...] = ()
    series: dict[str, Series] = field(default_factory=dict)
    firsts: dict[str, float] = field(default_factory=dict)
    bests: dict[str, Best] = field(default_factory=dict)

    def last(self, name: str) -> float | None:
        """Return the newest known value, None where there is none."""
        found = self.series.get(name)
        return float(found.values[-1]) if found is not None and found.values else None

    def window(self, name: str, k: int) -> list[float]:
        """Return the last k values, or as many as are known."""
        found = self.series.get(name)
        return found.numbers()[-k:] if found is not None else []


@dataclass(frozen=True)
class Needs:
    """What rules look at: how far back each name, and whose best and first values."""

    windows: dict[str, int]
    bests: frozenset[tuple[str, str, float]]
    firsts: frozenset[str]


def needs_of(trees: Iterable[Expression]) -> Needs:
    """Return what the conditions of rules need to be remembered."""
    windows: dict[str, int] = {}
    bests, firsts = set(), set()
    for tree in trees:
        for part in walk(tree):
            name, back = _looks_at(part)
            if name is not None:
                windows[name] = max(windows.get(name, 1), back)
            if isinstance(part, Call) and part.metric is not None:
                if part.mode:
                    bests.add((part.metric, part.mode, part.least or 0.0))
                elif part.function == "first":
                    firsts.add(part.metric)
    return Needs(windows, frozenset(bests), frozenset(firsts))


def metrics_of(tree: Expression) -> frozenset[str]:
    """Return the metrics of the training that must be there for a condition ever to be true."""
    found = {
        part.name if isinstance(part, Metric) else part.metric
        for part in walk(tree)
        if isinstance(part, Metric) or (isinstance(part, Call) and part.function != "absent")
    }
    return frozenset(name for name in found if name is not None and name not in READINGS)


def best_key(metric: str, mode: str, min_delta: float) -> str:
    """Return the name under which a best value is kept."""
    return f"{metric} {mode} {min_delta!r}"


def take_point(history: History, point: Mapping[str, Any], needs: Needs) -> History:
    """Return the history with one line of `metrics.jsonl`. An epoch told again replaces what was told from it on."""
    epoch = _whole(point.get("epoch")) or history.epoch + 1
    if epoch <= history.epoch:
        history = _cut(history, epoch)
    values = _values(point)
    series, firsts, bests = dict(history.series), dict(history.firsts), dict(history.bests)
    for name, length in needs.windows.items():
        if name in values and name not in READINGS:
            series[name] = _longer(series.get(name, Series()), epoch, values[name], length + _SPARE)
    for name in needs.firsts & values.keys():
        if math.isfinite(values[name]):
            firsts.setdefault(name, values[name])
    for name, mode, min_delta in needs.bests:
        if name not in values:
            continue
        key = best_key(name, mode, min_delta)
        best = bests.get(key) or _best_of(history.series.get(name, Series()), mode, min_delta)
        best = _better(best, values[name], epoch, mode, min_delta)
        if best is not None:
            bests[key] = best
    seen = dict.fromkeys(history.seen) | dict.fromkeys(name for name in values if name not in READINGS)
    return replace(
        history,
        epoch=epoch,
        epochs=_whole(point.get("epochs")) or history.epochs,
        points=history.points + 1,
        seen=tuple(seen)[:MOST_NAMES],
        newest=tuple(values)[:MOST_NAMES],
        nonfinite=tuple(name for name, value in values.items() if not math.isfinite(value))[:MOST_NAMES],
        series=series,
        firsts=firsts,
        bests=bests,
    )


def take_reading(history: History, reading: Mapping[str, Any], needs: Needs) -> History:
    """Return the history with a line of `samples.jsonl`, or other readings by their names."""
    values = {name: value for name in READINGS if (value := _number(reading.get(name))) is not None}
    for name in ("memory", "gpu_memory"):
        if f"{name}_mb" in values:
            values[name] = values[f"{name}_mb"] * MIB
    wanted = values.keys() & needs.windows.keys()
    if not wanted:
        return history
    count = history.readings + 1
    grown = {
        name: _longer(history.series.get(name, Series()), count, values[name], needs.windows[name]) for name in wanted
    }
    return replace(history, readings=count, series=history.series | grown)


def _looks_at(part: Expression) -> tuple[str | None, int]:
    """Return the name that a part of a condition looks at and how many values back."""
    if isinstance(part, Metric):
        return part.name, 1
    if not isinstance(part, Call):
        return None, 0
    if part.function == "usual_epoch":
        return EPOCH_TIME, part.k
    return part.metric, part.k + (part.function in ("rising", "falling"))


def _values(point: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a point by their names in `metrics.jsonl`; what is null is left out."""
    found: dict[str, float] = {}
    nonfinite = point.get("nonfinite")
    told = nonfinite if isinstance(nonfinite, Mapping) else {}
    for name, value in (*point.items(), *told.items()):
        number = _number(value) if name not in _NOT_METRICS else None
        if number is None and name in told:
            number = _odd(value)
        if number is not None and len(name) <= LONGEST_NAME:
            found.setdefault(canonical(name), number)
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _odd(value: Any) -> float | None:
    """Return what `"nonfinite": {"train_loss": "nan"}` says."""
    return float(value) if value in ("nan", "inf", "-inf") else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and math.isfinite(number) and number >= 1 else None


def _longer(series: Series, at: int, value: float, length: int) -> Series:
    stored = value if math.isfinite(value) else str(value)
    return Series((*series.at, at)[-length:], (*series.values, stored)[-length:])


def _better(best: Best | None, value: float, epoch: int, mode: str, min_delta: float) -> Best | None:
    """Return the best value after one more; one that is not finite is never it."""
    if best is None:
        return Best(value, epoch) if math.isfinite(value) else None
    gain = (value - best.value) if mode == "max" else (best.value - value)
    if math.isfinite(value) and gain > min_delta:
        return Best(value, epoch)
    return replace(best, waited=best.waited + 1)


def _best_of(series: Series, mode: str, min_delta: float) -> Best | None:
    """Return the best of what is remembered: an epoch that was the best one has been taken back."""
    best = None
    for at, value in zip(series.at, series.numbers(), strict=True):
        best = _better(best, value, at, mode, min_delta)
    return best


def _cut(history: History, epoch: int) -> History:
    """Return the history without what was told of an epoch and those after it."""
    series = {name: one if name in READINGS else _before(one, epoch) for name, one in history.series.items()}
    bests = {}
    for key, best in history.bests.items():
        if best.at < epoch:
            again = max(0, history.epoch - epoch + 1)
            bests[key] = replace(best, waited=max(0, best.waited - again))
    firsts = history.firsts if epoch > 1 else {}
    return replace(history, epoch=epoch - 1, series=series, bests=bests, firsts=firsts)


def _before(series: Series, epoch: int) -> Series:
    kept = [place for place, at in enumerate(series.at) if at < epoch]
    return Series(tuple(series.at[place] for place in kept), tuple(series.values[place] for place in kept))
