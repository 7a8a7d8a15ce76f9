"""Following a file that another process appends to."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

from parallel_ml.errors import StoreError
from parallel_ml.records import dataclass
from parallel_ml.store.files import open_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

CHUNK_BYTES = 4 << 20
"""At most this much is read at a time, so that one flood does not starve the rest."""
_BEFORE_BYTES = 256
_HEAD_BYTES = 64
"""A log's first line begins with its time, to the microsecond."""
_NOTE_BYTES = 4096
_NOTE = b', "dropped": '
_PARTIAL = b', "partial": true}'
_PROGRESS = b', "progress": true}'
Place = tuple[int, bytes, tuple[int, int, int] | None]
"""Where a reader of a file has come: the offset, what stands before it, and what the file looked like."""
LogPlace = tuple[int, bytes, int, int]
"""The same of a log: the file and its beginning, the offset, and the lines before that."""
_decode = json.JSONDecoder().decode  # half the time of json.loads, which looks for the encoding of each line


@dataclass(frozen=True)
class Growth:
    """What came since the last look.

    Attributes:
        lines: Whole lines, without their newlines.
        restarted: The file was replaced or cut, and `lines` begin at its beginning.
    """

    lines: tuple[bytes, ...] = ()
    restarted: bool = False


class FileFollower:
    """Reads on where it stopped. What follows the last newline is left until its line is whole.

    A file is known by its inode and by what stands before that place: an inode alone is soon used again.
    """

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        """Follow `path`, which need not exist yet, from a byte offset on."""
        self.path = path
        self._offset, self._before = offset, b""
        self._looked: tuple[int, int, int] | None = None

    def poll(self) -> Growth:
        """Return the lines that came since the last call, at most about 4 MiB of them.

        Raises:
            StoreError: The file is there and cannot be read.
        """
        try:
            if _look_of(os.stat(self.path)) == self._looked and self._looked[1] == self._offset:
                return Growth()
            with open_stream(self.path, links=False) as stream:
                return self._read(stream)
        except FileNotFoundError:
            return Growth()
        except OSError as error:
            raise StoreError(self.path, "reading", error.strerror or str(error)) from error

    @property
    def begun(self) -> bool:
        """Whether anything was read."""
        return self._offset > 0

    @property
    def place(self) -> Place:
        """Where it has come, to go on from there with another follower of the same file."""
        return self._offset, self._before, self._looked

    @place.setter
    def place(self, place: Place) -> None:
        self._offset, self._before, self._looked = place

    def passed(self) -> tuple[bytes, ...]:
        """Return the lines before the place where it has come; () where the file is not the same any more.

        Raises:
            StoreError: The file is there and cannot be read.
        """
        try:
            with open_stream(self.path, links=False) as stream:
                data = stream.read(self._offset)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StoreError(self.path, "reading", error.strerror or str(error)) from error
        same = len(data) == self._offset and data.endswith(self._before)
        return tuple(data.split(b"\n")[:-1]) if same else ()

    def _read(self, stream: BinaryIO) -> Growth:
        look, handle, seen = _look_of(os.fstat(stream.fileno())), stream.fileno(), len(self._before)
        same = self._looked is None or self._looked[0] == look[0]
        known = same and look[1] >= self._offset and os.pread(handle, seen, self._offset - seen) == self._before
        lines, self._offset = _whole_lines(stream, self._offset if known else 0)
        seen = min(_BEFORE_BYTES, self._offset)
        self._before, self._looked = os.pread(handle, seen, self._offset - seen), look
        return Growth(tuple(lines), restarted=not known)


