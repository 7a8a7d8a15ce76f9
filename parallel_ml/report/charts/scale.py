"""From values to places on a chart, and the round values at which an axis is labelled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LARGEST = 1e300
"""Beyond it, the difference of two values is not finite any more."""
_LOG_FROM = 1000.0
_FEW, _MANY = 4, 7


@dataclass(frozen=True)
class Scale:
    """A line from `low` to `high` that is drawn from `begin` to `end`; with `log`, by powers of ten."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return where a value is drawn."""
        low, high, value = (self._even(one) for one in (self.low, self.high, clamped(value)))
        return self.begin + (value - low) / (high - low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Return the values that are labelled."""
        if not self.log:
            return round_values(self.low, self.high)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        step = max(1, math.ceil((last - first + 1) / _MANY))
        return [10.0**power for power in range(first, last + 1, step)]

    def _even(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.log else value


def clamped(value: float) -> float:
    """Return a value that can be reckoned with.

    >>> clamped(-1.7e308), clamped(2.0)
    (-1e+300, 2.0)
    """
    return max(-_LARGEST, min(_LARGEST, value))


def scale_of(values: Iterable[float], begin: float, end: float, *, may_be_log: bool = False) -> Scale:
    """Return a scale on which all values are; equal ones, or none, get some room around them.

    Args:
        values: Finite ones.
        begin: Where the lowest of them is drawn.
        end: Where the highest of them is drawn.
        may_be_log: Whether values that differ by more than a factor of 1000 are drawn by powers of ten.
    """
    known = list(values)
    low, high = (clamped(min(known)), clamped(max(known))) if known else (0.0, 1.0)
    if may_be_log and low > 0 and high / low > _LOG_FROM:
        return Scale(low, high, begin, end, log=True)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1 / _LARGEST):
        room = abs(low) / 10 or 0.5
        return Scale(low - room, high + room, begin, end)
    return Scale(low, high, begin, end)


def round_values(low: float, high: float) -> list[float]:
    """Return some round values between two others.

    >>> round_values(0.0, 1.0), round_values(3.0, 8.0)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    """
    span = high - low
    base = 10.0 ** math.floor(math.log10(span / _FEW))
    step = next((base * factor for factor in (1, 2, 5, 10) if span / (base * factor) <= _MANY - 1), base * 10)
    first, count = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) if abs(step) > 1e-9 else number * step for number in range(first, count + 1)]


def thinned(points: Sequence[tuple[float, float | None]], most: int) -> list[tuple[float, float | None]]:
    """Return about `most` points at most that look the same: of each stretch its lowest and its highest.

    >>> thinned([(1.0, 5.0), (2.0, 1.0), (3.0, 9.0), (4.0, 4.0)], 2)
    [(2.0, 1.0), (3.0, 9.0)]
    """
    if len(points) <= most:
        return list(points)
    stretch = max(2, math.ceil(2 * len(points) / max(2, most)))
    kept: list[tuple[float, float | None]] = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        known = [(x, y) for x, y in part if y is not None]
        if not known:
            kept.append(part[0])
            continue
        ends = {min(known, key=lambda one: one[1]), max(known, key=lambda one: one[1])}
        kept += sorted(ends)
    return kept
