"""Many new files at once, made durable side by side: a file system writes what waits for it together in one go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from parallel_ml.store.files import store_errors, sync_dir

_ALONE = 4
"""So few are not worth a thread."""
_THREADS = 8


def write_new(files: Sequence[tuple[Path, bytes]], mode: int = 0o644) -> None:
    """Write files that nobody looks at yet; they and their names survive a power loss when this returns.

    Args:
        files: Where each goes, which must not exist, and what it holds. Their folders are there.
        mode: Who may read them.

    Raises:
        StoreError: One could not be written; some of the others may be there.
    """
    for path, data in files:
        with store_errors(path, "writing"):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(handle, "wb") as stream:
                os.fchmod(handle, mode)
                stream.write(data)
    paths = [path for path, _ in files]
    if len(paths) <= _ALONE:
        list(map(_sync, paths))
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - takes longer to load than a few files

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(_sync, paths))


def _sync(path: Path) -> None:
    with store_errors(path, "writing"):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    sync_dir(path.parent)
