"""A time, by the two clocks that messages need, and how a message says that it is late."""

from __future__ import annotations

import time
from typing import NamedTuple

from parallel_ml.notify.words import word

LATE_S = 600.0
"""What is told so much later than it happened says when that was."""
PLAUSIBLE = 1.5e9
"""Clocks that say less (2017) are not set yet."""


class Moment(NamedTuple):
    """A time: by a clock that never steps, and by the one on the wall. Both in seconds."""

    steady: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(time.monotonic(), time.time())


def when(happened: float, told: float, language: str) -> str:
    """Return ` (at 03:12)` for what is told long after it happened, with the day where that is another one; else "".

    Args:
        happened: Seconds since the epoch.
        told: When it is told, the same way.
        language: `en` or `zh`.
    """
    if happened < PLAUSIBLE or told - happened < LATE_S:
        return ""
    then, now = time.localtime(happened), time.localtime(told)
    form = "%H:%M" if then[:3] == now[:3] else "%m-%d %H:%M"
    return word("happened_at", language, time=time.strftime(form, then))
