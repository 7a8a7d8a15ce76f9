"""Cards that NVML counts and gives no handle for: which they are, as far as the driver's own files tell."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SilentCard:
    """A card that has not answered since this process began.

    Attributes:
        place: Its number among NVML's cards.
        trouble: Why it cannot be used.
        bus: Where it is, such as `0000:01:00.0`; this, its name and its uuid are "" where nobody tells.
    """

    place: int
    trouble: str
    bus: str = ""
    name: str = ""
    uuid: str = ""

    @property
    def words(self) -> str:
        """What is wrong with it, for people."""
        known = ", ".join(filter(None, (self.name, self.uuid, self.bus)))
        return f"({known}) {self.trouble}" if known else self.trouble


def silent_cards(silent: Sequence[tuple[int, str]], answering: Collection[str], folder: Path) -> tuple[SilentCard, ...]:
    """Return the cards that give no handle.

    Args:
        silent: The number of each among NVML's cards, in order, and what is wrong with it.
        answering: The buses of all others.
        folder: Where the driver has a folder for each card, named by its bus.
    """
    if not silent:
        return ()
    buses: list[str] = []
    with contextlib.suppress(OSError):
        buses = sorted(path.name for path in folder.iterdir() if path.name.lower() not in answering)
    if len(buses) != len(silent):  # which is which cannot be told
        return tuple(SilentCard(place, trouble) for place, trouble in silent)
    return tuple(_described(folder, bus, *one) for bus, one in zip(buses, silent, strict=True))


def _described(folder: Path, bus: str, place: int, trouble: str) -> SilentCard:
    told: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in (folder / bus / "information").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            told[key.strip()] = value.strip()
    uuid = told.get("GPU UUID", "")
    return SilentCard(place, trouble, bus.lower(), told.get("Model", ""), "" if "?" in uuid else uuid)
