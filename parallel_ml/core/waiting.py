"""Why a job does not fit now, in the words that `status` shows."""

from __future__ import annotations

from parallel_ml.core.room import asked_bytes, card_count, least_bytes, parts_of, serves, wants_card
from parallel_ml.core.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from parallel_ml.core.model import Resources
    from parallel_ml.core.room import CardRoom, Room


def why_waiting(room: Room, wants: Resources) -> str:
    """Return what keeps a job out of a room that it does not fit in (`room.fit(wants)` is None)."""
    reason = _cards(room, wants) if wants_card(wants, room.machine) else _cpu_slots(room, wants)
    return reason or _host(room, wants)


def _cpu_slots(room: Room, wants: Resources) -> str | None:
    if wants.gpus != 0 and not wants.allow_cpu:
        return "needs a GPU, and this machine has none (allow_cpu is false)"
    if room.cpu_slots > 0:
        return None
    total = room.machine.cpu_slots
    return f"{total - max(0, room.cpu_slots)} of {total} {'CPU ' if room.cards else ''}slots in use"


def _cards(room: Room, wants: Resources) -> str | None:
    count = card_count(wants)
    alive = [card for card in room.cards if serves(card.device, wants)]
    if len(alive) < count:
        lost = ", ".join(str(card.device.index) for card in room.cards if card.device.lost)
        return f"needs {_gpus(count)}, {len(alive)} left (lost: GPU {lost})"
    open_cards = [card for card in alive if card.has_slot(wants)]
    if len(open_cards) < count:
        return _slots(alive, len(open_cards), wants)
    if sum(card.share(wants) is not None for card in open_cards) < count:
        return _memory(open_cards, wants)
    return None


def _slots(alive: list[CardRoom], open_count: int, wants: Resources) -> str:
    count, parts = card_count(wants), parts_of(wants)
    if count > 1 or wants.exclusive:
        kind = "without another job" if wants.exclusive else "with a free slot"
        return f"needs {_gpus(count)} {kind}, {open_count} of {len(alive)} now{_leases(alive)}"
    total = parts * len(alive)
    return f"{total - sum(card.slots_left(parts) for card in alive)} of {total} slots in use{_leases(alive)}"


def _memory(open_cards: list[CardRoom], wants: Resources) -> str:
    best = max(open_cards, key=lambda card: card.free_bytes)
    total = best.device.memory_bytes
    asked = asked_bytes(wants, total)
    size = format_size(asked) if asked is not None else f"at least {format_size(least_bytes(wants, total))}"
    count = card_count(wants)
    where = "one card" if count == 1 else f"each of {count} cards"
    foreign = best.device.foreign_bytes
    others = f" ({format_size(foreign)} held by other programs)" if foreign else ""
    if count > 1:
        enough = sum(card.share(wants) is not None for card in open_cards)
        return f"needs {size} on {where}, {enough} with that much free{others}{_leases(open_cards)}"
    free = format_size(max(0, best.free_bytes))
    return f"needs {size} on {where}, {free} free on GPU {best.device.index}{others}{_leases([best])}"


def _leases(cards: list[CardRoom]) -> str:
    """Return which of the cards other runs have a part of, " (GPU 0: leased to run X)" say, or ""."""
    told = [
        f"GPU {card.device.index}: leased to run {' and '.join(card.device.leased_to)}"
        for card in cards
        if card.device.leased_to
    ]
    return f" ({', '.join(told)})" if told else ""


def _host(room: Room, wants: Resources) -> str:
    machine = room.machine
    if room.cores < (wants.cpus or 0):
        return f"needs {wants.cpus} cores, {max(0, room.cores)} of {machine.cores} not taken by other jobs"
    left, total = format_size(max(0, room.memory_bytes)), format_size(machine.memory_bytes)
    return f"needs {format_size(wants.memory_bytes)} of host memory, {left} of {total} not taken by other jobs"


def _gpus(count: int) -> str:
    return f"{count} GPU" + "s" * (count > 1)
