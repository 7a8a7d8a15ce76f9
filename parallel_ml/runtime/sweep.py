"""Ending what a dead shim left behind, before its attempt is called lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from parallel_ml.core.model import ProcessId
from parallel_ml.store.identity import is_alive

TOKEN_VARIABLE = "PARALLEL_ML_TOKEN"  # noqa: S105 - a variable's name
_PATIENCE_S = 5.0


def sweep(process: ProcessId | None, token: str) -> bool:
    """Kill the attempt's process group, and then whatever carries its token in its environment.

    The kernel's parent-death signal has reached the training process already; its own children it does not reach.

    Args:
        process: The training process, or None where it is not known.
        token: The attempt's token.

    Returns:
        Whether nothing of the attempt is left.
    """
    if process is not None and is_alive(process):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    give_up_at = time.monotonic() + _PATIENCE_S
    while pids := carriers(token):
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True


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
