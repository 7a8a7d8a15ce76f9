"""One channel's messages on their way: when each may go, what is merged, what a reply leads to. It never raises."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from parallel_ml.errors import StoreError
from parallel_ml.notify.channel import Fate, Reply
from parallel_ml.notify.digest import digest, size_of
from parallel_ml.notify.endpoint import LONGEST_HOLD_S, Endpoint
from parallel_ml.notify.limiter import Limiter
from parallel_ml.notify.message import Kind, Message
from parallel_ml.notify.moment import PLAUSIBLE, Moment, when
from parallel_ml.notify.outbox import Entry, Outbox, key_of
from parallel_ml.notify.route import Route, Undelivered

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
_TRIES_OF_ONE = 3
_LOOK_AGAIN_S = 60.0
_AT_ONCE = frozenset({Kind.TEST, Kind.OWN})
_ALONE = Kind.RUN_DONE
"""No part of a burst, but it comes after what was told before it."""


class _Times:
    """When an entry came and when it may go, by the steady clock; kept in memory alone."""

    def __init__(self, came: float, due: float, *, gathered: bool) -> None:
        self.came, self.due, self.gathered, self.held = came, due, gathered, False
        self.passed = 0
        """How many later messages got through while this one did not: then it is its own fault."""


class Lane:
    """The way of the messages to one channel.

    One thread calls `step`; others may call the rest meanwhile, and none of them waits for the provider.
    """

    def __init__(
        self,
        route: Route,
        outbox: Outbox,
        clock: Callable[[], Moment],
        say: Callable[[str], None],
        shared: Path | None = None,
    ) -> None:
        """Take over what waits in the outbox for this channel.

        Args:
            route: The channel.
            outbox: Where messages wait.
            clock: What tells the time.
            say: Called with lines for people.
            shared: Where the user's processes keep what an endpoint was sent; None is nowhere.
        """
        now, self._clock, self._busy = clock(), clock, threading.RLock()
        self._sending: Entry | None = None
        self._hurried = self._limited = False
        self.route, self.name = route, route.name or route.channel.name
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
        limits = route.channel.limits
        self._limiter = Limiter(limits, [now.steady - max(0.0, now.wall - at) for at in tried])
        self._endpoint = Endpoint(limits, getattr(route.channel, "endpoint", ""), shared)

    def take(self, messages: Iterable[Message], now: Moment) -> None:
        """Keep what is for this channel and is not known yet."""
        with self._busy:
            fresh: dict[str, Message] = {}
            for message in messages:
                key = key_of(self.name, message.id)
                if self.route.takes(message) and not self._outbox.knows(key):
                    fresh.setdefault(key, message)
            if len(fresh) + len(self._waiting) > MOST_WAITING:
                # Not the one that is on its way: it will be sent, or not, as it is.
                resting = [entry for entry in self._waiting.values() if entry is not self._sending]
                self._merged(resting, list(fresh.values()), now)
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
        with self._busy:
            self._sending, wait = self._next(now, last=last)
        if self._sending is None:
            return wait
        reply = self._delivered(self._as_told_now(self._sending.message))  # others may hand messages over meanwhile
        with self._busy:
            entry, self._sending = self._sending, None
            self._conclude(entry, reply, self._clock())
        return 0.0

    def hurry(self, now: Moment) -> None:
        """Forget the back-off, unless the provider itself asked to wait."""
        with self._busy:
            self._hurried = True
            if not self._asked_to_wait:
                self._not_before = now.steady
                for times in self._times.values():
                    times.due = min(times.due, now.steady)

    def undelivered(self) -> list[Undelivered]:
        """Return what did not get through so far."""
        with self._busy:
            lost = [Undelivered(self.name, count, reason, waiting=False) for reason, count in self._lost.items()]
            held = [key for key, times in self._times.items() if times.held and self._disabled is None]
            quiet = sum(size_of(self._waiting[key].message) for key in held)
            others = sum(size_of(entry.message) for entry in self._waiting.values()) - quiet
            if others:
                lost.append(Undelivered(self.name, others, self._why(), waiting=True))
            if quiet and self.route.quiet_hours is not None:
                until = self.route.quiet_hours.ends_at
                lost.append(Undelivered(self.name, quiet, "quiet hours", waiting=True, quiet_until=until))
            return lost

    def _why(self) -> str:
        """Return why what waits has not been sent."""
        if self._disabled is not None:
            return self._disabled
        if self._sending is not None and len(self._waiting) == 1:
            return "the provider has not answered yet"
        if self._limited:
            return "the provider takes no more for the moment (what all your runs send to it counts)"
        return self._reason or "not sent yet"

    def _next(self, now: Moment, *, last: bool) -> tuple[Entry | None, float | None]:
        """Return what is to be sent now, written down as being tried; or when to look again."""
        self._expire(now)
        self._close_burst(now, last=last)
        if self._disabled is not None:
            return None, None
        ready = self._ready(now)
        if not ready:
            return None, self._next_look(now, last=last)
        wait = max(self._limiter.wait_s(now.steady), self._not_before - now.steady)
        if wait <= 0.0:
            wait = self._endpoint.wait_s(now, asked_only=self._hurried)
        if wait <= 0.0:
            entry = self._first_of(ready, now)
            wait = self._endpoint.take(now, asked_only=self._hurried)
        self._limited = wait > 0.0 and self._not_before <= now.steady
        if wait > 0.0:
            return None, min(wait, _LOOK_AGAIN_S)
        entry.attempts, entry.tried, entry.trying = entry.attempts + 1, now.wall, True
        self._store(lambda: self._outbox.put(entry))
        self._limiter.take(now.steady)
        return entry, 0.0

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
        """Return what goes now: the worst and oldest, or a digest of all that the provider leaves no room for.

        What failed keeps its place, since mostly the network failed; but now and then the next one is tried, and what
        stays behind then lets the others go first.
        """
        ready.sort(key=lambda entry: (self._is_stuck(entry), -entry.message.level.rank, entry.number))
        rooms = [room for room in (self._limiter.room(now.steady), self._endpoint.room(now)) if room is not None]
        room = min(rooms, default=len(ready))
        if len(ready) <= room:
            ready.sort(key=lambda entry: (self._is_stuck(entry), entry.number))
        if len(ready) <= room or room > 1:
            return ready[1] if len(ready) > 1 and self._failures % _TRIES_OF_ONE == _TRIES_OF_ONE - 1 else ready[0]
        known = set(self._waiting)
        self._merged(ready, [], now)
        return next(entry for key, entry in self._waiting.items() if key not in known)

    def _is_stuck(self, entry: Entry) -> bool:
        return self._times[entry.key].passed > 1

    def _next_look(self, now: Moment, *, last: bool) -> float | None:
        if not self._waiting or (last and all(one.held for one in self._times.values())):
            return None  # at the end nobody waits for quiet hours to be over
        times = list(self._times.values())
        waits = [one.due - now.steady for one in times if one.gathered and not one.held]
        waits += [_LOOK_AGAIN_S] if any(one.held for one in times) else []
        waits += [self._burst_left(now)] if any(not one.gathered for one in times) else []
        return max(0.0, min([*waits, _LOOK_AGAIN_S]))

    def _conclude(self, entry: Entry, reply: Reply, now: Moment) -> None:
        """Write down what became of a try."""
        entry.trying = False
        if reply.fate is Fate.RETRY:
            self._try_later(entry, reply, now)
        elif reply.fate is Fate.DISABLED:
            self._disable(entry, reply)
        else:
            self._failures, self._asked_to_wait, self._not_before, self._reason = 0, False, now.steady, ""
            self._endpoint.free(now)
            self._settle(entry, reply.fate.value, now)
            for other in self._waiting.values():
                self._times[other.key].passed += other.attempts > 0 and other.number < entry.number
            if reply.fate is Fate.SENT:
                self.sent += 1
            else:
                self._lose(entry, reply.text or "it was refused")
                self._say(f"{self.name}: a message was refused: {reply.text}")

    def _as_told_now(self, message: Message) -> Message:
        """Return a message that says when it happened, where that is long ago; programs have `created` for that."""
        if message.kind is Kind.DIGEST or getattr(self.route.channel, "for_programs", False):
            return message
        late = when(message.created, self._clock().wall, str(message.data.get("language") or self.route.language))
        return replace(message, title=message.title + late) if late else message

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
            wait = min(LONGEST_HOLD_S, max(1.0, reply.retry_after_s)) * (1.0 + 0.05 * (spread - 0.75))
        self._not_before = now.steady + wait
        self._endpoint.hold(now, wait, asked=self._asked_to_wait)
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
        age = max(0.0, now.wall - entry.queued) if min(entry.queued, now.wall) > PLAUSIBLE else 0.0
        wait = min(max(0.0, entry.not_before - now.wall), _LONGEST_BACKOFF_S)
        times = _Times(now.steady - age, now.steady + wait, gathered=True)
        times.held = self._is_quiet_for(entry.message, Moment(now.steady, entry.queued)) and not entry.attempts
        return times
