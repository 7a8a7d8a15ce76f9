"""Hearing of a file as soon as it is put into a folder: inotify(7), which Python does not offer."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_MOVED_TO = 0x80


def new_files(folder: Path) -> int | None:
    """Return a handle that can be read from when a file has been renamed into a folder.

    None where the system cannot tell: no file system of another machine does, and users have a limited number of these.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        handle: int = libc.inotify_init1(_NONBLOCK_CLOEXEC)
        if handle < 0:
            return None
        if libc.inotify_add_watch(handle, os.fsencode(folder), _MOVED_TO) < 0:
            os.close(handle)
            return None
    except AttributeError:
        return None
    return handle
