"""A thread that serves one channel: whatever its provider does, nobody else waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from parallel_ml.notify.lane import Lane
from parallel_ml.notify.moment import Moment

_IDLE_S = 60.0
_AFTER_TROUBLE_S = 5.0


class Worker:
    """Sends what is due in a lane until it is told when to end. It never keeps the process from leaving."""

    def __init__(
        self, lane: Lane, clock: Callable[[], Moment], say: Callable[[str], None], on_end: Callable[[], None]
    ) -> None:
        """Begin nothing yet.

        Args:
            lane: What it serves; nobody else calls its `step`.
            clock: What tells the time.
            say: Called with lines for people.
            on_end: Called when the thread ends; a provider that hangs may make that late.
        """
        self._lane, self._clock, self._say, self._on_end = lane, clock, say, on_end
        self._wake = threading.Event()
        self._until: float | None = None
        self.thread = threading.Thread(target=self._run, name=f"parallel_ml-to-{lane.name}", daemon=True)

    def wake(self) -> None:
        """Look anew at what is due."""
        self._wake.set()

    def end(self, until: float) -> None:
        """Send what can be sent until a time of the clock that never steps, and end."""
        self._until = until
        self._wake.set()

    def _run(self) -> None:
        try:
            while self._until is None:
                wait = self._step(last=False)
                if wait != 0.0:
                    self._wake.wait(_IDLE_S if wait is None else min(wait, _IDLE_S))
                    self._wake.clear()  # before the next look at `_until`, which is set first
            self._finish(self._until)
        finally:
            self._on_end()

    def _step(self, *, last: bool) -> float | None:
        try:
            return self._lane.step(self._clock(), last=last)
        except Exception as error:  # noqa: BLE001 - protects the messages to come: this thread must not die
            self._say(f"{self._lane.name}: sending messages failed: {type(error).__name__}")
            return _AFTER_TROUBLE_S

    def _finish(self, until: float) -> None:
        """Do what can be done in time; a channel that backs off gets one more chance."""
        self._lane.hurry(self._clock())
        pause = threading.Event()
        while (left := until - self._clock().steady) > 0:
            wait = self._step(last=True)
            if wait is None or wait > left:
                return
            if wait > 0.0:
                pause.wait(wait)
