"""Being asked to leave, by a signal or in the answer to a report: work goes on to the next safe place."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from parallel_ml.training.failures import Released
from parallel_ml.training.reporting import should_stop

if TYPE_CHECKING:
    from types import FrameType

ASK_EVERY_S = 1.0
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""The first stops, the second pauses. Both mean the same here: save and leave."""


class StopRequest:
    """Whether somebody wants this process to leave."""

    def __init__(self) -> None:
        """Start with no such wish."""
        self._wanted = False
        self._next_ask = 0.0

    def listen(self) -> None:
        """Take the signals as the wish from now on; call it in the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def wanted(self) -> bool:
        """Return whether the wish is there; asks the guard at most once in `ASK_EVERY_S` seconds."""
        now = time.monotonic()
        if not self._wanted and now >= self._next_ask:
            self._next_ask = now + ASK_EVERY_S
            self._wanted = should_stop()
        return self._wanted

    def check(self) -> None:
        """Leave here if that is wanted.

        Raises:
            Released: The wish is there.
        """
        if self.wanted():
            raise Released

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._wanted = True
