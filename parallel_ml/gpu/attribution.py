"""Whose the memory of a card is: ours, another program's, or not to be told.

Memory that nobody of ours holds is foreign: all that is in use, less what the processes of this run hold. So what does
not show in a list of processes (another container, the driver itself) is foreign too.

Some machines do not tell what a process holds: WSL says "not available", and a container may see no process, or only
numbers of another process namespace. There, what was in use when nothing of ours ran counts as foreign for as long as
it is in use, and the rest as *unattributed*: it is taken, and it covers the grants of this run and of leases as far as
it goes. So a grant always fits into what is free at that moment, and beside the programs that were seen before the run.
What cannot be seen there is a program that comes later and hides in what our jobs were granted and do not use.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from parallel_ml.core.units import MIB
from parallel_ml.gpu.ancestry import is_visible, nearest_root

_HIDDEN_BYTES = 256 * MIB
"""More than a driver itself leaves unexplained on a card: then some process is not in the list."""


@dataclass(frozen=True)
class CardUse:
    """What one look at a card told.

    Attributes:
        memory_bytes: All of its memory that programs can have.
        used_bytes: What is in use; None where this look could not tell.
        processes: Bytes by process number, None for one whose memory is not told; None where there is no list.
    """

    memory_bytes: int
    used_bytes: int | None = None
    processes: Mapping[int, int | None] | None = None

    def by_root(self, roots: Collection[int]) -> dict[int, int]:
        """Return what each of `roots` and its descendants hold, as far as it is told; those that are not here lack."""
        found: dict[int, int] = {}
        for pid, held_bytes in (self.processes or {}).items():
            root = nearest_root(pid, roots)
            if root is not None:
                found[root] = found.get(root, 0) + (held_bytes or 0)
        return found


@dataclass(frozen=True)
class Taken:
    """What is taken on a card, in bytes; see `core.model.Device`."""

    foreign: int
    unattributed: int = 0


class Attribution:
    """Remembers from look to look what was in use without us.

    Attributes:
        blind: Whether the last look could not tell whose the memory of some card is.
    """

    def __init__(self) -> None:
        """Start with no look."""
        self.blind = False
        self._without_us: dict[str, int] = {}
        self._sees_own = False

    def read(self, uses: Mapping[str, CardUse], own_pids: Collection[int]) -> dict[str, Taken]:
        """Return what is taken on each card, by uuid.

        Args:
            uses: What this look told of each card, by uuid.
            own_pids: Processes of this run; their descendants are meant too.
        """
        roots = frozenset(own_pids)
        own = {uuid: use.by_root(roots) for uuid, use in uses.items()}
        self._sees_own = self._sees_own or any(own.values())
        self.blind = any(use.used_bytes is not None and not _told(use) for use in uses.values())
        return {uuid: self._taken(uuid, use, roots, sum(own[uuid].values())) for uuid, use in uses.items()}

    def _taken(self, uuid: str, use: CardUse, roots: frozenset[int], own_bytes: int) -> Taken:
        if use.used_bytes is None:
            return Taken(use.memory_bytes)
        used = min(use.used_bytes, use.memory_bytes)
        if not roots or (_told(use) and (self._sees_own or not _hides(use))):
            self._without_us[uuid] = max(0, used - own_bytes)
            return Taken(self._without_us[uuid])
        self.blind = True
        # At a first look in the middle of a run everything counts: too much, until the jobs that run now have ended.
        self._without_us[uuid] = min(self._without_us.get(uuid, used), used)
        return Taken(self._without_us[uuid], used - self._without_us[uuid])


def _told(use: CardUse) -> bool:
    """Return whether it is told of each process what it holds."""
    return use.processes is not None and None not in use.processes.values()


def _hides(use: CardUse) -> bool:
    """Return whether processes may be there that the list does not show, or shows by numbers that mean nothing here."""
    listed = use.processes or {}
    unexplained = (use.used_bytes or 0) - sum(held_bytes or 0 for held_bytes in listed.values())
    return unexplained > _HIDDEN_BYTES or not all(is_visible(pid) for pid in listed)
