"""Dispatcher: takes messages without ever making anybody wait, and sees to it that they arrive."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from parallel_ml.errors import StoreError
from parallel_ml.notify.lane import EXPIRY_S, Lane
from parallel_ml.notify.message import Message
from parallel_ml.notify.moment import PLAUSIBLE, Moment
from parallel_ml.notify.outbox import Outbox
from parallel_ml.notify.route import Route, Undelivered
from parallel_ml.notify.worker import Worker

DEADLINE_S = 15.0
"""What the end of a run gives its messages, all channels together (of the contract)."""
_LEAVING_S = 0.5

Post = Message | Callable[[], Iterable[Message]]
"""A message, or what composes some: that is called in the dispatcher's thread, and may take its time."""


class Dispatcher:
    """Composes messages in one thread of its own and sends them in one for each channel; `put` only appends.

    >>> dispatcher = Dispatcher(run_dir / "outbox", routes)         # doctest: +SKIP
    >>> dispatcher.start(); dispatcher.put(message)                 # doctest: +SKIP
    >>> for left in dispatcher.close(): print(left.line)            # doctest: +SKIP

    Without `start` nothing happens by itself: `step` does what is due, at the time that it is given.
    """

    def __init__(
        self,
        folder: Path,
        routes: Iterable[Route],
        *,
        say: Callable[[str], None] | None = None,
        clock: Callable[[], Moment] = Moment.now,
        shared: Path | None = None,
    ) -> None:
        """Open the outbox of a run, or any folder.

        Args:
            folder: Where messages wait; it is made where it is not there.
            routes: The channels.
            say: Called with a line that a person should see, such as that a channel accepts nothing any more.
            clock: What tells the time.
            shared: `endpoint.shared_folder`, where all processes of the user count what a robot or an account was
                sent; None counts what this outbox alone sends.

        Raises:
            StoreError: The folder cannot be written, or another process sends its messages.
        """
        self._clock, self._say = clock, say or (lambda _: None)
        self._outbox = Outbox(folder)
        self._lanes = [Lane(route, self._outbox, clock, self._say, shared) for route in routes]
        self._drop_old_orphans(clock())
        self._workers = [Worker(lane, clock, self._say, self._ended) for lane in self._lanes]
        self._composer = threading.Thread(target=self._compose, name="parallel_ml-messages", daemon=True)
        self._running, self._counting, self._started = 0, threading.Lock(), False
        self._inbox: deque[Post] = deque()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._until = 0.0

    def start(self) -> None:
        """Send from threads of its own from now on. Where none is to be had, messages stay on disk."""
        self._started = True
        threads = [*(worker.thread for worker in self._workers), self._composer]
        self._running = len(threads)
        for thread in threads:
            try:
                thread.start()
            except RuntimeError as error:
                self._say(f"messages are kept and not sent: {error}")
                self._ended()

    def put(self, post: Post) -> None:
        """Hand a message over; it is on disk a moment later. The same id is sent once only."""
        self._inbox.append(post)
        self._wake.set()

    def step(self, now: Moment | None = None, *, last: bool = False) -> float | None:
        """Do what is due, where nothing was started: take what was put, send one message through each channel at most.

        Args:
            now: This moment; None asks the clock.
            last: It is the end: nothing is gathered any longer.

        Returns:
            In how many seconds there is something to do again; None is not until something comes.
        """
        self._hand_out()
        waits = [lane.step(now or self._clock(), last=last) for lane in self._lanes]
        return min((wait for wait in waits if wait is not None), default=None)

    def close(self, deadline_s: float = DEADLINE_S) -> list[Undelivered]:
        """Send what can be sent within a deadline and end; what is left stays on disk for the next start.

        All channels have the same time, side by side. One whose provider hangs is left hanging: what it was sending
        stays on disk until there is an answer.

        Returns:
            What was not delivered since the start, by channel and reason.
        """
        if not self._started:
            self.start()
        self._until = self._clock().steady + deadline_s
        self._closing.set()
        self._wake.set()
        if self._composer.ident is None:
            self._hand_out()
        for thread in (self._composer, *(worker.thread for worker in self._workers)):
            if thread.ident is not None:
                thread.join(max(0.0, self._until + _LEAVING_S - self._clock().steady))
        for worker in self._workers:
            worker.end(self._until)
        return self.undelivered()

    def undelivered(self) -> list[Undelivered]:
        """Return what did not reach a person so far."""
        known = {lane.name for lane in self._lanes}
        orphans = Counter(entry.channel for entry in self._outbox.waiting() if entry.channel not in known)
        gone = [Undelivered(name, count, "no such channel is set up", waiting=True) for name, count in orphans.items()]
        return [*(left for lane in self._lanes for left in lane.undelivered()), *gone]

    @property
    def sent(self) -> int:
        """How many messages were delivered since the start."""
        return sum(lane.sent for lane in self._lanes)

    def _drop_old_orphans(self, now: Moment) -> None:
        """Give up what waits for a channel that is not there, when it is too old for any."""
        known = {lane.name for lane in self._lanes}
        for entry in self._outbox.waiting():
            if entry.channel not in known and now.wall - entry.queued > EXPIRY_S and entry.queued > PLAUSIBLE:
                with contextlib.suppress(StoreError):
                    self._outbox.settle(entry, "expired", now.wall)

    def _compose(self) -> None:
        """Hand out what is put until the end, then let each channel have its last time."""
        try:
            while not self._closing.is_set():
                self._hand_out()
                self._wake.wait()
                self._wake.clear()  # before the next look at what was put
            self._hand_out()
            for worker in self._workers:
                worker.end(self._until)
        finally:
            self._ended()

    def _hand_out(self) -> None:
        """Put what came on disk for each channel: that waits for no provider, so a kill loses nothing."""
        fresh = list(self._posted())
        if not fresh:
            return
        for lane, worker in zip(self._lanes, self._workers, strict=True):
            try:
                lane.take(fresh, self._clock())
            except Exception as error:  # noqa: BLE001 - protects the other channels, and the messages to come
                self._say(f"{lane.name}: messages could not be taken: {type(error).__name__}")
            worker.wake()

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

    def _ended(self) -> None:
        """Let others have the outbox when the last thread has ended."""
        with self._counting:
            self._running -= 1
            if self._running == 0:
                self._outbox.close()
