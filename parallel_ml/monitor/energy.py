"""How much of its cards' energy a job took.

A card counts the energy that it draws, or else tells its power, which is summed up from sample to sample. What it drew
between two samples is divided among those who computed on it, by their parts of its time; where that is not told, or
nobody computed, by how much of its room each job was granted, other runs' jobs included. So a job that is alone on a
card is charged for its idling too, and a card without a job for nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parallel_ml.core.model import GpuShare

if TYPE_CHECKING:
    from parallel_ml.gpu.sample import DeviceSample

_JOULES_PER_WH = 3600.0
_WHOLE = 1 - 1e-6


@dataclass(frozen=True)
class _Reading:
    """What a card told at one moment."""

    at: float
    energy_j: float | None
    power_w: float | None


class JobEnergy:
    """Sums up one attempt's energy; the moments before its first sample are not in it.

    Attributes:
        estimated: Whether something of it was not measured: power instead of energy, a part of a card, a gap.
    """

    def __init__(self, shares: Collection[GpuShare], before_wh: float | None = None) -> None:
        """Start with the attempt, or go on where another supervisor left it.

        Args:
            shares: The cards that it holds.
            before_wh: What it had taken when it was sampled last.
        """
        self._slots = {share.gpu_uuid: share.slot_fraction for share in shares}
        self._joules = (before_wh or 0.0) * _JOULES_PER_WH
        self._known = self.estimated = before_wh is not None
        self._last: dict[str, _Reading] = {}
        self._part: dict[str, float] = {}
        self._measured: set[str] = set()

    @property
    def wh(self) -> float | None:
        """Watt-hours so far; None where one of the cards has not told enough."""
        if not self._known and (not self._slots or self._measured != set(self._slots)):
            return None
        return round(self._joules / _JOULES_PER_WH, 4)

    def take(
        self, cards: Iterable[DeviceSample], pids: Collection[int], granted: Mapping[str, float], now: float
    ) -> None:
        """Add what was drawn since the last sample.

        Args:
            cards: The machine's cards, measured now.
            pids: The job's processes.
            granted: How much of each card's room is granted in all, by uuid.
            now: The time in seconds.
        """
        mine = [card for card in cards if card.uuid in self._slots]
        for card in mine:
            self._part[card.uuid] = _part(card, pids, self._slots[card.uuid], granted.get(card.uuid, 0.0))
        self.finish(mine, now)

    def finish(self, cards: Iterable[DeviceSample], now: float) -> None:
        """Add what was drawn since the last sample, after the job's processes have ended."""
        for card in cards:
            if card.uuid not in self._part or (card.energy_j is None and card.power_w is None):
                continue
            reading, last = _Reading(now, card.energy_j, card.power_w), self._last.get(card.uuid)
            self._last[card.uuid] = reading
            if last is None:
                continue
            drawn, counted = _drawn(last, reading)
            if drawn is None:
                self.estimated = True
                continue
            self._joules += drawn * self._part[card.uuid]
            self._measured.add(card.uuid)
            self.estimated = self.estimated or not counted or self._part[card.uuid] < _WHOLE


def _part(card: DeviceSample, pids: Collection[int], slots: float, granted: float) -> float:
    """Return a job's part of what a card draws, from 0 to 1."""
    busy = {use.pid: use.utilization_percent or 0 for use in card.processes or ()}
    total = sum(busy.values())
    if total:
        return sum(percent for pid, percent in busy.items() if pid in pids) / total
    return slots / max(slots, granted)


def _drawn(last: _Reading, now: _Reading) -> tuple[float | None, bool]:
    """Return the joules between two readings, and whether the card counted them itself; None is not known."""
    if last.energy_j is not None and now.energy_j is not None:
        # A driver that is loaded anew counts from 0 again.
        return (now.energy_j - last.energy_j, True) if now.energy_j >= last.energy_j else (None, False)
    if last.power_w is not None and now.power_w is not None:
        return (last.power_w + now.power_w) / 2 * max(0.0, now.at - last.at), False
    return None, False
