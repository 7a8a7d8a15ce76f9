"""Bars and sparklines of one line's height, in block characters or in ASCII where the terminal has no others."""

from __future__ import annotations

import math
from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS, _PLAIN_LEVELS = "▁▂▃▄▅▆▇", "_.-=+*#"
"""No full block: curves stay apart from the row above them, and from bars."""
_LEAST_SPAN = 0.02
"""The part of its values' size that a curve spans at least: noise below it is drawn flat."""


def can_draw(encoding: str | None) -> bool:
    """Whether a terminal of this encoding has block characters."""
    return (encoding or "").lower().replace("-", "").startswith("utf")


def progress_bar(epoch: int | None, epochs: int | None, cells: int, *, plain: bool = False) -> str:
    """Return how much is done as a bar; "" where the end is not known.

    >>> progress_bar(1, 4, 10, plain=True), progress_bar(3, 8, 4)
    ('##........', '█▌░░')

    Args:
        epoch: Those that are done.
        epochs: All of them.
        cells: The bar's width.
        plain: Draw in ASCII.
    """
    if not epochs:
        return ""
    done = min(epochs, epoch or 0)
    if plain:
        full = cells * done // epochs
        return "#" * full + "." * (cells - full)
    full, part = divmod(8 * cells * done // epochs, 8)
    bar = "█" * full + (_EIGHTHS[part] if part else "")
    return bar + "░" * (cells - len(bar))


def sparkline(values: Sequence[float | None], cells: int, *, plain: bool = False) -> str:
    """Return the course of the last `cells` values, the lowest at the bottom; a blank for each that is not known.

    >>> sparkline([0.1, 0.5, None, 0.9], 12), sparkline([1, 2, 3], 2, plain=True)
    ('▁▄ ▇', '_#')
    """
    shown = [value if value is not None and math.isfinite(value) else None for value in values[-cells:]]
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = max(high - low, _LEAST_SPAN * max(abs(low), abs(high))) or 1.0
    low -= (span - (high - low)) / 2
    levels = _PLAIN_LEVELS if plain else _LEVELS
    steps = len(levels) - 1
    return "".join(" " if value is None else levels[round(steps * (value - low) / span)] for value in shown)
