"""Being asked to stop, by SIGTERM or by the answer to a report: work goes on to the next safe place and raises."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from parallel_ml.training.failures import Released
from parallel_ml.training.reporting import should_stop

if TYPE_CHECKING:
    from types import FrameType

ASK_EVERY_S = 1.0


class StopRequest:
    """Whether somebody wants this process to leave."""

    def __init__(self) -> None:
        """Start with no such wish."""
        self.wanted = False
        self._next_ask = 0.0

    def listen(self) -> None:
        """Take SIGTERM as the wish from now on; call it in the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def check(self) -> None:
        """Leave here if that is wanted; asks the guard at most once in `ASK_EVERY_S` seconds.

        Raises:
            Released: The wish is there.
        """
        now = time.monotonic()
        if not self.wanted and now >= self._next_ask:
            self._next_ask = now + ASK_EVERY_S
            self.wanted = should_stop()
        if self.wanted:
            raise Released

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.wanted = True
