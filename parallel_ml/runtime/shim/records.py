"""The shim's own small files: replaced whole, and tried again for as long as a full disk takes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from typing import Any

TICK_S = 1.0
"""Orders are looked for this often even when nobody nudges (a signal does not reach across hosts); a full disk too."""
_COMPLAINED: set[str] = set()


def lock(handle: int) -> bool:
    """Lock a file until this process ends, by which it is known to live where its number means nothing."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write(path: str, value: dict[str, Any], *, durable: bool = True) -> None:
    """Replace a file whole; on a full disk try again for as long as it takes, the end must not be lost."""
    while not write_once(path, value, durable=durable):
        time.sleep(TICK_S)


def _put(path: str, data: bytes, *, durable: bool) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def write_once(path: str, value: dict[str, Any], *, durable: bool = True) -> bool:
    """Replace a file whole; return False where that cannot be done now, and say why the first time.

    Without `durable` a power loss may leave it empty: for what is worth nothing once this process is gone.
    """
    temporary = f"{path}.{os.getpid()}.tmp" if not path.endswith(".tmp") else path
    try:
        _put(temporary, json.dumps(value).encode(), durable=durable)
        if temporary != path:
            os.replace(temporary, path)
    except FileNotFoundError:  # the run's folder is gone: nobody is left to tell
        return True
    except OSError as error:
        if path not in _COMPLAINED:
            _COMPLAINED.add(path)
            with contextlib.suppress(OSError):
                sys.stderr.write(f"{path} cannot be written ({error.strerror}); trying again\n")
                sys.stderr.flush()
        return False
    return True
