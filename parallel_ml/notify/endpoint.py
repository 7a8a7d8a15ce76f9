"""What a robot or an account was sent by all processes of this user, and until when it wants to be left alone.

Providers count what reaches a robot, whoever sends it: two runs at once, or a monitor after another, share one limit.
So a file for each endpoint stands in the user's state folder, changed in place under its lock. It names the endpoint by
a hash, never by a secret. Where it cannot be used, the limits of this process hold alone; where it is torn, or of
another version, it begins anew: the history of a minute is worth no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parallel_ml.notify.channel import Channel, Fate, Limits, Reply
from parallel_ml.notify.limiter import Limiter
from parallel_ml.notify.message import Message
from parallel_ml.notify.moment import Moment
from parallel_ml.store.identity import boot_id
from parallel_ml.store.state_folder import state_folder

LONGEST_HOLD_S = 6 * 3600.0
"""What a provider may ask for at most."""
_PATIENCE_S = 1.0
"""It is held for microseconds: who holds it longer is stopped or hangs."""
_SHUNNED_S = 60.0
_POLL_S = 0.005
_FORGOTTEN_S = 7 * 86400.0
_MAX_BYTES = 64 * 1024
_VERSION = 1


@dataclass
class _Book:
    """What the file says, its times by the clock of the reader that never steps.

    Attributes:
        sent: When something was sent, oldest first.
        held_at: When somebody was last told or decided to wait.
        hold_s: For how long, counted from then; 0.0 is not at all.
        asked: Whether the provider itself asked for it.
        changed: Whether it is to be written.
    """

    sent: list[float] = field(default_factory=list)
    held_at: float = 0.0
    hold_s: float = 0.0
    asked: bool = False
    changed: bool = False

    def wait_s(self, now: Moment, *, asked_only: bool) -> float:
        """Return for how long the endpoint is to be left alone."""
        if asked_only and not self.asked:
            return 0.0
        return max(0.0, self.held_at + self.hold_s - now.steady)


class Endpoint:
    """The limits of one robot or account, shared with the other processes of the user."""

    def __init__(self, limits: Limits, name: str = "", folder: Path | None = None) -> None:
        """Touch nothing yet.

        Args:
            limits: What the provider allows.
            name: What the channel calls its endpoint; "" is shared with nobody.
            folder: Where the files are; None shares nothing.
        """
        self._limits = limits
        self._path = folder / f"{name}.json" if name and folder is not None else None
        self._shunned_until = -math.inf

    def wait_s(self, now: Moment, *, asked_only: bool = False) -> float:
        """Return in how many seconds one more may be sent; 0.0 is now.

        Args:
            now: This moment.
            asked_only: Pass over a wait that no provider asked for.
        """
        with self._book(now) as book:
            return self._wait_s(book, now, asked_only=asked_only)

    def room(self, now: Moment) -> int | None:
        """Return how many more may be sent within the minute and the day; None is as many as wanted."""
        with self._book(now) as book:
            return Limiter(self._limits, book.sent).room(now.steady)

    def take(self, now: Moment, *, asked_only: bool = False) -> float:
        """Count one that is sent now, if one may be; return as `wait_s` does, and 0.0 where it was counted."""
        with self._book(now, make=not self._limits.is_endless) as book:
            wait_s = self._wait_s(book, now, asked_only=asked_only)
            if wait_s <= 0.0 and not self._limits.is_endless:
                book.sent.append(now.steady)
                book.changed = True
            return wait_s

    def hold(self, now: Moment, wait_s: float, *, asked: bool) -> None:
        """Leave the endpoint alone for a while; so do all others. What a provider asked for is not cut short."""
        with self._book(now, make=True) as book:
            left_s = book.wait_s(now, asked_only=True)
            if left_s < wait_s:
                book.held_at, book.hold_s = now.steady, min(wait_s, LONGEST_HOLD_S)
                book.asked, book.changed = asked or left_s > 0.0, True

    def free(self, now: Moment) -> None:
        """The endpoint took a message: nobody needs to wait for it."""
        with self._book(now) as book:
            if book.hold_s:
                book.hold_s, book.asked, book.changed = 0.0, False, True

    def _wait_s(self, book: _Book, now: Moment, *, asked_only: bool) -> float:
        limited_s = Limiter(self._limits, book.sent).wait_s(now.steady)
        return max(limited_s, book.wait_s(now, asked_only=asked_only))

    @contextlib.contextmanager
    def _book(self, now: Moment, *, make: bool = False) -> Iterator[_Book]:
        """Keep the others out, and yield what is known; an empty book where nothing can be."""
        handle = self._opened(now, make=make)
        if handle is None:
            yield _Book()
            return
        try:
            book = _read(handle, now)
            yield book
            if book.changed:
                self._write(handle, book, now)
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # a child that was forked meanwhile would keep it
            os.close(handle)

    def _opened(self, now: Moment, *, make: bool) -> int | None:
        if self._path is None or now.steady < self._shunned_until:
            return None
        try:
            if make and not self._path.parent.is_dir():
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_CREAT if make else 0)
            handle = os.open(self._path, flags, 0o600)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._shunned_until = now.steady + _SHUNNED_S
            return None
        if _is_locked(handle):
            return handle
        os.close(handle)
        self._shunned_until = now.steady + _SHUNNED_S
        return None

    def _write(self, handle: int, book: _Book, now: Moment) -> None:
        """Replace what the file says, in place, as others wait for the lock of this very file."""
        told = {
            "v": _VERSION,
            "boot": boot_id(),
            "sent": [_stamp(at, now) for at in book.sent[-self._limits.most_counted :]],
            "held": [*_stamp(book.held_at, now), book.hold_s, book.asked] if book.hold_s else None,
        }
        with contextlib.suppress(OSError):
            os.pwrite(handle, written := json.dumps(told).encode() + b"\n", 0)
            os.ftruncate(handle, len(written))


def delivered_now(channel: Channel, message: Message) -> Reply:
    """Send a message at once, past any outbox, and count it with what all other processes of the user send.

    Where the provider takes no more for the moment, nothing is sent: it would answer by blocking the robot.
    """
    endpoint = Endpoint(channel.limits, getattr(channel, "endpoint", ""), shared_folder(os.environ))
    wait_s = endpoint.take(Moment.now())
    if wait_s > 0.0:
        limit = "the provider takes no more for the moment (what all your programs send to it counts)"
        return Reply(Fate.RETRY, f"not sent: {limit}; try again in {math.ceil(wait_s)} s", wait_s)
    reply = channel.deliver(message)
    if reply.fate is Fate.RETRY and reply.retry_after_s is not None:
        endpoint.hold(Moment.now(), reply.retry_after_s, asked=True)
    elif reply.fate is not Fate.RETRY:
        endpoint.free(Moment.now())
    return reply


def shared_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the files, those that nobody has used for a week removed."""
    folder = state_folder(environ) / "endpoints"
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > _FORGOTTEN_S:
                    path.unlink()
    return folder


