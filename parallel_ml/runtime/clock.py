"""The supervisor's clock."""

from __future__ import annotations

import time


class SteadyClock:
    """Seconds since the epoch that never jump: the wall clock once, then the time since boot (a laptop's sleep counts).

    A wall clock that is set while a run goes on moves no deadline; the next supervisor starts from the new time, and
    moves what waits by as much.

    Attributes:
        booted_at: The time of the boot by this clock.
    """

    def __init__(self) -> None:
        """Take the time."""
        self.booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> float:
        """Return the time."""
        return self.booted_at + time.clock_gettime(time.CLOCK_BOOTTIME)
