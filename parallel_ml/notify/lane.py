"""One channel's messages on their way: when each may go, what is merged, what a reply leads to. It never raises."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from parallel_ml.errors import StoreError
from parallel_ml.notify.channel import Channel, Fate, Reply
from parallel_ml.notify.digest import digest, size_of
from parallel_ml.notify.limiter import Limiter
from parallel_ml.notify.message import Kind, Level, Message
from parallel_ml.notify.outbox import Entry, Outbox, key_of
from parallel_ml.notify.settings import QuietHours

GATHER_S = 5.0
"""The first message of a burst waits for the others at most so long."""
GATHER_GAP_S = 1.5
"""And no longer than this after the newest of them."""
BURST = 3
"""So many messages that come together make one."""
MOST_WAITING = 200
"""More are merged, so that a long outage stays small on disk."""
EXPIRY_S = 3 * 86400.0
_FIRST_BACKOFF_S = 2.0
_LONGEST_BACKOFF_S = 5 * 60.0
"""So that what came back is noticed soon; an hour's outage costs some twenty tries."""
_LONGEST_WAIT_S = 6 * 3600.0
"""What a provider may ask for at most."""
_LOOK_AGAIN_S = 60.0
_PLAUSIBLE = 1.5e9
"""Clocks that say less (2017) are not set yet."""
_AT_ONCE = frozenset({Kind.TEST, Kind.OWN})
_ALONE = Kind.RUN_DONE
"""No part of a burst, but it comes after what was told before it."""


class Moment(NamedTuple):
    """A time: by a clock that never steps, and by the one on the wall. Both in seconds."""

    steady: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(time.monotonic(), time.time())


@dataclass(frozen=True)
class Route:
    """A channel, and what of the messages is for it.

    Attributes:
        min_severity: Messages below it are not for this channel.
        quiet_hours: When it is left alone, or None.
        language: Messages in another language are not for it; those in none are.
    """

    channel: Channel
    min_severity: Level = Level.INFO
    quiet_hours: QuietHours | None = None
    language: str = "en"

    def takes(self, message: Message) -> bool:
        """Whether a message is for this channel."""
        language = message.data.get("language")
        return message.level.rank >= self.min_severity.rank and language in (None, self.language)


@dataclass(frozen=True)
class Undelivered:
    """What did not reach a person through a channel.

    Attributes:
        count: How many messages.
        reason: Why, in a sentence.
        waiting: Whether they are kept and tried again at the next start; else they are given up.
    """

    channel: str
    count: int
    reason: str
    waiting: bool


class _Times:
    """When an entry came and when it may go, by the steady clock; kept in memory alone."""

    def __init__(self, came: float, due: float, *, gathered: bool) -> None:
        self.came, self.due, self.gathered, self.held = came, due, gathered, False


