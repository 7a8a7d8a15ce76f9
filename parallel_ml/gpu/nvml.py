"""The NVIDIA cards of this machine, read through NVML at each look. Whose their memory is: `attribution.py`."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from parallel_ml.core.model import Device
from parallel_ml.gpu.attribution import Attribution, CardUse, Taken
from parallel_ml.gpu.nvml_health import health
from parallel_ml.gpu.nvml_library import CardLost, NoNvml, Nvml
from parallel_ml.gpu.sample import DeviceSample, ProcessUse
from parallel_ml.gpu.silent import SilentCard, silent_cards
from parallel_ml.gpu.xid import XidEvent
from parallel_ml.gpu.xid_watch import XidRecord, XidWatch

_MOST_XIDS = 1000
_NO_BUS = 1 << 32
"""Domains have 32 bits."""
_MEMORY_V2 = 0x02000028
"""nvmlMemory_v2 (nvml.h): the version that tells reserved memory apart."""
_PROCESS_LISTS = ("Compute", "Graphics", "MPSCompute")
_NOT_MEASURABLE = (
    "GPU memory of single programs is not measurable here (a container or WSL), so what is in use without being "
    "explained by the grants counts as other programs'"
)


@dataclass(frozen=True)
class _Card:
    """A card or a MIG instance that has been seen.

    Attributes:
        place: Sorts cards by PCI bus, and instances by their number on a card.
        use: What the last look told.
        gpu: The card's own uuid; of a MIG instance that of the card that it is a part of.
        trouble: Why it cannot be used, or "".
    """

    uuid: str
    name: str
    place: tuple[int, ...]
    handle: Any
    use: CardUse
    gpu: str
    trouble: str = ""


class NvmlDevices:
    """The cards in PCI bus order; with MIG, each instance in the place of its card.

    A card that was seen once stays: where it is lost, gone, or turned into MIG instances, it is marked as lost. After
    an Xid that needs a reset it is lost as long as this object lives.
    """

    spec = "auto"
    simulated = False

    def __init__(self, nvml: Nvml | None = None) -> None:
        """Open nothing yet; the first look does."""
        self._nvml = nvml or Nvml()
        self._cards: dict[str, _Card] = {}
        self._left_out: tuple[str, ...] = ()
        self._silent: tuple[SilentCard, ...] = ()
        self._attribution = Attribution()
        self._watch, self._record = XidWatch(self._nvml), XidRecord()
        self._listens = False
        self._xids: deque[XidEvent] = deque(maxlen=_MOST_XIDS)
        self._condemned: dict[str, XidEvent] = {}

    @property
    def note(self) -> str:
        """What a user should know as of the last look: cards that cannot be used, and what cannot be measured."""
        lines = list(self._left_out)
        for index, card in self._numbered():
            if card.trouble:
                lines.append(f"GPU {index} {card.words if isinstance(card, SilentCard) else card.trouble}")
        if self._attribution.blind:
            lines.append(_NOT_MEASURABLE)
        return "; ".join(lines)

    def open(self) -> None:
        """Make sure that NVML works.

        Raises:
            NoNvml: It does not; the message is for people.
        """
        self._nvml.open()

    def devices(self, own_pids: Collection[int] = ()) -> tuple[Device, ...]:
        """Return the cards as they are now; what `own_pids` and their descendants hold is not foreign.

        From the first look with processes of ours on, Xids are listened to.
        """
        self._listens = self._listens or bool(own_pids)
        self._look()
        well = {uuid: card.use for uuid, card in self._cards.items() if not card.trouble}
        taken = self._attribution.read(well, own_pids)
        return tuple(
            _device(index, card, taken.get(card.uuid)) for index, card in self._numbered() if isinstance(card, _Card)
        )

    def held(self, roots: Collection[int]) -> Mapping[str, Mapping[int, int]]:
        """Return the bytes on each card, by uuid, that each of `roots` and its descendants held at the last look."""
        return {uuid: card.use.by_root(roots) for uuid, card in self._cards.items() if not card.trouble}

    def samples(self) -> tuple[DeviceSample, ...]:
        """Return what is measured of the cards now; those that never answered are among them."""
        self._look()
        last = self._record.read()
        return tuple(
            replace(self._sample(index, card), last_xid=last.get(card.uuid)) for index, card in self._numbered()
        )

    def gpus(self) -> Mapping[str, str]:
        """Return the card of each device of the last look, in order, by uuid: itself, or that of a MIG instance."""
        return {uuid: card.gpu for uuid, card in self._cards.items()}

    def xids(self) -> tuple[XidEvent, ...]:
        """Return the Xids that were heard of since the first look with processes of ours, the oldest first."""
        self._hear()
        return tuple(self._xids)

    def close(self) -> None:
        """Shut NVML down; a later look opens it again."""
        self._watch.close()
        self._nvml.close()

    # --- looking

    def _look(self) -> None:
        """Read all cards anew: their numbers may change, their uuids do not."""
        try:
            handles, silent = self._nvml.handles()
        except (NoNvml, CardLost) as error:
            # Nothing more is placed as long as nobody knows how full the cards are; what runs goes on.
            self._left_out = (f"the GPUs cannot be read ({error})",)
            unread = {uuid: replace(card, use=CardUse(card.use.memory_bytes)) for uuid, card in self._cards.items()}
            self._cards = unread
            return
        left_out: list[str] = []
        seen = {card.uuid: card for handle in handles for card in self._of_gpu(handle, left_out)}
        for uuid, card in self._cards.items():
            if uuid not in seen:
                # One that gives no handle any more cannot be told by its uuid, but by its absence.
                trouble = silent.pop(0)[1] if silent else card.trouble or "is gone"
                seen[uuid] = replace(card, use=CardUse(card.use.memory_bytes), trouble=trouble)
        self._left_out = tuple(left_out)
        self._silent = silent_cards(silent, {_bus(card.place) for card in seen.values()}, self._nvml.card_files)
        self._cards = dict(sorted(seen.items(), key=lambda item: item[1].place))
        self._hear()
        for uuid, card in self._cards.items():
            if card.gpu in self._condemned:
                trouble = f"had {self._condemned[card.gpu].text} and needs a reset or a restart of the machine"
                self._cards[uuid] = replace(card, use=CardUse(card.use.memory_bytes), trouble=trouble)

    def _numbered(self) -> Iterator[tuple[int, _Card | SilentCard]]:
        """Yield the cards with their numbers; one that never answered has the place that NVML counts it at."""
        silent = {card.place: card for card in self._silent}
        index = place = 0
        gpu = ""
        for card in self._cards.values():
            while card.gpu != gpu and place in silent:
                yield index, silent.pop(place)
                index, place = index + 1, place + 1
            place += card.gpu != gpu
            gpu = card.gpu
            yield index, card
            index += 1
        yield from enumerate(silent.values(), index)

    def _hear(self) -> None:
        """Take in what the driver has reported; an instance is told of what happens to its card."""
        last: dict[str, XidEvent] = {}
        for event in self._watch.drain() if self._listens else ():
            if event.condemns:
                self._condemned.setdefault(event.uuid, event)
            for uuid in [card.uuid for card in self._cards.values() if card.gpu == event.uuid]:
                last[uuid] = replace(event, uuid=uuid)
                self._xids.append(last[uuid])
        if last:
            self._record.note(last)

    def _of_gpu(self, handle: Any, left_out: list[str]) -> Iterator[_Card]:
        """Yield the card of a handle, or its MIG instances; lines on what cannot be used go to `left_out`."""
        uuid = ""
        try:
            uuid = self._nvml.call("nvmlDeviceGetUUID", handle)
            bus = self._nvml.ask(uuid, "nvmlDeviceGetPciInfo_v3", handle)
            place = (bus.domain, bus.bus, bus.device) if bus else (_NO_BUS, len(self._cards), 0)
            instances = self._nvml.mig_handles(uuid, handle)
            if self._listens:
                self._watch.cover(uuid, handle)
        except (NoNvml, CardLost) as error:
            yield from self._unreadable(uuid, str(error), left_out)
            return
        if instances is None:
            yield from self._read(uuid, uuid, place, handle, left_out)
            return
        if not instances:
            left_out.append(f"{uuid} is in MIG mode and has no instance, so it is not used")
        for number, instance in enumerate(instances):
            try:
                name = self._nvml.call("nvmlDeviceGetUUID", instance)
            except (NoNvml, CardLost) as error:
                left_out.append(f"a MIG instance of {uuid} cannot be read ({error})")
                continue
            yield from self._read(name, uuid, (*place, number), instance, left_out)

    def _read(self, uuid: str, gpu: str, place: tuple[int, ...], handle: Any, left_out: list[str]) -> Iterator[_Card]:
        known = self._cards.get(uuid)
        try:
            # The processes first: what ours take between the two readings then counts as foreign, for this look.
            processes = self._processes(uuid, handle)
            memory = self._memory(uuid, handle)
            name = known.name if known else self._nvml.ask(uuid, "nvmlDeviceGetName", handle) or "NVIDIA GPU"
        except CardLost as error:
            yield from self._unreadable(uuid, str(error), left_out)
            return
        if memory is None and known is None:
            left_out.append(f"{uuid} does not tell how much memory it has, so it is not used")
            return
        total, used = memory if memory is not None else (known.use.memory_bytes if known else 0, None)
        yield _Card(uuid, name, place, handle, CardUse(total, used, processes), gpu)

    def _unreadable(self, uuid: str, trouble: str, left_out: list[str]) -> Iterator[_Card]:
        known = self._cards.get(uuid)
        if known is None:
            left_out.append(f"{uuid or 'a GPU'} {trouble}")
        else:
            yield replace(known, use=CardUse(known.use.memory_bytes), trouble=trouble)

    def _memory(self, uuid: str, handle: Any) -> tuple[int, int | None] | None:
        """Return (all that programs can have, what is in use) in bytes."""
        found = self._nvml.ask(uuid, "nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
        if found is not None:
            return found.total - found.reserved, found.used
        # Before driver R510: what the driver reserves for itself is in `used`.
        found = self._nvml.ask(uuid, "nvmlDeviceGetMemoryInfo", handle)
        return None if found is None or not found.total else (found.total, found.used)

    def _processes(self, uuid: str, handle: Any) -> dict[int, int | None] | None:
        """Return what each process holds; None where there is no list of those that compute."""
        lists = [self._process_list(uuid, handle, kind) for kind in _PROCESS_LISTS]
        if lists[0] is None:
            return None
        found: dict[int, int | None] = {}
        for process in (process for one in lists for process in one or ()):
            # A process that draws and computes stands in two lists, with the same memory in each.
            known, told = found.get(process.pid, 0), process.usedGpuMemory
            found[process.pid] = None if known is None or told is None else max(known, told)
        return found

    def _process_list(self, uuid: str, handle: Any, kind: str) -> list[Any] | None:
        for version in ("_v3", "_v2"):
            found: list[Any] | None = self._nvml.ask(uuid, f"nvmlDeviceGet{kind}RunningProcesses{version}", handle)
            if found is not None:
                return found
        return None

    # --- measuring

    def _sample(self, index: int, card: _Card | SilentCard) -> DeviceSample:
        if isinstance(card, SilentCard):
            return DeviceSample(index, card.uuid, card.name, 0, bus=card.bus, trouble=card.trouble)
        memory_bytes, bus = card.use.memory_bytes, _bus(card.place)
        sample = DeviceSample(index, card.uuid, card.name, memory_bytes, bus=bus, trouble=card.trouble)
        if card.trouble:
            return sample
        try:
            return self._measured(sample, card)
        except CardLost as error:
            return replace(sample, trouble=str(error))

    def _measured(self, sample: DeviceSample, card: _Card) -> DeviceSample:
        rates = self._nvml.ask(card.uuid, "nvmlDeviceGetUtilizationRates", card.handle)
        processes = None
        if card.use.processes is not None:
            busy = self._busy(card)
            processes = tuple(
                ProcessUse(pid, held_bytes, busy.get(pid)) for pid, held_bytes in sorted(card.use.processes.items())
            )
        return replace(
            sample,
            used_bytes=card.use.used_bytes,
            utilization_percent=None if rates is None else rates.gpu,
            processes=processes,
            **health(self._nvml, card.uuid, card.handle),
        )

    def _busy(self, card: _Card) -> dict[int, int]:
        """Return the newest utilisation of each process in percent; NVML keeps samples of the last seconds."""
        found = self._nvml.ask(card.uuid, "nvmlDeviceGetProcessUtilization", card.handle, 0) or ()
        return {one.pid: one.smUtil for one in sorted(found, key=lambda one: int(one.timeStamp))}


def _bus(place: tuple[int, ...]) -> str:
    """Return the bus of a place as the driver's files write it; "" where it was not told."""
    domain, bus, device = place[:3]
    return f"{domain:04x}:{bus:02x}:{device:02x}.0" if domain < _NO_BUS else ""


def _device(index: int, card: _Card, taken: Taken | None) -> Device:
    if taken is None:
        return Device(index, card.uuid, card.name, card.use.memory_bytes, lost=True, trouble=card.trouble)
    return Device(
        index,
        card.uuid,
        card.name,
        card.use.memory_bytes,
        foreign_bytes=taken.foreign,
        unattributed_bytes=taken.unattributed,
    )
