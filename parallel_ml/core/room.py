"""What is left of a machine, and whether a job fits in there: the arithmetic of grants and slots.

Who comes first is in `placement.py`. A `Room` is scratch paper for one pass over the queue.
"""

from __future__ import annotations

from parallel_ml.core.model import GpuShare
from parallel_ml.core.units import GIB, MIB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from parallel_ml.core.model import Device, Machine, Resources

_ROUNDING = 1e-9
"""Slots are sums of 1/n: ten tenths come to a little less than one."""
_FRACTION_SLACK = 32
"""A fraction of a card is met where no more than 1/32 of it is missing: the driver itself takes some memory of a card,
more with the first program on it, so that two jobs of 0.5 would otherwise never share one."""
MIG_PREFIX = "MIG-"
"""How the uuid of a part of a card begins that the driver keeps apart; CUDA gives a process no second one."""


def wants_card(wants: Resources, machine: Machine) -> bool:
    """Return whether the job runs on a card here: where there is one, unless it asks for none.

    A card that is lost is still there: its jobs wait, and do not move to the CPU silently.
    """
    return bool(machine.devices) and wants.gpus != 0


def card_count(wants: Resources) -> int:
    """Return how many different cards a job that runs on cards takes."""
    return 1 if wants.gpus is None else wants.gpus


def serves(device: Device, wants: Resources) -> bool:
    """Return whether the job could use the card at all, were it empty: a lost one never, a MIG instance only alone."""
    return not device.lost and (card_count(wants) == 1 or not device.uuid.startswith(MIG_PREFIX))


def parts_of(wants: Resources) -> int:
    """Return into how many slots the job divides a card."""
    return 1 if wants.exclusive else wants.jobs_per_gpu


def asked_bytes(wants: Resources, card_bytes: int) -> int | None:
    """Return the grant that the user fixed on a card of `card_bytes`, in whole MiB; None where it is left to us."""
    if wants.gpu_memory_bytes is not None:
        return max(MIB, _whole_mib(wants.gpu_memory_bytes))
    if wants.gpu_memory_fraction is not None:
        return max(MIB, _whole_mib(round(card_bytes * wants.gpu_memory_fraction)))
    return None