class Lane:
    """The way of the messages to one channel."""

    def __init__(self, route: Route, outbox: Outbox, now: Moment, say: Callable[[str], None]) -> None:
        """Take over what waits in the outbox for this channel."""
        self.route, self.name = route, route.channel.name
        self._outbox, self._say = outbox, say
        self._random = random.Random()  # noqa: S311 - spreads tries, hides nothing
        self._failures, self._asked_to_wait = 0, False
        self._disabled: str | None = None
        self._reason = ""
        self._lost: dict[str, int] = {}
        self.sent = 0
        mine = [entry for entry in outbox.entries.values() if entry.channel == self.name]
        self._waiting = {entry.key: entry for entry in mine}
        self._times = {entry.key: self._restored(entry, now) for entry in mine}
        self._not_before = max((self._times[entry.key].due for entry in mine if entry.attempts), default=now.steady)
        tried = [done.at for done in outbox.recent if done.channel == self.name and done.fate != "expired"]
        tried += [entry.tried for entry in mine if entry.tried]
        # A stamp from the future (the clock was put back) counts as now: rather too slow than too fast.
        self._limiter = Limiter(route.channel.limits, [now.steady - max(0.0, now.wall - at) for at in tried])

    def take(self, messages: Iterable[Message], now: Moment) -> None:
        """Keep what is for this channel and is not known yet."""
        fresh: dict[str, Message] = {}
        for message in messages:
            key = key_of(self.name, message.id)
            if self.route.takes(message) and not self._outbox.knows(key):
                fresh.setdefault(key, message)
        if len(fresh) + len(self._waiting) > MOST_WAITING:
            self._merged(list(self._waiting.values()), list(fresh.values()), now)
            return
        for message in fresh.values():
            entry = self._outbox.new(self.name, message, now.wall)
            self._keep(entry, _Times(now.steady, now.steady, gathered=message.kind in _AT_ONCE))

    def step(self, now: Moment, *, last: bool = False) -> float | None:
        """Do what is due: send at most one message.

        Args:
            now: This moment.
            last: Gather no longer.

        Returns:
            In how many seconds there is something to do again; None is not until something comes.
        """
        self._expire(now)
        self._close_burst(now, last=last)
        if self._disabled is not None:
            return None
        ready = self._ready(now)
        if not ready:
            return self._next_look(now)
        wait = max(self._limiter.wait_s(now.steady), self._not_before - now.steady)
        if wait > 0.0:
            return min(wait, _LOOK_AGAIN_S)
        self._send(self._first_of(ready, now), now)
        return 0.0

    def hurry(self, now: Moment) -> None:
        """Forget the back-off, unless the provider itself asked to wait."""
        if not self._asked_to_wait:
            self._not_before = now.steady
            for times in self._times.values():
                times.due = min(times.due, now.steady)

    @property
    def failing(self) -> int:
        """How often in a row a try came to nothing."""
        return self._failures

    def undelivered(self) -> list[Undelivered]:
        """Return what did not get through so far."""
        lost = [Undelivered(self.name, count, reason, waiting=False) for reason, count in list(self._lost.items())]
        waiting = sum(size_of(entry.message) for entry in list(self._waiting.values()))
        if waiting:
            reason = self._disabled or self._reason or "not sent yet"
            lost.append(Undelivered(self.name, waiting, reason, waiting=True))
        return lost

    def _keep(self, entry: Entry, times: _Times) -> None:
        self._waiting[entry.key], self._times[entry.key] = entry, times
        self._store(lambda: self._outbox.put(entry))

    def _merged(self, entries: list[Entry], messages: list[Message], now: Moment) -> None:
        """Put one digest in the place of entries, and of messages that never had a file."""
        summary = digest([*(entry.message for entry in entries), *messages], self.route.language, now.wall)
        covers = [key for entry in entries for key in (*entry.covers, entry.key)]
        covers += [key_of(self.name, message.id) for message in messages]
        merged = self._outbox.new(self.name, summary, now.wall, covers)
        merged.number = min((entry.number for entry in entries), default=merged.number)
        for entry in entries:
            del self._waiting[entry.key], self._times[entry.key]
        self._waiting[merged.key] = merged
        self._times[merged.key] = _Times(now.steady, now.steady, gathered=True)
        self._store(lambda: self._outbox.merge(merged))

    def _close_burst(self, now: Moment, *, last: bool) -> None:
        """Let go what was gathered, if its time is up: as it is, or as one where it is many."""
        gathered = [self._waiting[key] for key, times in self._times.items() if not times.gathered]
        if not gathered or not (last or self._burst_left(now) <= 0.0):
            return
        for entry in gathered:
            self._times[entry.key].gathered = True
        burst = [entry for entry in gathered if entry.message.kind is not _ALONE]
        if len(burst) >= BURST:
            self._merged(burst, [], now)

    def _burst_left(self, now: Moment) -> float:
        came = [times.came for times in self._times.values() if not times.gathered]
        return min(min(came) + GATHER_S, max(came) + GATHER_GAP_S) - now.steady if came else 0.0

    def _ready(self, now: Moment) -> list[Entry]:
        """Return what may go as far as the messages are concerned; what quiet hours held back comes out as one."""
        ready, released = [], []
        for entry in list(self._waiting.values()):
            times = self._times[entry.key]
            if not times.gathered or times.due > now.steady:
                continue
            if self._is_quiet_for(entry.message, now):
                times.held = True
            elif times.held:
                released.append(entry)
            else:
                ready.append(entry)
        for entry in released:
            self._times[entry.key].held = False
        if len(released) > 1:
            self._merged(released, [], now)
            return self._ready(now)
        return ready + released

    def _is_quiet_for(self, message: Message, now: Moment) -> bool:
        quiet = self.route.quiet_hours
        local = time.localtime(now.wall)
        return quiet is not None and quiet.holds_back(message.level, local.tm_hour * 60 + local.tm_min)

    def _first_of(self, ready: list[Entry], now: Moment) -> Entry:
        """Return what goes now: the worst and oldest, or a digest of all that the provider leaves no room for."""
        ready.sort(key=lambda entry: (entry.attempts, -entry.message.level.rank, entry.number))
        room = self._limiter.room(now.steady)
        if room is None or len(ready) <= room:
            ready.sort(key=lambda entry: (entry.attempts, entry.number))
            return ready[0]
        if room > 1:
            return ready[0]
        known = set(self._waiting)
        self._merged(ready, [], now)
        return next(entry for key, entry in self._waiting.items() if key not in known)

    def _next_look(self, now: Moment) -> float | None:
        if not self._waiting:
            return None
        times = list(self._times.values())
        waits = [one.due - now.steady for one in times if one.gathered and not one.held]
        waits += [_LOOK_AGAIN_S] if any(one.held for one in times) else []
        waits += [self._burst_left(now)] if any(not one.gathered for one in times) else []
        return max(0.0, min([*waits, _LOOK_AGAIN_S]))

    def _send(self, entry: Entry, now: Moment) -> None:
        entry.attempts, entry.tried, entry.trying = entry.attempts + 1, now.wall, True
        self._store(lambda: self._outbox.put(entry))
        self._limiter.take(now.steady)
        reply = self._delivered(entry.message)
        entry.trying = False
        if reply.fate is Fate.RETRY:
            self._try_later(entry, reply, now)
        elif reply.fate is Fate.DISABLED:
            self._disable(entry, reply)
        else:
            self._failures, self._asked_to_wait, self._not_before = 0, False, now.steady
            self._settle(entry, reply.fate.value, now)
            if reply.fate is Fate.SENT:
                self.sent += 1
            else:
                self._lose(entry, reply.text or "it was refused")
                self._say(f"{self.name}: a message was refused: {reply.text}")

    def _delivered(self, message: Message) -> Reply:
        try:
            return self.route.channel.deliver(message)
        except Exception as error:  # noqa: BLE001 - protects the run from a channel that somebody else wrote
            # Not its text: that may hold a URL with a token.
            return Reply(Fate.RETRY, f"the channel failed with {type(error).__name__}")

    def _try_later(self, entry: Entry, reply: Reply, now: Moment) -> None:
        self._failures += 1
        self._reason = reply.text or "it could not be reached"
        self._asked_to_wait = reply.retry_after_s is not None
        spread = 0.75 + 0.5 * self._random.random()
        wait = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(self._failures - 1, 20)) * spread
        if reply.retry_after_s is not None:
            wait = min(_LONGEST_WAIT_S, max(1.0, reply.retry_after_s)) * (1.0 + 0.05 * (spread - 0.75))
        self._not_before = now.steady + wait
        self._times[entry.key].due = self._not_before
        entry.not_before = now.wall + wait
        self._store(lambda: self._outbox.put(entry))

    def _disable(self, entry: Entry, reply: Reply) -> None:
        self._disabled = reply.text or "its settings are not accepted"
        self._store(lambda: self._outbox.put(entry))
        self._say(f"{self.name}: no messages any more: {self._disabled}")

    def _expire(self, now: Moment) -> None:
        for entry in [one for one in self._waiting.values() if now.steady - self._times[one.key].came > EXPIRY_S]:
            self._settle(entry, "expired", now)
            self._lose(entry, f"too old after {EXPIRY_S / 86400:.0f} days; last: {self._disabled or self._reason}")

    def _lose(self, entry: Entry, reason: str) -> None:
        self._lost[reason] = self._lost.get(reason, 0) + size_of(entry.message)

    def _settle(self, entry: Entry, fate: str, now: Moment) -> None:
        self._waiting.pop(entry.key, None)
        self._times.pop(entry.key, None)
        self._store(lambda: self._outbox.settle(entry, fate, now.wall))

    def _store(self, change: Callable[[], None]) -> None:
        """Do something on disk; where that fails, memory is as good until the disk is back."""
        try:
            change()
        except StoreError as error:
            self._reason = self._reason or str(error)

    def _restored(self, entry: Entry, now: Moment) -> _Times:
        """Return an old entry's times. The clock may have been put back or forth, so they are never far away."""
        age = max(0.0, now.wall - entry.queued) if min(entry.queued, now.wall) > _PLAUSIBLE else 0.0
        wait = min(max(0.0, entry.not_before - now.wall), _LONGEST_BACKOFF_S)
        return _Times(now.steady - age, now.steady + wait, gathered=True)
