"""Ending what a dead shim left behind, before its attempt is called lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from parallel_ml.core.model import ProcessId
from parallel_ml.store.identity import boot_id, start_ticks

TOKEN_VARIABLE = "PARALLEL_ML_ATTEMPT_TOKEN"  # noqa: S105 - a variable's name
_PATIENCE_S = 0.1
"""What a signal cannot end at once must not keep the supervisor waiting: its next look is the next try."""


def sweep(shim: ProcessId | None, token: str) -> bool:
    """Kill the session that the dead shim had made, and whatever carries the attempt's token in its environment.

    The kernel's parent-death signal has reached the training process already; its own children it does not reach.

    Args:
        shim: The dead shim, or None where there never was one.
        token: The attempt's token.

    Returns:
        Whether nothing of the attempt is left.
    """
    give_up_at = time.monotonic() + _PATIENCE_S
    while pids := {*carriers(token), *(_session(shim) if shim is not None else ())}:
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True


def _session(shim: ProcessId) -> list[int]:
    """Return what is left of a dead shim's session.

    The kernel gives a number to no new process while a session of that number has members; so a session that another
    process leads is another's, and one that the shim leads (as a corpse that nobody waited for) or nobody, the shim's.
    """
    if shim.boot_id != boot_id() or start_ticks(shim.pid, corpses=True) not in (None, shim.start_ticks):
        return []
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _session_of(name) == shim.pid]


def _session_of(pid: str) -> int | None:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stream:
        state, _, _, session, *_ = stream.read().rpartition(b")")[2].split()
        return int(session) if state not in (b"Z", b"X") else None
    return None


def carriers(token: str) -> list[int]:
    """Return the processes of this user that carry an attempt's token in their environment."""
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as stream:
            if mark in stream.read().split(b"\0"):
                found.append(int(name))
    return found
