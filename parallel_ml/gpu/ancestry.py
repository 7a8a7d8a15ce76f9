"""Whose a process is: the nearest of some known processes among itself and its ancestors.

A shim adopts what its descendants leave behind, so the way up from any process of an attempt ends at its shim.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

_MOST_STEPS = 256
"""No process tree is that deep; a number that is used again while we climb may make a circle."""


def nearest_root(pid: int, roots: Collection[int]) -> int | None:
    """Return the process of `roots` that `pid` is, or descends from, the nearest first; None where there is none."""
    for _ in range(_MOST_STEPS):
        if pid in roots:
            return pid
        parent = _parent(pid)
        if not parent:
            return None
        pid = parent
    return None


def is_visible(pid: int) -> bool:
    """Return whether the process is seen from here: not one of another container, or another user's under hidepid."""
    return Path(f"/proc/{pid}").exists()


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return int(stat[stat.rindex(b")") + 2 :].split()[1])
    except (OSError, ValueError, IndexError):
        return None
