"""Files that are whole or not there: replaced by a temporary name, fsync and rename; and tolerant readers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parallel_ml.errors import StoreError

ODD_CHARACTERS = "backslashreplace"
"""What becomes of half a surrogate pair (of a file name that is no UTF-8, say): its escape, which JSON reads back."""


@contextlib.contextmanager
def store_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError that says the path and what was being done."""
    try:
        yield
    except OSError as error:
        raise StoreError(path, doing, error.strerror or str(error)) from error


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` by `data` at once: a reader sees the old file or the new one, also after a power loss.

    Raises:
        StoreError: It could not be written; the old file is as it was and no temporary file is left.
    """
    with store_errors(path, "writing"):
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_dir(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Replace `path` by `value` as JSON, readable by people."""
    write_whole(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", ODD_CHARACTERS), mode)


def read_json(path: Path) -> Any:
    """Return the JSON value of a file, or None where there is no file, or not a whole one."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    except OSError as error:
        raise StoreError(path, "reading", error.strerror or str(error)) from error


def make_dir(path: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it; one that is there already is fine."""
    with store_errors(path, "making folder"):
        path.mkdir(mode=mode, parents=True, exist_ok=True)


def sync_dir(path: Path) -> None:
    """Make the names in a folder survive a power loss, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def last_lines(path: Path, count: int, block: int = 8192) -> list[bytes]:
    """Return the last `count` whole lines of a file, oldest first, without reading all of it; [] where there is none.

    What stands after the last newline is not a line yet.
    """
    try:
        with path.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            data = b""
            while end > 0 and data.count(b"\n") <= count:
                start = max(0, end - block)
                stream.seek(start)
                data = stream.read(end - start) + data
                end = start
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(path, "reading", error.strerror or str(error)) from error
    lines = data.split(b"\n")[:-1]
    return lines[-count:] if count else []


def is_locked(path: Path) -> bool:
    """Say whether a process holds the lock of a lock file (flock(2), as `filelock` takes it)."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def free_bytes(path: Path) -> int:
    """Return what an ordinary user may still write on a folder's disk; much, where that cannot be told."""
    try:
        found = os.statvfs(path)
    except OSError:
        return 1 << 62
    return found.f_bavail * found.f_frsize
