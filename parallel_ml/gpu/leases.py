"""Leases: how two runs on one machine share its cards without ever granting more than there is.

A lease is written before an attempt starts and lives as long as the attempt's shim. Simulated cards are nobody's but
their run's, so they are never leased.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parallel_ml.core.model import Allocation, Device, ProcessId
from parallel_ml.errors import StoreError
from parallel_ml.gpu.registry import LOCK_TIMEOUT_S, Lease, Registry, default_folder
from parallel_ml.gpu.simulated import UUID_PREFIX
from parallel_ml.store.attempts import is_guarded, read_guards
from parallel_ml.store.identity import is_alive, is_of_this_boot
from parallel_ml.store.layout import AttemptLayout

__all__ = ["Claim", "Lease", "Leases", "living_leases", "with_leases"]

_SHIM_COMES_UP_S = 10.0
"""A shim whose supervisor died while starting it has this long to write who it is (it takes a tenth of a second)."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Claim:
    """What an attempt of this run is to be granted.

    Attributes:
        shim_file: Where its shim will write who it is; with it the lease holds even where nobody lives to hand it over.
    """

    job: str
    attempt: int
    allocation: Allocation
    shim_file: Path | None = None


class Leases:
    """What one run has leased, and what it sees of the others.

    It remembers what it holds: should the file be lost or damaged, the next call puts that back.

    Attributes:
        note: What was wrong with the file when it was last read, or "".
    """

    def __init__(
        self,
        run: str,
        folder: Path | None = None,
        *,
        timeout_s: float = LOCK_TIMEOUT_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Touch nothing yet.

        Args:
            run: The id of the run, unique on this machine.
            folder: Where the registry is; None is this user's.
            timeout_s: How long a call waits for another process that has locked it.
            now: Tells the time in seconds since the epoch.
        """
        self._run, self._now = run, now
        self._registry = Registry(folder or default_folder(os.environ), timeout_s)
        self._mine: tuple[Lease, ...] = ()
        self._stamp: Any = None
        self._settled = True
        self._adopted = False
        self.note = ""

    def others(self) -> tuple[Lease, ...]:
        """Return what other runs hold now."""
        return tuple(lease for lease in self._living() if lease.run != self._run)

    def acquire(self, claims: Sequence[Claim], holder: ProcessId, devices: Sequence[Device]) -> list[Claim]:
        """Lease what is claimed, each claim wholly or not at all, and return those that were granted.

        Never is more leased to all runs together than a card has beside what `devices` says that others hold. A claim
        without real cards is granted and not written down.

        Args:
            claims: Served in this order.
            holder: Who holds them until they are handed over: the supervisor.
            devices: The cards as `GPUManager.snapshot` saw them last.

        Raises:
            StoreError: The registry cannot be read, written or locked; nothing is granted.
        """
        if not any(_real_shares(claim.allocation) for claim in claims):
            return list(claims)
        cards = {device.uuid: device for device in devices}
        granted: list[Claim] = []
        with self._registry.locked():
            leases = self._current()
            for claim in claims:
                without = tuple(lease for lease in leases if lease.attempt_key != self._key(claim))
                more = self._leases_of(claim, holder)
                if all(_fits(cards.get(lease.gpu_uuid), without, lease, self._run) for lease in more):
                    leases = (*without, *more)
                    granted.append(claim)
            self._commit(leases)
        return granted

    def hold(self, claims: Sequence[Claim], holder: ProcessId) -> None:
        """Write down what attempts hold that run already, as a supervisor does that takes over.

        Raises:
            StoreError: The registry cannot be read, written or locked.
        """
        keys = {self._key(claim) for claim in claims}
        more = tuple(lease for claim in claims for lease in self._leases_of(claim, holder))
        if more:
            self._change((*(lease for lease in self._mine if lease.attempt_key not in keys), *more))

    def hand_over(self, job: str, attempt: int, holder: ProcessId) -> None:
        """Let the attempt's leases live as long as `holder`, its shim; without leases nothing happens.

        Raises:
            StoreError: The registry cannot be written or locked.
        """
        key = (self._run, job, attempt)
        changed = tuple(replace(one, holder=holder) if one.attempt_key == key else one for one in self._mine)
        if changed != self._mine:
            self._change(changed)

    def release(self, job: str, attempt: int) -> None:
        """Give the attempt's leases back, after the last of its processes has ended; twice does no harm.

        Raises:
            StoreError: The registry cannot be written or locked; `keep` tries again.
        """
        kept = tuple(lease for lease in self._mine if lease.attempt_key != (self._run, job, attempt))
        if kept != self._mine:
            self._change(kept)

    def keep(self) -> None:
        """Put back what this run holds, should the file have been lost; where it was not, this is one look at it.

        Raises:
            StoreError: The registry cannot be written or locked.
        """
        if not self._settled or (self._mine and self._registry.stamp() != self._stamp):
            self._settle()

    # --- the file

    def _change(self, mine: tuple[Lease, ...]) -> None:
        self._mine, self._settled = mine, False
        self._settle()

    def _settle(self) -> None:
        with self._registry.locked():
            self._commit(self._current())

    def _living(self) -> tuple[Lease, ...]:
        found = self._registry.read()
        self.note = self._registry.unreadable
        return living_leases(found, self._now())

    def _current(self) -> tuple[Lease, ...]:
        """Return the living leases of all other runs as they stand in the file, and ours as we remember them.

        At first, what the file says of our run is ours too: from a supervisor before this one.
        """
        living = self._living()
        others = tuple(lease for lease in living if lease.run != self._run)
        if self._adopted:
            return (*others, *living_leases(self._mine, self._now()))
        known = {lease.attempt_key for lease in self._mine}
        before = tuple(lease for lease in living if lease.run == self._run and lease.attempt_key not in known)
        return (*others, *before, *self._mine)

    def _commit(self, leases: tuple[Lease, ...]) -> None:
        self._registry.write(leases)
        self._mine = tuple(lease for lease in leases if lease.run == self._run)
        self._stamp, self._settled, self._adopted = self._registry.stamp(), True, True

    def _key(self, claim: Claim) -> tuple[str, str, int]:
        return self._run, claim.job, claim.attempt

    def _leases_of(self, claim: Claim, holder: ProcessId) -> tuple[Lease, ...]:
        shim_file = None if claim.shim_file is None else str(claim.shim_file.absolute())
        return tuple(
            Lease(
                share.gpu_uuid,
                share.memory_bytes,
                share.slot_fraction,
                self._run,
                claim.job,
                claim.attempt,
                holder,
                shim_file,
                self._now(),
            )
            for share in _real_shares(claim.allocation)
        )


def living_leases(leases: Iterable[Lease], now: float) -> tuple[Lease, ...]:
    """Return the leases whose attempts may still run, each with the holder that lives.

    A holder on another machine, which shares the folder, cannot be seen from here and counts as alive; one in another
    container of this machine is told by its shim's files.
    """
    living = (lease if _may_live(lease.holder) else _by_its_shim(lease, now) for lease in leases)
    return tuple(lease for lease in living if lease is not None)


def with_leases(
    devices: Sequence[Device], leases: Collection[Lease], held: Mapping[str, Mapping[int, int]]
) -> tuple[Device, ...]:
    """Return the devices with what other runs leased told apart from what other programs hold.

    Args:
        devices: As their source sees them: what processes of other runs use is among the foreign memory.
        leases: Those of other runs.
        held: Bytes by uuid and by process, of the holders of those leases and their descendants.
    """
    return tuple(
        _with_leases(device, [lease for lease in leases if lease.gpu_uuid == device.uuid], held.get(device.uuid, {}))
        for device in devices
    )


def _with_leases(device: Device, leases: Sequence[Lease], held: Mapping[int, int]) -> Device:
    if not leases:
        return device
    granted: dict[ProcessId, int] = {}
    for lease in leases:
        granted[lease.holder] = granted.get(lease.holder, 0) + lease.memory_bytes
    # The number of a holder that is not seen here may be that of some other process.
    used = {holder: held.get(holder.pid, 0) if is_alive(holder) else 0 for holder in granted}
    return replace(
        device,
        foreign_bytes=max(0, device.foreign_bytes - sum(used.values())),
        leased_bytes=sum(max(granted[holder], used[holder]) for holder in granted),
        leased_slots=min(1.0, sum(lease.slot_fraction for lease in leases)),
        leased_to=tuple(sorted({lease.run for lease in leases})),
    )


def _real_shares(allocation: Allocation) -> list[Any]:
    return [share for share in allocation.shares if not share.gpu_uuid.startswith(UUID_PREFIX)]


def _fits(device: Device | None, leases: Iterable[Lease], one: Lease, run: str) -> bool:
    """Return whether a card bears one more lease."""
    if device is None or device.lost:
        return False
    here = [lease for lease in leases if lease.gpu_uuid == one.gpu_uuid]
    ours = sum(lease.memory_bytes for lease in here if lease.run == run)
    # What the others hold beyond their leases was seen with the device; what they leased since is in the file alone.
    others = max(device.leased_bytes, sum(lease.memory_bytes for lease in here if lease.run != run))
    room = replace(device, leased_bytes=others).left_bytes(ours)
    slots = sum(lease.slot_fraction for lease in here) + one.slot_fraction
    return one.memory_bytes <= room and slots <= 1 + _ROUNDING


def _may_live(holder: ProcessId) -> bool:
    alive = is_alive(holder)
    return alive is True or (alive is None and not is_of_this_boot(holder))


def _by_its_shim(lease: Lease, now: float) -> Lease | None:
    """Return the lease of a holder that is dead or not seen, held by its attempt's shim; None where that is dead."""
    if lease.shim_file is None:
        return None
    try:
        files = AttemptLayout(Path(lease.shim_file).parent)
        guards = read_guards(files)
        if guards.shim is None:
            return lease if 0 <= now - lease.taken_at < _SHIM_COMES_UP_S else None
        return None if is_guarded(files, guards) is False else replace(lease, holder=guards.shim)
    except (StoreError, TypeError, KeyError, ValueError, AttributeError):
        return None
