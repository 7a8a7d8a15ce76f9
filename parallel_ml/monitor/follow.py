"""Following a file that another process appends to."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.errors import StoreError

CHUNK_BYTES = 4 << 20
"""At most this much is read at a time, so that one flood does not starve the rest."""


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
            stream.seek(self._offset)
            data = stream.read(CHUNK_BYTES)
            while data and b"\n" not in data and (more := stream.read(CHUNK_BYTES)):
                data += more
        end = data.rfind(b"\n") + 1
        self._offset += end
        return tuple(data[:end].split(b"\n")[:-1])


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return a line's JSON object, or None where it is not one (a torn write)."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
