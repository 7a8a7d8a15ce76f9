"""`gpus`: the cards of this machine, what is free on them, and who holds what."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, examples
from parallel_ml.adapters.cli.table import Column, draw
from parallel_ml.adapters.cli.text import safe
from parallel_ml.core.units import format_size

if TYPE_CHECKING:
    from parallel_ml.core.model import Device
    from parallel_ml.gpu.leases import Lease
    from parallel_ml.gpu.occupants import JobOnCard, ProgramOnCard
    from parallel_ml.gpu.sample import DeviceSample

_UNKNOWN = "not measurable here"


@dataclass(frozen=True)
class Card:
    """A card as it is shown.

    Attributes:
        programs: None where it is not told who is on it.
    """

    sample: DeviceSample
    device: Device
    jobs: tuple[JobOnCard, ...]
    programs: tuple[ProgramOnCard, ...] | None

    @property
    def free_bytes(self) -> int:
        """What the next job could be granted."""
        return max(0, self.device.left_bytes(0))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; null is what is not known."""
        sample = self.sample
        return {
            "index": sample.index,
            "uuid": sample.uuid,
            "name": sample.name,
            "bus": sample.bus,
            "memory_bytes": sample.memory_bytes,
            "used_bytes": sample.used_bytes,
            "free_bytes": self.free_bytes,
            "leased_bytes": self.device.leased_bytes,
            "foreign_bytes": self.device.foreign_bytes,
            "utilization_percent": sample.utilization_percent,
            "temperature_c": sample.temperature_c,
            "power_w": sample.power_w,
            "energy_j": sample.energy_j,
            "ecc_uncorrected": sample.ecc_uncorrected,
            "repair_pending": sample.repair_pending,
            "slowed_by": None if sample.slowed_by is None else list(sample.slowed_by),
            "last_xid": _xid(sample),
            "health": sample.trouble or "ok",
            "jobs": [asdict(job) for job in self.jobs],
            "programs": None if self.programs is None else [asdict(program) for program in self.programs],
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument("--gpus", metavar="GPUS", default="auto", help="auto (default), none, or sim:2x16GiB")
    add_json(parser, "the cards")
    examples(parser, "gpus", "gpus --json", "gpus --gpus sim:2x16GiB")


def run(args: argparse.Namespace) -> int:
    """Look once, and print what was seen."""
    cards, notes, cpu_slots = look(args.gpus)
    if args.json:
        told = {"gpus": [card.to_dict() for card in cards], "notes": list(notes), "cpu_slots": cpu_slots}
        screen.print_json(told)
        return 0
    width = screen.width(sys.stdout)
    lines = [*card_lines(cards, width), *occupant_lines(cards, width)] if cards else []
    if lines and (notes or xid_lines(cards)):
        lines.append("")
    for line in (*lines, *(safe(f"note: {note}" if cards else note) for note in (*notes, *xid_lines(cards)))):
        print(line)
    return 0


def look(spec: str) -> tuple[list[Card], tuple[str, ...], int]:
    """Return the cards, notes on them, and how many jobs the CPU takes.

    Raises:
        UsageError: `spec` names no devices.
    """
    # Loaded here: completing the options of this verb needs none of it.
    from parallel_ml.gpu.leases import Leases  # noqa: PLC0415
    from parallel_ml.gpu.manager import GPUManager  # noqa: PLC0415
    from parallel_ml.gpu.occupants import occupants  # noqa: PLC0415

    manager = GPUManager.from_spec(spec)
    try:
        registry = Leases("")  # the id of no run: all leases are others'
        leases = () if manager.simulated else registry.others()
        machine = manager.snapshot(others=leases)
        devices = {device.uuid: device for device in machine.devices}
        cards = [
            Card(sample, devices.get(sample.uuid) or _lost(sample), *occupants(sample, leases))
            for sample in _named(manager.samples(), leases)
            if sample.uuid in devices or sample.trouble
        ]
        notes = (*manager.notes, *([registry.note] if registry.note else []))
    finally:
        manager.close()
    return cards, notes, machine.cpu_slots


def _lost(sample: DeviceSample) -> Device:
    """Return the device of a card that has not answered since this process began."""
    from parallel_ml.core.model import Device  # noqa: PLC0415 - loaded already

    return Device(sample.index, sample.uuid, sample.name, sample.memory_bytes, lost=True)


def _named(samples: Sequence[DeviceSample], leases: Sequence[Lease]) -> list[DeviceSample]:
    """Return the samples; where one card does not tell its uuid, and one that is leased is missing, it is that."""
    missing = {lease.gpu_uuid for lease in leases} - {sample.uuid for sample in samples}
    if len(missing) == 1 == sum(not sample.uuid for sample in samples):
        return [sample if sample.uuid else replace(sample, uuid=next(iter(missing))) for sample in samples]
    return list(samples)


def card_lines(cards: Sequence[Card], width: int | None = None) -> list[str]:
    """Return a table of the cards."""
    samples = [card.sample for card in cards]
    columns = [
        Column("GPU", [str(sample.index) for sample in samples]),
        Column("name", [safe(sample.name) or "-" for sample in samples], floor=10, rank=4),
        Column("used", [_size(sample.used_bytes) for sample in samples], right=True),
        Column("of", [_size(sample.memory_bytes or None) for sample in samples], right=True),
        Column("free", [_size(card.free_bytes) for card in cards], right=True),
        Column("use", [_unit(sample.utilization_percent, "%") for sample in samples], right=True, rank=1),
        Column("temp", [_unit(sample.temperature_c, "C") for sample in samples], right=True, rank=2),
        Column("power", [_unit(sample.power_w, " W") for sample in samples], right=True, rank=3),
        Column("ECC", [_unit(sample.ecc_uncorrected, "") for sample in samples], right=True, rank=5),
        Column("repair", [_repair(sample) for sample in samples], rank=6),
        Column("slowed", [_slowed(sample) for sample in samples], rank=4),
        Column(
            "Xid",
            ["-" if sample.last_xid is None else str(sample.last_xid.xid) for sample in samples],
            right=True,
            rank=4,
        ),
        Column("health", [safe(sample.trouble) or "ok" for sample in samples], floor=6),
    ]
    return draw(columns, width)


def occupant_lines(cards: Sequence[Card], width: int | None = None) -> list[str]:
    """Return a table of who holds what, after an empty line; nothing where nobody does."""
    rows: list[tuple[str, ...]] = []
    for card in cards:
        index = str(card.sample.index)
        for job in card.jobs:
            who = f"job {safe(job.job)} of run {safe(job.run)}"
            rows.append((index, who, str(job.pid), _held(job.used_bytes), format_size(job.granted_bytes), ""))
        for program in card.programs or ():
            who = safe(program.name) or "a program that is not seen from here"
            owner = f" ({safe(program.user)})" if program.user else ""
            busy = "" if program.utilization_percent is None else f"{program.utilization_percent}%"
            rows.append((index, who + owner, str(program.pid), _held(program.used_bytes), "", busy))
        if card.programs is None and not card.sample.trouble and card.sample.used_bytes:
            rows.append((index, f"other programs: {_UNKNOWN}", "", "", "", ""))
    if not rows:
        return []
    gpu, who_column, pid, used, granted, busy_column = zip(*rows, strict=True)
    columns = [
        Column("GPU", gpu),
        Column("who", who_column, floor=16),
        Column("pid", pid, right=True, rank=1),
        Column("holds", used, right=True),
        Column("granted", granted, right=True, rank=2),
        Column("use", busy_column, right=True, rank=3),
    ]
    return ["", *draw(columns, width)]


def xid_lines(cards: Sequence[Card]) -> list[str]:
    """Return a line for the last Xid of each card that had one."""
    return [
        f"GPU {card.sample.index} last reported {xid.text}, {time.strftime('%Y-%m-%d %H:%M', time.localtime(xid.at))}"
        for card in cards
        if (xid := card.sample.last_xid) is not None
    ]


def _xid(sample: DeviceSample) -> dict[str, Any] | None:
    xid = sample.last_xid
    if xid is None:
        return None
    at = datetime.fromtimestamp(xid.at, timezone.utc).isoformat(timespec="milliseconds")
    return {"xid": xid.xid, "text": xid.text, "needs_reset": xid.condemns, "at": at}


def _repair(sample: DeviceSample) -> str:
    if sample.repair_pending is None:
        return "-"
    return "pending" if sample.repair_pending else "none"


def _slowed(sample: DeviceSample) -> str:
    return "-" if sample.slowed_by is None else ", ".join(sample.slowed_by) or "no"


def _held(size_bytes: int | None) -> str:
    return _UNKNOWN if size_bytes is None else format_size(size_bytes)


def _size(size_bytes: int | None) -> str:
    return format_size(size_bytes)


def _unit(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f}{unit}"
