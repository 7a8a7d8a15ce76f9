"""What one client is told, as it happens: of one run, or of all that are under way. SSE and WebSocket read from here.

A message's `id` names the place of every run that the stream has told of. Whoever comes back with it is told what has
happened since, also by a server that was started anew: places are those of the runs' files.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from parallel_ml.adapters.web.followers import Follower, Followers
from parallel_ml.adapters.web.problems import Problem
from parallel_ml.adapters.web.run_watch import RunWatch
from parallel_ml.adapters.web.runs import task_of
from parallel_ml.errors import UsageError
from parallel_ml.runtime.run_tail import BEGINNING, News, RunTail
from parallel_ml.store.job_status import iso

MOST_WAITING = 2000
"""Messages that wait for a slow client; with one more it is let go, and comes back with the last id that it has."""
HEARTBEAT_S = 15.0
MAX_ID = 16 << 10
MOST_RUNS = 200


class Dropped(Exception):
    """The client is too slow, or what it follows cannot be read any more."""


class Stream:
    """The messages for one client."""

    def __init__(self, followers: Followers, watch: RunWatch | None, run: str | None = None) -> None:
        """Tell of `run`, or of all runs under way by `watch`."""
        self._followers, self._watch, self._run = followers, watch, run
        self._queue: asyncio.Queue[tuple[str, News | None]] = asyncio.Queue(MOST_WAITING)
        self._joined: dict[str, Follower] = {}
        self._places: dict[str, str] = {}
        self._over = False

    def offer(self, run: str, news: News | None) -> None:
        """Take news; None is that the run has begun."""
        try:
            self._queue.put_nowait((run, news))
        except asyncio.QueueFull:
            self._over = True

    async def messages(self, last_id: str | None = None) -> AsyncGenerator[dict[str, Any] | None, None]:
        """Yield what happens after the message with `last_id`, from now on without one; None where nothing does.

        Raises:
            Dropped: No more can be told.
            Problem: There is no such run, or no such id.
        """
        places = read_id(last_id) if last_id else {}
        try:
            async for message in self._begin(places):
                yield message
            yield {"type": "hello", "id": self._id(), "runs": list(self._joined), "timestamp": iso(time.time())}
            while True:
                self._check()
                try:
                    run, news = await asyncio.wait_for(self._queue.get(), HEARTBEAT_S)
                except (TimeoutError, asyncio.TimeoutError):
                    yield None
                    continue
                if news is not None:
                    yield self._message(run, news)
                elif run not in self._joined:
                    async for message in self._join(run, BEGINNING):
                        yield message
        finally:
            self.close()

    def close(self) -> None:
        """Listen no more."""
        for follower in self._joined.values():
            follower.leave(self)
        if self._watch is not None:
            self._watch.leave(self)

    async def _begin(self, places: Mapping[str, str]) -> AsyncGenerator[dict[str, Any], None]:
        """Join what is to be followed, and yield what was missed of it."""
        if self._run is not None:
            if places and self._run not in places:
                raise Problem(409, "unknown-event", f"Last-Event-ID is not of run {self._run}", "begin without it")
            async for message in self._join(self._run, places.get(self._run)):
                yield message
            return
        live = await self._watch.join(self) if self._watch is not None else []
        newest = max(places, default=None)
        for run in sorted({*live, *places})[-MOST_RUNS:]:
            since = places.get(run, BEGINNING if newest is not None and run > newest else None)
            with contextlib.suppress(Problem):  # a run that was removed meanwhile
                async for message in self._join(run, since):
                    yield message

    async def _join(self, run: str, place: str | None) -> AsyncGenerator[dict[str, Any], None]:
        """Follow a run, from a place on or from now on, and yield what has happened since then."""
        follower = await self._followers.of(run)
        tail: RunTail | None = None
        if place is not None:
            try:
                tail = follower.tail.fork(place)
            except UsageError as error:
                raise Problem(409, "unknown-event", str(error), "begin without Last-Event-ID") from error
            while news := await follower.read(tail):  # at the client's own pace
                for one in news:
                    yield self._message(run, one)
        missed, now = await follower.join(self, tail)
        self._joined[run] = follower
        for one in missed:
            yield self._message(run, one)
        self._places[run] = now

    def _message(self, run: str, news: News) -> dict[str, Any]:
        self._places[run] = news.place
        job = news.data.get("job")
        return {
            "type": news.data["type"],
            "task_id": run if job is None else task_of(run, job),
            "run": run,
            **news.data,
            "id": self._id(),
        }

    def _id(self) -> str:
        """Return the places of all runs that may have news, and of the newest one."""
        places = sorted(self._places.items())
        kept = [one for one in places[:-1] if self._watch is None or self._watch.was_live(one[0])] + places[-1:]
        return ",".join(f"{run}:{place}" for run, place in kept[-MOST_RUNS:])

    def _check(self) -> None:
        """Stop telling where that is not possible any more.

        Raises:
            Dropped: It is not.
        """
        if self._over:
            raise Dropped("too slow: come back with the last id")
        if any(follower.failure for follower in self._joined.values()):
            raise Dropped("a run cannot be read any more")


def read_id(text: str) -> dict[str, str]:
    """Return the places that a message's id names, by the run.

    Raises:
        Problem: It is none.
    """
    pairs = [part.rpartition(":") for part in text.split(",")] if len(text) <= MAX_ID else []
    if not pairs or len(pairs) > MOST_RUNS or not all(run and place for run, _, place in pairs):
        raise Problem(409, "unknown-event", "Last-Event-ID is none of this server's", "begin without it")
    return {run: place for run, _, place in pairs}


async def end(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait for its end; again where the first time is lost, as in `wait_for` before Python 3.12."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)
    task.result()
