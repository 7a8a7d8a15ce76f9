"""How much a provider may be sent now: counts in sliding windows, which never exceed what `Limits` says."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from parallel_ml.notify.channel import Limits

_SLACK = 1.02
"""Requests may arrive closer together than they left."""
_DAY_S = 86400.0


class Limiter:
    """Counts what one channel was sent. Times are those of a clock that never steps."""

    def __init__(self, limits: Limits, sent: Iterable[float] = ()) -> None:
        """Know the limits, and when something was sent before, oldest first."""
        windows = ((limits.per_second, 1.0), (limits.per_minute, 60.0), (limits.per_day, _DAY_S))
        self._windows = [(most, length_s * _SLACK) for most, length_s in windows if most is not None]
        self._sent = deque(sorted(sent), maxlen=max((most for most, _ in self._windows), default=1) or 1)

    def take(self, now: float) -> None:
        """Count one that is sent now."""
        self._sent.append(now)

    def wait_s(self, now: float) -> float:
        """Return in how many seconds one more may be sent; 0.0 is now."""
        return max((self._until(most, length_s, now) for most, length_s in self._windows), default=0.0)

    def room(self, now: float) -> int | None:
        """Return how many more may be sent within the minute and the day; None is as many as wanted.

        What a second allows is no reason to merge messages: it is soon over.
        """
        counted = [
            max(0, most - sum(now - at < length_s for at in self._sent))
            for most, length_s in self._windows
            if length_s > 2.0
        ]
        return min(counted, default=None)

    def _until(self, most: int, length_s: float, now: float) -> float:
        if most < 1:
            return _DAY_S
        if len(self._sent) < most:
            return 0.0
        return max(0.0, self._sent[-most] + length_s - now)
