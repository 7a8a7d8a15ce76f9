"""A time, by the two clocks that messages need."""

from __future__ import annotations

import time
from typing import NamedTuple


class Moment(NamedTuple):
    """A time: by a clock that never steps, and by the one on the wall. Both in seconds."""

    steady: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(time.monotonic(), time.time())
