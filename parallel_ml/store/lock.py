"""The lock of a file, held by one process at a time (flock(2)); it is let go when that process ends, in any way."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_TRY_EVERY_S = 0.05


class Lock:
    """One holder's way to a lock file. Another one of the same process is another holder."""

    def __init__(self, path: Path, patience_s: float) -> None:
        """Hold nothing yet.

        Args:
            path: The file; it is made where it is not there, and stays.
            patience_s: How long `acquire` waits for another holder.
        """
        self._path, self._patience_s = path, patience_s
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            BlockingIOError: Somebody else holds it.
            OSError: The file cannot be locked.
        """
        give_up_at = time.monotonic() + self._patience_s
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < give_up_at:
                    time.sleep(_TRY_EVERY_S)
                    continue
                os.close(handle)
                raise
            except BaseException:
                os.close(handle)
                raise
            self._handle = handle
            return

    def release(self) -> None:
        """Let it go; where it is not held nothing happens."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)
