"""What may still run of a run whose events cannot be read: told by what its shims wrote and by the processes here."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from parallel_ml.core.codec import decode
from parallel_ml.core.model import ProcessId
from parallel_ml.store.files import read_json
from parallel_ml.store.identity import is_alive
from parallel_ml.store.layout import AttemptLayout, RunLayout

_CLAIM_S = 60.0
"""An attempt that was written down so recently may have a shim that has not claimed it yet."""
_JOB_DIR = b"PARALLEL_ML_JOB_DIR="


def what_lives(layout: RunLayout) -> str:
    """Return what runs of a run's jobs, or may run, in a few words; "" where nothing does.

    Raises:
        StoreError: A file that tells it cannot be read.
    """
    if pids := _carriers(layout):
        return f"process {pids[0]} of it is alive"
    for folder in sorted(layout.dir.glob("jobs/*/attempt-*")):
        if found := _of_attempt(AttemptLayout(folder)):
            return f"{folder.parent.name}: {found}"
    return ""


def _of_attempt(files: AttemptLayout) -> str:
    if read_json(files.exit) is not None:
        return ""
    told = read_json(files.shim)
    if told is None:
        is_fresh = files.start.exists() and time.time() - files.start.stat().st_mtime < _CLAIM_S
        return "it may be starting" if is_fresh else ""
    for name in ("process", "shim"):
        process = _process(told.get(name)) if isinstance(told, dict) else None
        if process is None:
            continue
        alive = is_alive(process)
        if alive is not False:
            return f"process {process.pid} of it " + ("is alive" if alive else f"may be alive on {process.host}")
    return ""


def _process(told: Any) -> ProcessId | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return decode(ProcessId, told) if told is not None else None
    return None


def _carriers(layout: RunLayout) -> list[int]:
    """Return the processes of this user whose environment says that they are of the run, whatever is left of it."""
    mark = _JOB_DIR + os.fsencode(layout.dir) + b"/jobs/"
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as stream:
            if int(name) != os.getpid() and any(one.startswith(mark) for one in stream.read().split(b"\0")):
                found.append(int(name))
    return found
