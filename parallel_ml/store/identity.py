"""Which process is which, for good: host, boot, number and start time (proc(5))."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path

from parallel_ml.core.model import ProcessId

_START_FIELD = 19
"""Index of `starttime` (field 22) among the fields of /proc/PID/stat that follow the command's closing bracket."""


def identify(pid: int | None = None) -> ProcessId | None:
    """Return the identity of a process (None: this one), or None when there is no such process, or only its corpse."""
    pid = os.getpid() if pid is None else pid
    ticks = _start_ticks(pid)
    return None if ticks is None else ProcessId(host(), boot_id(), pid, ticks)


def is_alive(process: ProcessId) -> bool | None:
    """Say whether exactly this process runs; None when it belongs to another host and cannot be seen from here.

    The same boot is the same machine, whatever it is called by now.
    """
    if process.boot_id and process.boot_id == boot_id():
        return _start_ticks(process.pid) == process.start_ticks
    return False if process.host == host() else None


@lru_cache(maxsize=1)
def host() -> str:
    """Return this host's name."""
    return socket.gethostname()


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return the kernel's random id of this boot, "" where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _start_ticks(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            stat = stream.read()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[_START_FIELD])
