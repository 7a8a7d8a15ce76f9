"""Telling again what the guard missed: an epoch may be in the saved state and, after a crash, not in the metrics."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from parallel_ml.training.reporting import report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TAIL_BYTES = 64 * 1024
"""The guard writes no longer line."""


def tell_missing(metrics_file: Path | None, history: Sequence[Mapping[str, float]], epochs: int) -> None:
    """Report the epochs of `history` that come after the last one in the guard's file."""
    if metrics_file is None:
        return
    for number in range(last_epoch(metrics_file), len(history)):
        report(number + 1, epochs, **history[number])


def last_epoch(metrics_file: Path) -> int:
    """Return the last epoch that a metrics file has in a whole line; 0 where it has none."""
    try:
        with metrics_file.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["epoch"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0
