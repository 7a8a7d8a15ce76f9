"""Who is on a card: the jobs that hold a lease on it, and programs that have nothing to do with us."""

from __future__ import annotations

import pwd
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from parallel_ml.gpu.ancestry import nearest_root
from parallel_ml.gpu.registry import Lease
from parallel_ml.gpu.sample import DeviceSample, ProcessUse
from parallel_ml.store.identity import is_alive


@dataclass(frozen=True)
class JobOnCard:
    """A job with a lease. None is "not measurable here".

    Attributes:
        pid: Who holds the lease: the attempt's shim, or the supervisor for a moment.
        granted_bytes: What it may use.
        used_bytes: What its processes hold.
    """

    run: str
    job: str
    attempt: int
    pid: int
    granted_bytes: int
    used_bytes: int | None


@dataclass(frozen=True)
class ProgramOnCard:
    """A process that belongs to no lease. None is "not measurable here".

    Attributes:
        name: What it is called; "" where it is not seen from here (another container).
        user: Whose it is; "" where that is not seen.
    """

    pid: int
    name: str
    user: str
    used_bytes: int | None
    utilization_percent: int | None


def occupants(
    sample: DeviceSample, leases: Iterable[Lease]
) -> tuple[tuple[JobOnCard, ...], tuple[ProgramOnCard, ...] | None]:
    """Return the jobs on a card and the other programs on it; None where it is not told who is there.

    Args:
        sample: The card, measured.
        leases: Those of all runs that live.
    """
    here = [lease for lease in leases if lease.gpu_uuid == sample.uuid]
    # The number of a holder that is not seen from here may be that of some other process.
    holders = {lease.holder.pid for lease in here if is_alive(lease.holder)}
    by_holder: dict[int, list[ProcessUse]] = {pid: [] for pid in holders}
    others: list[ProcessUse] = []
    for process in sample.processes or ():
        root = nearest_root(process.pid, holders)
        (others if root is None else by_holder[root]).append(process)
    shared = Counter(lease.holder.pid for lease in here)
    jobs = [
        JobOnCard(
            lease.run,
            lease.job,
            lease.attempt,
            lease.holder.pid,
            lease.memory_bytes,
            None
            if sample.processes is None or lease.holder.pid not in holders or shared[lease.holder.pid] > 1
            else _sum(by_holder[lease.holder.pid]),
        )
        for lease in here
    ]
    programs = None if sample.processes is None else tuple(map(_program, others))
    return tuple(jobs), programs


def _sum(processes: Collection[ProcessUse]) -> int | None:
    held = [process.memory_bytes for process in processes if process.memory_bytes is not None]
    return sum(held) if len(held) == len(processes) else None


def _program(process: ProcessUse) -> ProgramOnCard:
    folder = Path(f"/proc/{process.pid}")
    return ProgramOnCard(process.pid, _name(folder), _user(folder), process.memory_bytes, process.utilization_percent)


def _name(folder: Path) -> str:
    """Return a process's name; of an interpreter the script too. Its other arguments, which may be secret, are not."""
    try:
        name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    script = words[1] if len(words) > 1 and name.startswith("python") else ""
    return f"{name} {Path(script).name}" if script and not script.startswith("-") else name


def _user(folder: Path) -> str:
    try:
        uid = folder.stat().st_uid
    except OSError:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
