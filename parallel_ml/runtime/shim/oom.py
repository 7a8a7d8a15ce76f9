"""How often the kernel has killed a process of this control group for want of memory (cgroup v2 and v1)."""

from __future__ import annotations

import contextlib


def kills() -> int | None:
    """Return the count of the innermost group that tells; None where none does.

    The count is that of the whole group, which other jobs may share: a rise says that memory was short here, and a
    process that was ended by SIGKILL meanwhile is taken for one that had to go.
    """
    for path in _files():
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii", errors="replace") as stream:
            for line in stream:
                name, _, value = line.partition(" ")  # of /proc/vmstat: of the whole machine, since Linux 4.13
                if name == "oom_kill":
                    return int(value)
    return None


def _files() -> list[str]:
    found = []
    with contextlib.suppress(OSError), open("/proc/self/cgroup", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            _, controllers, group = line.rstrip("\n").split(":", 2)
            if not controllers:
                found.append(f"/sys/fs/cgroup{group.rstrip('/')}/memory.events")
            elif "memory" in controllers.split(","):
                found.append(f"/sys/fs/cgroup/memory{group.rstrip('/')}/memory.oom_control")
    # A container sees its own group as the root, under a name that is not there.
    return [*found, "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat"]
