"""Orders to lower the learning rate that come while a training runs: obeyed once each, at the start of an epoch.

The supervisor writes the orders into one file; at which epoch each began to hold is written into another one, by the
training, before it does. So an epoch that is trained again, after a crash or from an older state, has the same rate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parallel_ml.training.console import log
from parallel_ml.training.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

BEGUN_FILE = "rates-begun.json"


@dataclass(frozen=True)
class Cut:
    """An order: from an epoch on (counted from 1) the rate is multiplied, and does not fall below `least` by it."""

    number: int
    from_epoch: int
    factor: float
    least: float


class RateCuts:
    """What was ordered, and since which epoch it holds."""

    def __init__(self, orders: Path | None, folder: Path) -> None:
        """Read what held before.

        Args:
            orders: The file with the orders, which need not be there; None where nobody gives any.
            folder: Where to write since when each holds.
        """
        self._orders, self._begun_file = orders, folder / BEGUN_FILE
        told = _read(self._begun_file)
        self._begun = {int(number): int(epoch) for number, epoch in told.items()} if isinstance(told, dict) else {}

    def rate(self, base: float, epoch: int) -> float:
        """Return the rate of an epoch, counted from 1, where the schedule says `base`."""
        cuts = self._read_orders()
        new = [cut for cut in cuts if cut.number not in self._begun and cut.from_epoch <= epoch]
        if new:
            self._begun |= {cut.number: epoch for cut in new}
            try:
                write_json(self._begun_file, self._begun)
            except OSError as error:  # it holds all the same; only a crash before there is room would forget since when
                log.warning("%s: %s", self._begun_file, error.strerror)
        rate = base
        for cut in cuts:
            if self._begun.get(cut.number, epoch + 1) <= epoch:
                rate = min(rate, max(rate * cut.factor, cut.least))
        for cut in new:
            log.info("epoch %d: the learning rate is multiplied by %g, as ordered: %g", epoch, cut.factor, rate)
        return rate

    def _read_orders(self) -> list[Cut]:
        told = _read(self._orders) if self._orders is not None else None
        cuts = told.get("cuts", []) if isinstance(told, dict) else []
        return [Cut(cut["number"], cut["from_epoch"], cut["factor"], cut["least"]) for cut in cuts]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
