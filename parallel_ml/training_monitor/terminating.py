"""SIGTERM while a training is watched: it ends the program as Ctrl-C does, so that its end can be told, and by it.

Without a handler SIGTERM ends a program in the middle of whatever it does, and nobody hears of it. So for as long as a
training is watched there is one, unless the program has its own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from types import FrameType


class Terminated(SystemExit):
    """SIGTERM has arrived; the program leaves, what it has to clean up done."""

    def __str__(self) -> str:
        """Say so."""
        return "the program was asked to end (SIGTERM)"


class _Handling:
    """Who listens for SIGTERM, for all monitors of this process."""

    def __init__(self) -> None:
        self.users, self.arrived, self.owner = 0, False, 0
        atexit.register(self._die)  # as early as can be, so that it comes after what a program registers

    def begin(self) -> bool:
        """Listen, where nobody else does and Python lets us; return whether `end` is to be called."""
        if self.arrived or threading.current_thread() is not threading.main_thread():
            return False
        # A job of a run is told to stop by its run, which tells its end as well.
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not os.environ.get("PARALLEL_ML_SOCKET"):
            self.owner = os.getpid()
            signal.signal(signal.SIGTERM, self._on_signal)
        elif signal.getsignal(signal.SIGTERM) != self._on_signal:
            return False
        self.users += 1
        return True

    def end(self) -> None:
        """Listen no longer, when no monitor does; from another thread than the main one that is not possible."""
        self.users -= 1
        if self.users <= 0 and signal.getsignal(signal.SIGTERM) == self._on_signal:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once
        if os.getpid() != self.owner or self.users <= 0:  # a worker that was forked; or the end was in a thread
            os.kill(os.getpid(), number)
            return
        self.arrived = True
        raise Terminated(128 + number)

    def _die(self) -> None:
        """End by the signal itself, so that who waits for the program sees what ended it."""
        if not self.arrived or os.getpid() != self.owner:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


SIGTERM = _Handling()
"""Of this process."""
