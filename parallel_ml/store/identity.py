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
    ticks = start_ticks(pid)
    return None if ticks is None else ProcessId(host(), boot_id(), pid, ticks, namespace())


def is_alive(process: ProcessId) -> bool | None:
    """Say whether exactly this process runs; None when it cannot be seen from here: of another host or container.

    The same boot is the same machine, whatever it is called by now.
    """
    if is_of_this_boot(process):
        if process.namespace and namespace() and process.namespace != namespace():
            return None
        return start_ticks(process.pid) == process.start_ticks
    return False if process.host == host() else None


def is_of_this_boot(process: ProcessId) -> bool:
    """Say whether the same kernel runs the process and this one, be it in another container."""
    return bool(process.boot_id) and process.boot_id == boot_id()


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


@lru_cache(maxsize=1)
def namespace() -> str:
    """Return which namespace the numbers of processes are of here, "" where the system does not tell."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def start_ticks(pid: int, *, corpses: bool = False) -> int | None:
    """Return when a process was started, in clock ticks since boot; None where there is none, or only its corpse.

    Args:
        pid: Its number.
        corpses: Also of one that has ended and that nobody has waited for.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            stat = stream.read()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") and not corpses else int(fields[_START_FIELD])
