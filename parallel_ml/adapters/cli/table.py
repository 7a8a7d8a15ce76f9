"""Aligned columns that fit a width: columns of less weight are left out first, then long texts are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parallel_ml.adapters.cli.text import cell_width, shorten

_GAP = "  "


@dataclass(frozen=True)
class Column:
    """One column; its cells are safe text.

    Attributes:
        right: Whether cells stand at its right edge.
        least: It is never narrower, so that a display that is drawn again stands still. A column without it is left
            out where all its cells are empty.
        floor: It may be cut down to this many cells; None is never.
        rank: Where there is no room the column of the highest rank goes first; 0 stays.
    """

    title: str
    cells: Sequence[str]
    right: bool = False
    least: int = 0
    floor: int | None = None
    rank: int = 0

    @property
    def natural(self) -> int:
        """The cells that it takes uncut."""
        return max(self.least, cell_width(self.title), *(cell_width(cell) for cell in self.cells), 0)

    @property
    def smallest(self) -> int:
        """The cells that it takes when it is cut as far as it may be."""
        return self.natural if self.floor is None else min(self.natural, self.floor)


def draw(columns: Sequence[Column], width: int | None = None) -> list[str]:
    """Return the heading and a line for each row; None is as wide as it needs.

    >>> draw([Column("job", ["a", "bb"]), Column("epoch", ["1/4", "12/40"], right=True)])
    ['job  epoch', 'a      1/4', 'bb   12/40']
    """
    shown = [column for column in columns if column.least or any(column.cells)]
    while width is not None and _total([column.smallest for column in shown]) > width:
        heaviest = max(shown, key=lambda column: column.rank)
        if not heaviest.rank:
            break
        shown.remove(heaviest)
    widths = _widths(shown, width)
    rows = [[column.title for column in shown], *zip(*(column.cells for column in shown), strict=True)]
    lines = [_GAP.join(_cell(*one) for one in zip(row, widths, shown, strict=True)).rstrip() for row in rows]
    return lines if width is None else [shorten(line, width) for line in lines]


def _widths(columns: Sequence[Column], width: int | None) -> list[int]:
    if width is None:
        return [column.natural for column in columns]
    widths = [column.smallest for column in columns]
    spare = max(0, width - _total(widths))
    for place, column in enumerate(columns):
        more = min(spare, column.natural - widths[place])
        widths[place] += more
        spare -= more
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * max(0, len(widths) - 1)


def _cell(text: str, width: int, column: Column) -> str:
    text = shorten(text, width)
    pad = " " * (width - cell_width(text))
    return pad + text if column.right else text + pad
