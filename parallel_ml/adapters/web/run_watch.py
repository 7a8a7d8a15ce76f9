"""Noticing runs that begin, for the streams that tell of all of them."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from parallel_ml.adapters.web.listing import FINISHED, Listing
from parallel_ml.runtime.client import UNREADABLE

LOOK_S = 1.0
LATELY_S = 30.0


class Watcher(Protocol):
    """Somebody who wants to know of new runs."""

    def offer(self, run: str, news: None) -> None:
        """Take in that a run has begun."""


class RunWatch:
    """Looks for runs that begin, or go on, as long as somebody wants to know of them."""

    def __init__(self, listing: Listing) -> None:
        """Look at nothing yet."""
        self._listing = listing
        self._watchers: set[Watcher] = set()
        self._known: set[str] = set()
        self._seen_live: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    async def join(self, watcher: Watcher) -> list[str]:
        """Return the runs under way, and tell of those that follow."""
        live, known = await self._look()
        self._watchers.add(watcher)
        if self._task is None or self._task.done():
            self._known = known
            self._task = asyncio.get_running_loop().create_task(self._go())
        return live

    def leave(self, watcher: Watcher) -> None:
        """Tell a watcher no more."""
        self._watchers.discard(watcher)

    def was_live(self, run: str) -> bool:
        """Whether a run was under way not long ago."""
        return time.monotonic() - self._seen_live.get(run, -LATELY_S) < LATELY_S

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()

    async def _go(self) -> None:
        before: set[str] = set()
        while self._watchers:
            await asyncio.sleep(LOOK_S)
            live, known = await self._look()
            for run in sorted((known - self._known) | (set(live) - before)):
                for watcher in list(self._watchers):
                    watcher.offer(run, None)
            self._known, before = known, set(live)

    async def _look(self) -> tuple[list[str], set[str]]:
        """Return the runs under way, and all of them."""
        found = await asyncio.to_thread(self._listing.runs)
        live = [brief["run"] for brief in found if brief["state"] not in FINISHED]
        now = time.monotonic()
        self._seen_live.update(dict.fromkeys(live, now))
        return live, {brief["run"] for brief in found if brief["state"] != UNREADABLE}