def _is_locked(handle: int) -> bool:
    """Lock a file; return whether that went well."""
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return False
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                return False
            time.sleep(_POLL_S)
        except OSError:
            return False
        else:
            return True


def _read(handle: int, now: Moment) -> _Book:
    """Return what the file says; what cannot be read says nothing."""
    try:
        # What a kill left behind a shorter new line is no part of it.
        told = json.loads(os.pread(handle, _MAX_BYTES, 0).split(b"\n", 1)[0])
        if told["v"] != _VERSION:
            return _Book()
        same_boot = bool(told["boot"]) and told["boot"] == boot_id()
        book = _Book(sorted(_steady(one, now, same_boot=same_boot) for one in told["sent"]))
        if told["held"] is not None:
            book.held_at = _steady(told["held"][:2], now, same_boot=same_boot)
            book.hold_s = min(max(0.0, float(told["held"][2])), LONGEST_HOLD_S)
            book.asked = bool(told["held"][3])
        book.changed = not same_boot  # else what a clock that was put back has made of it would never pass
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return _Book()
    return book


def _stamp(steady: float, now: Moment) -> list[float]:
    """Return a time by both clocks: after a reboot only the one on the wall still counts."""
    return [steady, now.wall - (now.steady - steady)]


def _steady(stamp: Any, now: Moment, *, same_boot: bool) -> float:
    """Return a time by this process's clock; one that lies in the future (a clock was put back) is now.

    Raises:
        ValueError, TypeError: It is no time.
    """
    steady, wall = (float(one) for one in stamp)
    if not (math.isfinite(steady) and math.isfinite(wall)):
        raise ValueError("a time must be finite")
    if same_boot and steady <= now.steady:
        return steady
    return now.steady - max(0.0, now.wall - wall)
