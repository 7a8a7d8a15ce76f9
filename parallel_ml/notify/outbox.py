"""Messages on disk until they are delivered: one file for each message and channel, and what became of the others.

A delivery is at least once: what is killed between a provider's yes and the line in `done.jsonl` is sent again at the
next start, with the same id and `data["again"]`, by which a receiver can tell. After that line it is never sent again.
Every file is written whole and renamed, mode 0600; one that is torn or foreign is passed over. One process at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parallel_ml.errors import StoreError
from parallel_ml.notify.message import Message
from parallel_ml.notify.wire import message_from_dict, message_to_dict
from parallel_ml.store.files import ODD_CHARACTERS, make_dir, read_json, store_errors, write_whole

MOST_DONE = 20_000
"""Messages that are remembered as done; those that come twice (a supervisor that took a run over) are newer."""
_FORMAT = 1


@dataclass
class Entry:
    """One message for one channel.

    Attributes:
        key: Names the pair; the same message for the same channel has the same one.
        number: In which order they came.
        attempts: How often it was tried; counted before the try.
        queued: When it came, by the wall clock.
        not_before: When it may be tried again, by the wall clock.
        tried: When it was tried last, by the wall clock; 0.0 for never.
        trying: Whether a try has begun that has not ended.
        covers: The keys of the messages that were merged into this one.
    """

    key: str
    channel: str
    message: Message
    number: int
    queued: float
    attempts: int = 0
    not_before: float = 0.0
    tried: float = 0.0
    trying: bool = False
    covers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """A message that is over: sent, or given up."""

    keys: tuple[str, ...]
    channel: str
    fate: str
    at: float


def key_of(channel: str, message_id: str) -> str:
    """Return the name of a message for a channel, fit for a file.

    >>> key_of("email", "run/job/1/failed") == key_of("email", "run/job/1/failed")
    True
    """
    return hashlib.sha256(f"{channel}\0{message_id}".encode("utf-8", ODD_CHARACTERS)).hexdigest()[:20]


class Outbox:
    """The messages of a run, or of any folder, that wait. Several threads may use it."""

    def __init__(self, folder: Path) -> None:
        """Open a folder, making it where it is not there, and read what waits.

        Raises:
            StoreError: It cannot be written, or another process sends its messages.
        """
        self._folder, self._changing = folder, threading.RLock()
        make_dir(folder, 0o700)
        self._lock = _locked(folder / "lock")
        try:
            self._done: dict[str, None] = {}
            self.recent: list[Done] = self._read_done()
            self.entries: dict[str, Entry] = {}
            self._load()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Let another process have it."""
        with self._changing:
            if self._lock >= 0:
                with contextlib.suppress(OSError):
                    fcntl.flock(self._lock, fcntl.LOCK_UN)  # a child that was forked meanwhile would keep it
                os.close(self._lock)
                self._lock = -1

    def knows(self, key: str) -> bool:
        """Whether a message is here, is part of one that is, or is done."""
        with self._changing:
            return key in self.entries or key in self._covered or key in self._done

    def waiting(self) -> list[Entry]:
        """Return what waits, for any channel."""
        with self._changing:
            return list(self.entries.values())

    def new(self, channel: str, message: Message, now: float, covers: Sequence[str] = ()) -> Entry:
        """Return an entry that is not in the outbox yet."""
        with self._changing:
            self._last += 1
            number = self._last
        return Entry(key_of(channel, message.id), channel, message, number, now, covers=tuple(covers)[-MOST_DONE:])

    def put(self, entry: Entry) -> None:
        """Keep an entry, as it is now. In memory it is kept in any case.

        Raises:
            StoreError: It could not be written.
        """
        with self._changing:
            self.entries[entry.key] = entry
            self._covered.update(dict.fromkeys(entry.covers))
        told = {**vars(entry), "format": _FORMAT, "message": message_to_dict(entry.message)}
        data = json.dumps(told, ensure_ascii=False).encode("utf-8", ODD_CHARACTERS)
        write_whole(self._path(entry.key), data, 0o600)

    def merge(self, entry: Entry) -> None:
        """Keep an entry in the place of those that it covers.

        Raises:
            StoreError: It could not be written; the others are then left on disk.
        """
        with self._changing:
            for key in entry.covers:
                self.entries.pop(key, None)
        self.put(entry)  # first: a kill from here on leaves files that the next start knows to be covered
        self._remove(entry.covers)

    def settle(self, entry: Entry, fate: str, now: float) -> None:
        """Record that an entry is over, then remove it.

        Raises:
            StoreError: It could not be recorded; it would be tried again at the next start.
        """
        done = Done((entry.key, *entry.covers), entry.channel, fate, now)
        with self._changing:
            self.entries.pop(entry.key, None)
            for key in entry.covers:
                self._covered.pop(key, None)
            self._done.update(dict.fromkeys(done.keys))
        line = json.dumps(vars(done)).encode() + b"\n"
        with store_errors(self._done_path, "writing"):
            handle = os.open(self._done_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(handle, line)
                os.fsync(handle)
            finally:
                os.close(handle)
        self._remove([entry.key])

    @property
    def _done_path(self) -> Path:
        return self._folder / "done.jsonl"

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            with contextlib.suppress(OSError):
                self._path(key).unlink()

    def _load(self) -> None:
        found = {entry.key: entry for entry in _entries(self._folder)}
        self._covered: dict[str, None] = {key: None for entry in found.values() for key in entry.covers}
        gone = [key for key in found if key in self._done or key in self._covered]
        self._remove(gone)
        kept = sorted((entry for key, entry in found.items() if key not in gone), key=lambda entry: entry.number)
        for entry in kept:
            if entry.trying:  # killed within it: nobody knows how it ended
                entry.message = replace(entry.message, data={**entry.message.data, "again": True})
        self.entries = {entry.key: entry for entry in kept}
        self._last = max((entry.number for entry in kept), default=0)
        for leftover in self._folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):
                leftover.unlink()

    def _read_done(self) -> list[Done]:
        try:
            data = self._done_path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(self._done_path, "reading", error.strerror or str(error)) from error
        found = [done for line in data.splitlines() if (done := _done_of(line)) is not None]
        self._done = dict.fromkeys(key for done in found for key in done.keys)
        if len(self._done) > MOST_DONE or (data and not data.endswith(b"\n")):
            found = _newest(found, MOST_DONE // 2)
            self._done = dict.fromkeys(key for done in found for key in done.keys)
            text = "".join(json.dumps(vars(done)) + "\n" for done in found)
            write_whole(self._done_path, text.encode(), 0o600)
        return found


def waiting(folder: Path) -> list[Entry]:
    """Return what waits in an outbox, oldest first, without disturbing who sends it; [] where there is none."""
    done = _done_keys(folder / "done.jsonl")
    found = list(_entries(folder))
    covered = {key for entry in found for key in entry.covers}
    return sorted(
        (entry for entry in found if entry.key not in done and entry.key not in covered),
        key=lambda entry: entry.number,
    )


def _locked(path: Path) -> int:
    with store_errors(path, "opening"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise StoreError(path.parent, "opening", "another process sends its messages") from error
    return handle


def _entries(folder: Path) -> Iterator[Entry]:
    try:
        paths = [path for path in folder.iterdir() if path.suffix == ".json" and path.name[0] != "."]
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(folder, "reading", error.strerror or str(error)) from error
    for path in paths:
        with contextlib.suppress(StoreError, KeyError, TypeError, ValueError, AttributeError):
            entry = _entry_of(read_json(path))
            if entry.key == path.stem:
                yield entry


def _entry_of(told: dict[str, Any]) -> Entry:
    if told["format"] != _FORMAT:
        raise ValueError("a format of another version")
    return Entry(
        key=str(told["key"]),
        channel=str(told["channel"]),
        message=message_from_dict(told["message"]),
        number=int(told["number"]),
        queued=float(told["queued"]),
        attempts=int(told["attempts"]),
        not_before=float(told["not_before"]),
        tried=float(told["tried"]),
        trying=bool(told["trying"]),
        covers=tuple(map(str, told["covers"])),
    )


def _done_of(line: bytes) -> Done | None:
    try:
        told = json.loads(line)
        return Done(tuple(map(str, told["keys"])), str(told["channel"]), str(told["fate"]), float(told["at"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _done_keys(path: Path) -> set[str]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return set()
    return {key for line in lines if (done := _done_of(line)) is not None for key in done.keys}


def _newest(found: list[Done], most: int) -> list[Done]:
    kept: list[Done] = []
    for done in reversed(found):
        most -= len(done.keys)
        if most < 0 and kept:
            break
        kept.append(done)
    return kept[::-1]
