"""One follower for each run that somebody watches, however many they are: it reads the run's files for all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from parallel_ml.adapters.web.runs import Runs
from parallel_ml.errors import ParallelMLError
from parallel_ml.runtime.run_tail import News, RunTail

LOOK_S = 0.2
IDLE_S = 20.0
"""A follower that nobody listens to any more is kept for so long: a page that is loaded anew comes back at once."""
THREADS = 4
"""Of their own, so that a hundred slow requests do not keep the news back."""
_Found = TypeVar("_Found")


class Listener(Protocol):
    """Somebody who wants to know."""

    def offer(self, run: str, news: News) -> None:
        """Take news, at once; whoever cannot is left behind."""


class Follower:
    """Follows one run for all who listen."""

    def __init__(self, run: str, tail: RunTail, threads: ThreadPoolExecutor) -> None:
        """Follow `run` with `tail`; nothing is read before `start`."""
        self.run, self.tail = run, tail
        self._threads = threads
        self._listeners: set[Listener] = set()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.failure: str | None = None
        """Why it has ended."""

    def start(self, when_idle: Callable[[Follower], None]) -> None:
        """Begin; `when_idle` is called when it has ended, as nobody listens or the run cannot be read."""
        self._task = asyncio.get_running_loop().create_task(self._go())
        self._task.add_done_callback(lambda _: when_idle(self))

    async def join(self, listener: Listener, since: RunTail | None = None) -> tuple[list[News], str]:
        """Have a listener told from now on.

        Args:
            listener: It.
            since: What the listener has read by itself so far, to be brought up to what all are told.

        Returns:
            What `since` has missed, and the place of the run.
        """
        async with self._lock:
            missed: list[News] = []
            while since is not None and (more := await self._in_thread(lambda: since.poll(until=self.tail))):
                missed += more
            self._listeners.add(listener)
            return missed, self.tail.place

    def leave(self, listener: Listener) -> None:
        """Tell a listener no more."""
        self._listeners.discard(listener)

    async def read(self, tail: RunTail) -> list[News]:
        """Return the next news of another tail of the same run, none that is still to be told to all."""
        return await self._in_thread(lambda: tail.poll(until=self.tail))

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _go(self) -> None:
        idle_s = 0.0
        while idle_s < IDLE_S or self._listeners:
            try:
                async with self._lock:
                    for news in await self._in_thread(self.tail.poll):
                        for listener in list(self._listeners):
                            listener.offer(self.run, news)
            except (ParallelMLError, OSError) as error:
                self.failure = str(error)
                return
            idle_s = 0.0 if self._listeners else idle_s + LOOK_S
            await asyncio.sleep(LOOK_S)
        self.failure = "nobody listened"

    async def _in_thread(self, call: Callable[[], _Found]) -> _Found:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


class Followers:
    """The followers of a server."""

    def __init__(self, runs: Runs) -> None:
        """Follow nothing yet."""
        self._runs = runs
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="follow")
        self._followers: dict[str, asyncio.Task[Follower]] = {}

    async def of(self, run: str) -> Follower:
        """Return the follower of a run.

        Raises:
            Problem: There is no such run.
        """
        made = self._followers.get(run)
        if made is None or (made.done() and (made.exception() or made.result().failure)):
            made = self._followers[run] = asyncio.get_running_loop().create_task(self._make(run))
        return await asyncio.shield(made)

    async def close(self) -> None:
        """End all of them."""
        for made in list(self._followers.values()):
            made.cancel()
            with contextlib.suppress(asyncio.CancelledError, ParallelMLError):
                await (await made).close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _make(self, run: str) -> Follower:
        loop = asyncio.get_running_loop()
        try:
            tail = await loop.run_in_executor(self._threads, lambda: self._runs.fresh(run).follow())
        except BaseException:
            self._followers.pop(run, None)
            raise
        follower = Follower(run, tail, self._threads)
        follower.start(self._forget)
        return follower

    def _forget(self, follower: Follower) -> None:
        self._followers.pop(follower.run, None)
