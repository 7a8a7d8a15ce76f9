"""The supervisor's clock."""

from __future__ import annotations

import time


class SteadyClock:
    """Seconds since the epoch that never jump: the wall clock once, then the time since boot (a laptop's sleep counts).

    A wall clock that is set while a run goes on moves no deadline; the next supervisor starts from the new time.
    """

    def __init__(self) -> None:
        """Take the time."""
        self._offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> float:
        """Return the time."""
        return self._offset + time.clock_gettime(time.CLOCK_BOOTTIME)
