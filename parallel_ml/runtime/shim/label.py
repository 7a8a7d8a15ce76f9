"""What /proc shows of a forked process: the kernel shows the command line and the environment of the last execve(2).

Whoever looks at a process - `ps`, nvidia-smi, our own search for what a dead shim left behind - reads the memory that
the image was started with. A forked child writes there who it is.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence

ROOM_VARIABLE = "PARALLEL_ML_ROOM"
ROOM = "0" * 6144
"""A path has 4095 bytes at the most, the name of a job 100."""
SHOWN = ("ATTEMPT_TOKEN", "RUN", "JOB", "PROCESS_ID", "ATTEMPT", "JOB_DIR")
"""Variables that say whose a process is, without the `PARALLEL_ML_` in front of them."""
_ARG_START, _ARG_END = 45, 46
"""Places in /proc/PID/stat, counted from the state (proc(5) numbers them from 1, with the state the third)."""


class Label:
    """The memory in which a process's command line and environment are shown."""

    def __init__(self) -> None:
        """Find it; call this before the environment is changed."""
        self._command = self._variables = (0, 0)
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_void_p
        value: int | None = getenv(ROOM_VARIABLE.encode())
        if value is not None and os.environ.get(ROOM_VARIABLE) == ROOM:
            name = f"{ROOM_VARIABLE}="
            self._variables = value - len(name), value + len(ROOM) + 1
        with open("/proc/self/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
        if int(fields[_ARG_START]) > 0:  # 0 is what a kernel says that keeps it to itself
            self._command = int(fields[_ARG_START]), int(fields[_ARG_END])

    def show(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Show a command line, and of an environment who the process belongs to."""
        _write(self._command, [os.fsencode(word) for word in argv])
        names = [name for word in SHOWN if (name := f"PARALLEL_ML_{word}") in env]
        _write(self._variables, [os.fsencode(f"{name}={env[name]}") for name in names])


def _write(place: tuple[int, int], words: Sequence[bytes]) -> None:
    """Fill a place with words, each ended by a zero; what does not fit is cut."""
    start, end = place
    if start < end:
        text = b"".join(word + b"\0" for word in words)[: end - start - 1]
        ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)
