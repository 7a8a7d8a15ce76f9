"""The cores and the memory that this process may use: the machine's, or less in a container or a batch job.

Only cgroup v2 is read; under v1 the machine's own figures stand.
"""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """Return how many cores this process may use: its affinity, and the CPU quota of its control groups.

    Args:
        root: Where the file system begins; tests give one of their own.
    """
    # macOS has no affinity.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for text in _limits(root, "cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def usable_memory_bytes(root: Path = _ROOT) -> int:
    """Return how much host memory this process may use: what is built in, and the limit of its control groups."""
    built_in = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([built_in, *(int(text) for text in _limits(root, "memory.max") if text.isdigit())])


def _limits(root: Path, name: str) -> list[str]:
    """Return what a control file says in this process's group and in each group above it; the least one holds."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    # In a hybrid set-up the v2 tree (`0::/path`) stands beside those of v1 and has no such files.
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if path is None:
        return []
    top = root / "sys/fs/cgroup"
    group = top / path.strip("/")
    found = []
    for directory in (group, *group.parents):
        if directory != top and top not in directory.parents:
            break
        try:
            found.append((directory / name).read_text(encoding="utf-8").strip())
        except OSError:
            continue
    return found
