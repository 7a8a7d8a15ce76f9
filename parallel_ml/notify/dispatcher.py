"""Dispatcher: takes messages without ever making anybody wait, and sees to it that they arrive."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from parallel_ml.notify.lane import Lane, Moment, Route, Undelivered
from parallel_ml.notify.message import Message
from parallel_ml.notify.outbox import Outbox

DEADLINE_S = 15.0
"""What the end of a run gives its messages (of the contract)."""
_IDLE_S = 60.0
_AFTER_TROUBLE_S = 5.0

Post = Message | Callable[[], Iterable[Message]]
"""A message, or what composes some: that is called in the dispatcher's thread, and may take its time."""


class Dispatcher:
    """Sends messages from one thread of its own; `put` only appends.

    >>> dispatcher = Dispatcher(run_dir / "outbox", routes)         # doctest: +SKIP
    >>> dispatcher.start(); dispatcher.put(message)                 # doctest: +SKIP
    >>> for left in dispatcher.close(): print(left.channel, left.count, left.reason)    # doctest: +SKIP

    Without `start` nothing happens by itself: `step` does what is due, at the time that it is given.
    """

    def __init__(
        self,
        folder: Path,
        routes: Iterable[Route],
        *,
        say: Callable[[str], None] | None = None,
        clock: Callable[[], Moment] = Moment.now,
    ) -> None:
        """Open the outbox of a run, or any folder.

        Args:
            folder: Where messages wait; it is made where it is not there.
            routes: The channels.
            say: Called with a line that a person should see, such as that a channel accepts nothing any more.
            clock: What tells the time.

        Raises:
            StoreError: The folder cannot be written, or another process sends its messages.
        """
        self._clock, self._say = clock, say or (lambda _: None)
        self._outbox = Outbox(folder)
        now = clock()
        self._lanes = [Lane(route, self._outbox, now, self._say) for route in routes]
        self._inbox: deque[Post] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._deadline_s = DEADLINE_S

    def start(self) -> None:
        """Send from a thread of its own from now on."""
        self._thread = threading.Thread(target=self._run, name="parallel_ml-messages", daemon=True)
        self._thread.start()

    def put(self, post: Post) -> None:
        """Hand a message over; it is on disk a moment later. The same id is sent once only."""
        self._inbox.append(post)
        self._wake.set()

    def step(self, now: Moment | None = None, *, last: bool = False) -> float | None:
        """Do what is due: take what was put, send at most one message through each channel.

        Args:
            now: This moment; None asks the clock, for each channel anew: the one before it may have taken long.
            last: It is the end: nothing is gathered any longer.

        Returns:
            In how many seconds there is something to do again; None is not until something comes.
        """
        fresh = list(self._posted())
        # Those that work come first: one that hangs must not use up the time of the others.
        waits = []
        for lane in sorted(self._lanes, key=lambda lane: lane.failing):
            moment = now or self._clock()
            if fresh:
                lane.take(fresh, moment)
            waits.append(lane.step(moment, last=last))
        return min((wait for wait in waits if wait is not None), default=None)

    def close(self, deadline_s: float = DEADLINE_S) -> list[Undelivered]:
        """Send what can be sent within a deadline and end; what is left stays on disk for the next start.

        Returns:
            What was not delivered since the start, by channel and reason.
        """
        if self._thread is None:
            self._finish(deadline_s)
        else:
            self._deadline_s = deadline_s
            self._closing.set()
            self._wake.set()
            self._thread.join(deadline_s + 0.5)  # a provider that hangs is left hanging: its message stays on disk
        undelivered = self.undelivered()
        if self._thread is None or not self._thread.is_alive():
            self._outbox.close()
        return undelivered

    def undelivered(self) -> list[Undelivered]:
        """Return what did not reach a person so far."""
        known = {lane.name for lane in self._lanes}
        entries = list(self._outbox.entries.values())
        orphans = Counter(entry.channel for entry in entries if entry.channel not in known)
        gone = [Undelivered(name, count, "no such channel is set up", waiting=True) for name, count in orphans.items()]
        return [*(left for lane in self._lanes for left in lane.undelivered()), *gone]

    @property
    def sent(self) -> int:
        """How many messages were delivered since the start."""
        return sum(lane.sent for lane in self._lanes)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.clear()
            wait = self._safe_step()
            if wait != 0.0:
                self._wake.wait(_IDLE_S if wait is None else min(wait, _IDLE_S))
        self._finish(self._deadline_s)

    def _posted(self) -> Iterator[Message]:
        for _ in range(len(self._inbox)):
            post = self._inbox.popleft()
            if isinstance(post, Message):
                yield post
                continue
            try:
                yield from post()
            except Exception as error:  # noqa: BLE001 - protects the other messages from one that cannot be composed
                self._say(f"a message could not be written: {type(error).__name__}: {error}")

    def _safe_step(self, *, last: bool = False) -> float | None:
        try:
            return self.step(last=last)
        except Exception as error:  # noqa: BLE001 - protects the messages to come: this thread must not die
            self._say(f"sending messages failed: {type(error).__name__}")
            return _AFTER_TROUBLE_S

    def _finish(self, deadline_s: float) -> None:
        """Do what can be done before the deadline; a channel that backs off gets one more chance."""
        start = self._clock()
        for lane in self._lanes:
            lane.hurry(start)
        pause = threading.Event()
        while (left := deadline_s - (self._clock().steady - start.steady)) > 0:
            wait = self._safe_step(last=True)
            if wait is None or wait > left:
                return
            if wait > 0.0:
                pause.wait(wait)
