"""Cards on paper: for tests, for demonstrations, and for people without a GPU.

Placement, grants, batch sizes and waiting are those of real cards of these sizes; the training itself runs on the CPU.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from parallel_ml.core.model import Device
from parallel_ml.core.units import GIB, MIB, format_size, parse_size
from parallel_ml.errors import UsageError
from parallel_ml.gpu.sample import DeviceSample

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from parallel_ml.gpu.xid import XidEvent

SPEC_PREFIX = "sim:"
UUID_PREFIX = "SIM-"
SPEC_HINT = "write sim:2x16GiB, sim:16GiB or sim:2x16GiB,1x8GiB"
_MOST_CARDS = 64
_SMALLEST_BYTES, _LARGEST_BYTES = 64 * MIB, 1024 * GIB
_GROUP = re.compile(r"(?:(\d{1,3})\s*x)?\s*(\d{1,15}(?:\.\d{1,6})?\s*[a-z]+)", re.IGNORECASE)


class SimulatedDevices:
    """Cards of given sizes, which other programs may fill and which may be lost.

    >>> cards = SimulatedDevices([16 * GIB, 16 * GIB])
    >>> cards.set_foreign(1, 4 * GIB)
    >>> [format_size(card.usable_bytes) for card in cards.devices()]
    ['16GiB', '12GiB']
    """

    simulated = True

    def __init__(self, sizes: Sequence[int]) -> None:
        """Make one card for each size in bytes.

        Raises:
            UsageError: No card, too many, or a size out of all reason.
        """
        if not 1 <= len(sizes) <= _MOST_CARDS:
            raise UsageError(f"{len(sizes)} simulated GPUs are not possible", f"1 to {_MOST_CARDS} are; {SPEC_HINT}")
        for size in sizes:
            if not _SMALLEST_BYTES <= size <= _LARGEST_BYTES:
                limits = f"{format_size(_SMALLEST_BYTES)} to {format_size(_LARGEST_BYTES)}"
                raise UsageError(f"a simulated GPU of {format_size(size)} is not possible", f"{limits} are")
        self._devices = [
            Device(index, f"{UUID_PREFIX}{index}", f"Simulated {format_size(size)}", size)
            for index, size in enumerate(sizes)
        ]

    @classmethod
    def from_spec(cls, spec: str) -> SimulatedDevices:
        """Make the cards that `sim:2x16GiB,1x8GiB` names.

        Raises:
            UsageError: It names none.
        """
        sizes: list[int] = []
        for group in spec.removeprefix(SPEC_PREFIX).split(","):
            match = _GROUP.fullmatch(group.strip())
            if match is None:
                raise _unreadable(spec)
            try:
                size = parse_size(match[2])
            except ValueError as error:
                raise _unreadable(spec) from error
            sizes += [size] * int(match[1] or 1)
        return cls(sizes)

    @property
    def spec(self) -> str:
        """The word that makes the same cards again, empty and well."""
        return SPEC_PREFIX + ",".join(f"{count}x{_exact(size)}" for count, size in self._groups())

    @property
    def note(self) -> str:
        """What a user should know: that no real card is used."""
        cards = ", ".join(f"{count} x {format_size(size)}" for count, size in self._groups())
        return f"simulated GPUs ({cards}): jobs are placed as on real ones and run on the CPU"

    def devices(self, own_pids: Collection[int] = ()) -> tuple[Device, ...]:  # noqa: ARG002 - nobody is on paper
        """Return the cards as they are now."""
        return tuple(self._devices)

    def held(self, roots: Collection[int]) -> Mapping[str, Mapping[int, int]]:  # noqa: ARG002
        """Return nothing: jobs run beside simulated cards, not on them."""
        return {}

    def samples(self) -> tuple[DeviceSample, ...]:
        """Return the cards, with what other programs hold; nothing else is there to be measured."""
        return tuple(
            DeviceSample(
                card.index,
                card.uuid,
                card.name,
                card.memory_bytes,
                card.foreign_bytes,
                trouble="is lost" if card.lost else "",
            )
            for card in self._devices
        )

    def xids(self) -> tuple[XidEvent, ...]:
        """Return none: nothing goes wrong on paper."""
        return ()

    def set_foreign(self, index: int, foreign_bytes: int) -> None:
        """Let programs outside the run hold `foreign_bytes` of a card; 0 frees them."""
        self._devices[index] = replace(self._devices[index], foreign_bytes=foreign_bytes)

    def lose(self, index: int) -> None:
        """Let a card fall off the bus."""
        self._devices[index] = replace(self._devices[index], lost=True)

    def close(self) -> None:
        """Hold nothing, so give back nothing."""

    def _groups(self) -> list[tuple[int, int]]:
        """Return (count, size in bytes) of each row of like cards."""
        return [(len(list(same)), size) for size, same in groupby(card.memory_bytes for card in self._devices)]


def _exact(size_bytes: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if size_bytes % unit == 0:
            return f"{size_bytes // unit}{name}"
    return f"{size_bytes}B"


def _unreadable(spec: str) -> UsageError:
    return UsageError(f"--gpus {spec!r} names no simulated GPUs", SPEC_HINT)
