"""Files that are there whole or not at all, and how a disk says that it takes no more."""

from __future__ import annotations

import errno
import json
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TOLD_IN_WORDS = re.compile(r"No space left on device|Disk quota exceeded|File too large")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path; at the end it is on the disk and takes the place of `path`, or is gone after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)  # who writes into an open file is not told which one
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, in place of what was there."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, allow_nan=False, ensure_ascii=False)
        file.write("\n")


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that a killed process left beside `path`, whose stem may be a pattern."""
    for leftover in path.parent.glob(f".{path.stem}.*.tmp{path.suffix}"):
        leftover.unlink(missing_ok=True)


def is_full(reason: str) -> bool:
    """Return whether what `not_writable` told is a lack of room."""
    return _TOLD_IN_WORDS.search(reason) is not None


def not_writable(error: Exception) -> str | None:
    """Return why a file could not be written, where `error` says that; libraries wrap it in other exceptions."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen.strerror or str(seen)
        found = _TOLD_IN_WORDS.search(str(seen))
        if found:
            return found[0]
        seen = seen.__cause__ or seen.__context__
    return str(error) if isinstance(error, OSError) else None


def _sync_folder(folder: Path) -> None:
    """Make a new name last through a power cut."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
