"""A confusion matrix: a row is the true class, a column the answer; right answers blue, wrong ones orange."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from parallel_ml.core.text import safe, shorten

MOST_CLASSES = 60
"""Of more classes nothing could be seen."""
_MOST_NUMBERS = 25
_LABEL = 84
_TOP = 20
_NAME_CELLS = 10
_LARGER = 1.15
"""How much larger than its own measures it is shown, where there is room."""


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str], *, description: str, answer: str) -> str:
    """Return a confusion matrix as SVG; "" where it is none, or has too many classes.

    Args:
        counts: Square; a row is the true class.
        names: Of the classes.
        description: What the chart shows, for those who do not see it.
        answer: The title of the columns.
    """
    size = len(counts)
    if not 0 < size <= MOST_CLASSES or len(names) != size or any(len(row) != size for row in counts):
        return ""
    cell = 30 if size <= 12 else 20 if size <= _MOST_NUMBERS else 8
    width, height = _LABEL + size * cell + 4, _TOP + size * cell + (cell if size <= _MOST_NUMBERS else 6)
    parts = [f'<text x="{_LABEL + size * cell / 2:.0f}" y="12" text-anchor="middle">{html.escape(answer)}</text>']
    for row, line in enumerate(counts):
        total = sum(line) or 1
        for column, count in enumerate(line):
            if count:
                parts.append(_cell(row, column, count, count / total, cell, size))
        if size <= _MOST_NUMBERS:
            parts.append(_labels(row, names[row], cell, size))
    edge = f'<rect class="axis" x="{_LABEL}" y="{_TOP}" width="{size * cell}" height="{size * cell}"/>'
    label = html.escape(safe(description), quote=True)
    shown = f'width="{width * _LARGER:.0f}" viewBox="0 0 {width} {height}"'
    return f'<svg class="chart matrix" {shown} role="img" aria-label="{label}">{"".join(parts)}{edge}</svg>'


def most_confused(counts: Sequence[Sequence[int]], names: Sequence[str], most: int = 5) -> list[tuple[str, str, int]]:
    """Return the true class, the answer and how often, for the wrong answers that were given most.

    >>> most_confused([[5, 2], [0, 4]], ["cat", "dog"])
    [('cat', 'dog', 2)]
    """
    wrong = [
        (count, row, column)
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if count and row != column and max(row, column) < len(names)
    ]
    wrong.sort(key=lambda one: (-one[0], one[1], one[2]))
    return [(names[row], names[column], count) for count, row, column in wrong[:most]]


def _cell(row: int, column: int, count: int, share: float, cell: int, size: int) -> str:
    x, y = _LABEL + column * cell, _TOP + row * cell
    strong = share if row == column else math.sqrt(share)
    css = "c0" if row == column else "c1"
    drawn = f'<rect class="cell {css}" x="{x}" y="{y}" width="{cell}" height="{cell}" fill-opacity="{strong:.2f}"/>'
    if size > _MOST_NUMBERS:
        return drawn
    ink = "on" if strong > 0.55 else "ink"
    text = str(count) if count < 10_000 else f"{count / 1000:.0f}k"
    place = f'x="{x + cell / 2:.0f}" y="{y + cell / 2 + 4:.0f}"'
    return f'{drawn}<text class="{ink}" {place} text-anchor="middle">{text}</text>'


def _labels(row: int, name: str, cell: int, size: int) -> str:
    text = html.escape(shorten(safe(name), _NAME_CELLS))
    short = html.escape(shorten(safe(name), max(2, cell // 8)))
    side = f'<text x="{_LABEL - 6}" y="{_TOP + row * cell + cell / 2 + 4:.0f}" text-anchor="end">{text}</text>'
    below = f'<text x="{_LABEL + row * cell + cell / 2:.0f}" y="{_TOP + size * cell + 15}" text-anchor="middle">'
    return f"{side}{below}{short}</text>"
