"""Which cards the user's own CUDA_VISIBLE_DEVICES leaves to us, read as CUDA reads it.

The list ends at the first entry that names no card; an entry twice makes it empty. A number names a card, and with it
all of its MIG instances, in CUDA's order; `GPU-...` and `MIG-...` may be cut short as long as one card begins so.
CUDA's order is the fastest card first, which nobody but CUDA knows, unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set. Where
all cards are of one model the bus order is taken for it in any case.

NVIDIA_VISIBLE_DEVICES is not read. It is an instruction to NVIDIA's container runtime, which has carried it out before
anything runs in the container: NVML then lists those cards alone, and numbered anew, so that the host's numbers in the
variable would name others. Outside of a container it does nothing, for CUDA neither.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parallel_ml.core.model import Device
    from parallel_ml.gpu.nvml import NvmlDevices
    from parallel_ml.gpu.sample import DeviceSample
    from parallel_ml.gpu.xid import XidEvent

VARIABLE = "CUDA_VISIBLE_DEVICES"
_ORDER, _BY_BUS = "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
_NUMBER = re.compile(r"\s*\+?(\d+)")
"""CUDA takes the digits at the beginning (strtoul) and does not mind what follows."""


@dataclass(frozen=True)
class Choice:
    """What is left of the cards.

    Attributes:
        uuids: In the order of the list.
        note: What a user should know about it.
    """

    uuids: tuple[str, ...]
    note: str


def choose(environ: Mapping[str, str], devices: Sequence[Device], gpus: Mapping[str, str]) -> Choice | None:
    """Return the devices that the environment leaves; None where it says nothing of them.

    Args:
        environ: The environment in which the user typed.
        devices: All of them, in bus order.
        gpus: The card of each device, by uuid: its own, or the one that a MIG instance is a part of.
    """
    text = environ.get(VARIABLE)
    if text is None:
        return None
    cards = {gpu: tuple(uuids) for gpu, uuids in groupby(gpus, key=lambda uuid: gpus[uuid])}
    entries = [entry.strip() for entry in text.split(",")]
    found: list[str] = []
    cut = ""
    for entry in entries:
        named = _named(entry, cards)
        if not named:
            cut = entry
            break
        if set(named) & set(found):
            return Choice((), f"{VARIABLE}={text} names a GPU twice, which hides all of them from CUDA")
        found += named
    if not found:
        return Choice((), f"{VARIABLE}={text} hides all GPUs" if _hides(entries[0]) else _no_card(text, entries[0]))
    notes = [f"{VARIABLE}={text}: {len(found)} of {len(devices)} GPUs are used"]
    if cut and cut != "-1":
        notes.append(f"{cut!r} names none, so what stands from there on is left out")
    if environ.get(_ORDER) != _BY_BUS and len({device.name for device in devices}) > 1 and _NUMBER.match(entries[0]):
        notes.append(f"its numbers are taken in bus order, which CUDA's are with {_ORDER}={_BY_BUS} only")
    return Choice(tuple(found), "; ".join(notes))


def _hides(entry: str) -> bool:
    return entry in {"", "-1", "NoDevFiles"}


def _no_card(text: str, entry: str) -> str:
    return f"{VARIABLE}={text} leaves no GPU, as {entry!r} names none"


def _named(entry: str, cards: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the devices that an entry names; none where it is not valid."""
    number = _NUMBER.match(entry)
    if number is not None:
        return list(cards.values())[int(number[1])] if int(number[1]) < len(cards) else ()
    if not entry.startswith(("GPU-", "MIG-")):
        return ()
    begin_so = [devices for gpu, devices in cards.items() if gpu.startswith(entry)]
    begin_so += [
        (uuid,) for devices in cards.values() for uuid in devices if uuid not in cards and uuid.startswith(entry)
    ]
    return begin_so[0] if len(begin_so) == 1 else ()


class VisibleDevices:
    """The part of the machine's cards that the user left to us. They keep the numbers that they have among all."""

    simulated = False

    def __init__(self, source: NvmlDevices, choice: Choice) -> None:
        """Show some of the cards of `source`, which is owned from now on."""
        self._source, self._uuids, self._note = source, frozenset(choice.uuids), choice.note

    @property
    def spec(self) -> str:
        """The word for `--gpus`; the environment says the rest, each time anew."""
        return self._source.spec

    @property
    def note(self) -> str:
        """What a user should know, of the choice and of the cards."""
        return "; ".join(filter(None, [self._note, self._source.note]))

    def devices(self, own_pids: Collection[int] = ()) -> tuple[Device, ...]:
        """Return the cards as they are now."""
        return tuple(device for device in self._source.devices(own_pids) if device.uuid in self._uuids)

    def held(self, roots: Collection[int]) -> Mapping[str, Mapping[int, int]]:
        """Return the bytes on each card that each of `roots` and its descendants held at the last look."""
        return {uuid: held for uuid, held in self._source.held(roots).items() if uuid in self._uuids}

    def samples(self) -> tuple[DeviceSample, ...]:
        """Return what is measured of the cards now."""
        return tuple(sample for sample in self._source.samples() if sample.uuid in self._uuids)

    def xids(self) -> tuple[XidEvent, ...]:
        """Return the Xids of the cards."""
        return tuple(event for event in self._source.xids() if event.uuid in self._uuids)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