def least_bytes(wants: Resources, card_bytes: int) -> int:
    """Return the smallest grant on a card of `card_bytes` that the job starts with.

    Where the user fixed none: half of its equal share, or 1 GiB where that is less. Below that it waits: a framework
    alone takes several hundred MiB, so a sliver that other programs left over is out of memory at once.
    """
    asked = asked_bytes(wants, card_bytes)
    if asked is not None:
        return asked if wants.gpu_memory_fraction is None else asked - asked // _FRACTION_SLACK
    return max(MIB, min(GIB, card_bytes // (2 * parts_of(wants))))


class CardRoom:
    """What is left of one card.

    Attributes:
        slots: The part of its room for jobs that no job holds; 1.0 is an empty card, 0.0 a lost one.
    """

    def __init__(self, device: Device) -> None:
        """Start with no job of ours on it; what other runs leased is taken."""
        self.device = device
        self.slots = 0.0 if device.lost else max(0.0, 1.0 - device.leased_slots)
        self._granted_bytes = 0

    @property
    def free_bytes(self) -> int:
        """What neither other programs, nor other runs, nor our grants hold; below 0 where others came later."""
        return self.device.left_bytes(self._granted_bytes)

    def has_slot(self, wants: Resources) -> bool:
        """Return whether one more such job may come, whatever its memory."""
        return serves(self.device, wants) and self.slots + _ROUNDING >= 1 / parts_of(wants)

    def slots_left(self, parts: int) -> int:
        """Return how many jobs that divide the card into `parts` may still come."""
        return max(0, int(self.slots * parts + _ROUNDING))

    def share(self, wants: Resources) -> GpuShare | None:
        """Return what the job would be granted here now, or None where it does not fit."""
        if not self.has_slot(wants):
            return None
        total = self.device.memory_bytes
        asked = asked_bytes(wants, total)
        grant = self._equal_share(parts_of(wants)) if asked is None else asked
        if wants.gpu_memory_fraction is not None and grant > self.free_bytes:
            grant = _whole_mib(self.free_bytes)
        if grant > self.free_bytes or grant < least_bytes(wants, total):
            return None
        return GpuShare(self.device.index, self.device.uuid, grant, grant / total, 1 / parts_of(wants))

    def take(self, share: GpuShare) -> None:
        """Book the share."""
        self.slots -= share.slot_fraction
        self._granted_bytes += share.memory_bytes

    def _equal_share(self, parts: int) -> int:
        """Return 1/parts of what other programs leave, and no more than the like part of what jobs and leases leave.

        The second bound matters beside a job with a grant of its own size: what that left is divided among the slots
        that are left.
        """
        slots_left = max(1.0, round(self.slots * parts, 6))
        return _whole_mib(min(self.device.divisible_bytes // parts, int(self.free_bytes / slots_left)))


class Room:
    """What is left of a machine.

    Attributes:
        cards: In the machine's order.
        cpu_slots: Jobs that may still start on the CPU.
        cores: Cores that no job has asked for by number.
        memory_bytes: Host memory that no job has asked for by size.
    """

    def __init__(self, machine: Machine) -> None:
        """Start with an idle machine."""
        self.machine = machine
        self.cards = [CardRoom(device) for device in machine.devices]
        self._by_uuid = {card.device.uuid: card for card in self.cards}
        self.cpu_slots = machine.cpu_slots
        self.cores = machine.cores
        self.memory_bytes = machine.memory_bytes

    def has_slot(self, *, on_card: bool) -> bool:
        """Return whether a job may still start on some card, or else on the CPU, whatever it asks for."""
        return any(card.slots > _ROUNDING for card in self.cards) if on_card else self.cpu_slots > 0

    def take(self, shares: tuple[GpuShare, ...], wants: Resources) -> None:
        """Book what a job holds: its shares, or a CPU slot, and what it asked of the host by number."""
        for share in shares:
            card = self._by_uuid.get(share.gpu_uuid)
            if card is not None:
                card.take(share)
        self.cpu_slots -= not shares
        self.cores -= wants.cpus or 0
        self.memory_bytes -= wants.memory_bytes or 0

    def fit(self, wants: Resources) -> tuple[GpuShare, ...] | None:
        """Return the shares that the job would get now (none on the CPU), or None where it has to wait.

        The emptiest cards are taken: first by our jobs on them, then by free memory, then in order.
        """
        # What is booked ahead may be more than there is now: that is no reason for a job that names no number.
        if (wants.cpus and wants.cpus > self.cores) or (wants.memory_bytes and wants.memory_bytes > self.memory_bytes):
            return None
        if wants_card(wants, self.machine):
            return _emptiest([(card, card.share(wants)) for card in self.cards], card_count(wants))
        may = self.cpu_slots > 0 and (wants.allow_cpu or wants.gpus == 0)
        return () if may else None

    def reserve(self, wants: Resources) -> bool:
        """Book ahead for a job that has to wait, on the cards where least is in its way.

        Returns:
            False, and nothing is booked, where it would not fit even without our other jobs: then it waits for other
            programs, and nobody knows for how long.
        """
        shares: tuple[GpuShare, ...] | None = ()
        if wants_card(wants, self.machine):
            idle = [(card, CardRoom(card.device).share(wants)) for card in self.cards]
            shares = _emptiest(idle, card_count(wants))
        if shares is None:
            return False
        self.take(shares, wants)
        return True


def _emptiest(offers: list[tuple[CardRoom, GpuShare | None]], count: int) -> tuple[GpuShare, ...] | None:
    open_offers = [(card, share) for card, share in offers if share is not None]
    if len(open_offers) < count:
        return None
    # Rounded, so that cards divided alike in another order look alike.
    open_offers.sort(key=lambda offer: (-round(offer[0].slots, 6), -offer[0].free_bytes))
    return tuple(share for _, share in open_offers[:count])


def _whole_mib(size_bytes: int) -> int:
    return size_bytes // MIB * MIB
