"""Following a file that another process appends to."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from parallel_ml.errors import StoreError

CHUNK_BYTES = 4 << 20
"""At most this much is read at a time, so that one flood does not starve the rest."""
_HEAD_BYTES = 64
"""A log's first line begins with its time, to the microsecond."""


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
    """Reads on where it stopped. What follows the last newline is left until its line is whole."""

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        """Follow `path`, which need not exist yet, from a byte offset on."""
        self.path = path
        self._offset = offset
        self._inode: int | None = None

    def poll(self) -> Growth:
        """Return the lines that came since the last call, at most about 4 MiB of them.

        Raises:
            StoreError: The file is there and cannot be read.
        """
        try:
            found = os.stat(self.path)
            restarted = self._inode not in (None, found.st_ino) or found.st_size < self._offset
            if restarted:
                self._offset = 0
            self._inode = found.st_ino
            if found.st_size == self._offset:
                return Growth(restarted=restarted)
            return Growth(self._read(), restarted)
        except FileNotFoundError:
            return Growth()
        except OSError as error:
            raise StoreError(self.path, "reading", error.strerror or str(error)) from error

    def _read(self) -> tuple[bytes, ...]:
        with self.path.open("rb") as stream:
            lines, self._offset = _whole_lines(stream, self._offset)
        return tuple(lines)


class LogFollower:
    """Reads a job's log across its rotations; no line is lost that still stands in one of its two files.

    A file is known by its inode and its beginning: an inode alone is soon used again.
    """

    def __init__(self, log: Path, older: Path) -> None:
        """Begin with what is oldest.

        Args:
            log: The file that grows; it need not exist yet.
            older: Where it is moved when it is full.
        """
        self._log, self._older = log, older
        self._inode, self._head, self._offset = -1, b"", 0

    def poll(self) -> tuple[bytes, ...]:
        """Return the lines that came since the last call, at most about 4 MiB of each file.

        Raises:
            StoreError: The log is there and cannot be read.
        """
        try:
            with contextlib.suppress(FileNotFoundError):  # in the midst of a rotation, or not begun
                found = os.stat(self._log)
                if (found.st_ino, found.st_size) == (self._inode, self._offset):
                    return ()
            with contextlib.ExitStack() as stack:
                return tuple(self._read(self._open(stack)))
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
                now = os.stat(self._older).st_ino
                if older is None or os.fstat(older.fileno()).st_ino != now:
                    stack.close()
                    continue
            return [stream for stream in (older, log) if stream is not None]

    def _read(self, files: list[BinaryIO]) -> list[bytes]:
        """Read on in the file of the last look, or begin with the oldest where that is gone, and go on to the next."""
        place = next((place for place, stream in enumerate(files) if self._is_known(stream)), None)
        offset = self._offset if place is not None else 0
        lines: list[bytes] = []
        for stream in files[place or 0 :]:
            found = os.fstat(stream.fileno())
            more, self._offset = _whole_lines(stream, min(offset, found.st_size))
            self._inode, self._head = found.st_ino, os.pread(stream.fileno(), _HEAD_BYTES, 0)
            lines += more
            if more and self._offset < found.st_size:  # a flood: the rest of this file comes first
                break
            offset = 0
        return lines

    def _is_known(self, stream: BinaryIO) -> bool:
        handle = stream.fileno()
        return os.fstat(handle).st_ino == self._inode and os.pread(handle, _HEAD_BYTES, 0).startswith(self._head)


def last_log_lines(log: Path, older: Path, most_bytes: int) -> list[bytes]:
    """Return the lines in the last bytes of a log, those before its last rotation included.

    Raises:
        StoreError: The log is there and cannot be read.
    """
    lines: list[bytes] = []
    for path in (log, older):
        size = path.stat().st_size if path.exists() else 0
        lines[:0] = FileFollower(path, offset=max(0, size - most_bytes)).poll().lines
        most_bytes -= size
        if most_bytes <= 0:
            break
    return lines


def _whole_lines(stream: BinaryIO, offset: int) -> tuple[list[bytes], int]:
    """Return lines from an offset on, at most about `CHUNK_BYTES` but at least one, and where they end."""
    stream.seek(offset)
    data = stream.read(CHUNK_BYTES)
    while data and b"\n" not in data and (more := stream.read(CHUNK_BYTES)):
        data += more
    end = data.rfind(b"\n") + 1
    return data[:end].split(b"\n")[:-1], offset + end


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return a line's JSON object, or None where it is not one (a torn write)."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