class LogFollower:
    """Reads a job's log across its rotations; no line is lost that still stands in one of its two files.

    A file is known by its inode and its beginning: an inode alone is soon used again. Each file may begin with a note
    of how many lines were dropped before it; the newest one is given, and only where this reader has missed lines.

    Attributes:
        caught_up: Whether the last look read all that was there.
    """

    def __init__(self, log: Path, older: Path) -> None:
        """Begin with what is oldest.

        Args:
            log: The file that grows; it need not exist yet.
            older: Where it is moved when it is full.
        """
        self._log, self._older = log, older
        self._inode, self._head, self._offset = -1, b"", 0
        self._passed = 0
        """How many lines were read or missed so far."""
        self.caught_up = False

    @property
    def begun(self) -> bool:
        """Whether anything was read."""
        return self._inode >= 0

    @property
    def place(self) -> LogPlace:
        """Where it has come, to go on from there with another follower of the same log."""
        return self._inode, self._head, self._offset, self._passed

    @place.setter
    def place(self, place: LogPlace) -> None:
        self._inode, self._head, self._offset, self._passed = place

    def poll(self, most_bytes: int = CHUNK_BYTES) -> tuple[bytes, ...]:
        """Return the lines that came since the last call.

        Args:
            most_bytes: At most about so much of each file is read.

        Raises:
            StoreError: The log is there and cannot be read.
        """
        self.caught_up = True
        try:
            with contextlib.suppress(FileNotFoundError):  # in the midst of a rotation, or not begun
                found = os.stat(self._log)
                if (found.st_ino, found.st_size) == (self._inode, self._offset):
                    return ()
            with contextlib.ExitStack() as stack:
                return tuple(self._read(self._open(stack), most_bytes))
        except OSError as error:
            raise StoreError(self._log, "reading", error.strerror or str(error)) from error

    def _open(self, stack: contextlib.ExitStack) -> list[BinaryIO]:
        """Open the older file and the newer one as they stood at one moment, those that there are."""
        while True:
            older, log = _opened(self._older), _opened(self._log)
            for stream in (older, log):
                if stream is not None:
                    stack.callback(stream.close)
            with contextlib.suppress(FileNotFoundError):
                now = os.lstat(self._older)
                if stat.S_ISREG(now.st_mode) and (older is None or os.fstat(older.fileno()).st_ino != now.st_ino):
                    stack.close()
                    continue
            return [stream for stream in (older, log) if stream is not None]

    def _read(self, files: list[BinaryIO], most_bytes: int) -> list[bytes]:
        """Read on in the file of the last look, or begin with the oldest where that is gone, and go on to the next."""
        place = next((place for place, stream in enumerate(files) if self._is_known(stream)), None)
        lines = self._missed(files) if place is None else []
        offset = self._offset if place is not None else 0
        for stream in files[place or 0 :]:
            found = os.fstat(stream.fileno())
            begin = min(offset, found.st_size) or len(_note(stream))
            more, self._offset = _whole_lines(stream, begin, most_bytes)
            self._inode, self._head = found.st_ino, os.pread(stream.fileno(), _HEAD_BYTES, 0)
            self._passed += sum(not line.endswith((_PARTIAL, _PROGRESS)) for line in more)
            lines += more
            if more and self._offset < found.st_size:  # a flood: the rest of this file comes first
                self.caught_up = False
                break
            offset = 0
        return lines

    def _missed(self, files: list[BinaryIO]) -> list[bytes]:
        """Return the note of what was dropped before these files, if any of that was not read."""
        note = next(filter(None, map(_note, reversed(files))), b"").rstrip(b"\n")
        dropped = (parse_line(note) or {}).get("dropped", 0)
        if dropped == self._passed:
            return []
        self._passed = dropped
        return [note] if note else []

    def _is_known(self, stream: BinaryIO) -> bool:
        handle = stream.fileno()
        return os.fstat(handle).st_ino == self._inode and os.pread(handle, _HEAD_BYTES, 0).startswith(self._head)


def last_log_lines(log: Path, older: Path, most_bytes: int) -> list[bytes]:
    """Return the lines in the last bytes of a log, those before its last rotation included.

    Notes of what was dropped, and what a progress bar looked like meanwhile, are left out.

    Raises:
        StoreError: The log is there and cannot be read.
    """
    lines: list[bytes] = []
    for path in (log, older):
        size = os.path.getsize(path) if os.path.exists(path) else 0
        lines[:0] = FileFollower(path, offset=max(0, size - most_bytes)).poll().lines
        most_bytes -= size
        if most_bytes <= 0:
            break
    return [line for line in lines if _NOTE not in line and not line.endswith(_PROGRESS)]


def _note(stream: BinaryIO) -> bytes:
    """Return the line at the head of a log that tells what was dropped before it, b"" where there is none."""
    line, newline, _ = os.pread(stream.fileno(), _NOTE_BYTES, 0).partition(b"\n")
    return line + newline if newline and _NOTE in line else b""


def _whole_lines(stream: BinaryIO, offset: int, most_bytes: int = CHUNK_BYTES) -> tuple[list[bytes], int]:
    """Return lines from an offset on, at most about `most_bytes` but at least one, and where they end."""
    stream.seek(offset)
    data = stream.read(most_bytes)
    while data and b"\n" not in data and (more := stream.read(CHUNK_BYTES)):
        data += more
    end = data.rfind(b"\n") + 1
    return data[:end].split(b"\n")[:-1], offset + end


def _look_of(found: os.stat_result) -> tuple[int, int, int]:
    """Return what tells a file from another, its size, and what changes with each writing."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def _opened(path: Path) -> BinaryIO | None:
    try:
        return open_stream(path, links=False)
    except FileNotFoundError:
        return None


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return a line's JSON object, or None where it is not one (a torn write)."""
    try:
        value = _decode(line.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
