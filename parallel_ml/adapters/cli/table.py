"""Aligned columns that fit a width: columns of less weight are left out first, then long texts are cut.

A row may end in a note. One that has no room there takes the place of the row's last cells, so that it is read whole
where a column of its own would be cut, and the other rows keep their figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from parallel_ml.adapters.cli.text import cell_width, shorten
from parallel_ml.records import dataclass

_GAP = "  "
_LEAST_NOTE = 8
"""Cells of a cut note that still say something."""
_NOTE_ROOM = 24
"""Cells that names leave to a note: "2 of 2 slots in use" and its like."""


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
        return max(self.least, *widths_of([self.title, *self.cells]))

    @property
    def smallest(self) -> int:
        """The cells that it takes when it is cut as far as it may be."""
        return self.natural if self.floor is None else min(self.natural, self.floor)


@dataclass(frozen=True)
class Note:
    """What stands at the end of a row, as safe text.

    Attributes:
        needed: It is shown at the cost of the row's cells, and cut where even that is not enough; another one is left
            out where it has no room.
    """

    text: str = ""
    needed: bool = True


def draw(
    columns: Sequence[Column], width: int | None = None, notes: Sequence[Note] = (), note_room: int = 0
) -> list[str]:
    """Return the heading and a line for each row; None is as wide as it needs.

    >>> draw([Column("job", ["a", "bb"]), Column("epoch", ["1/4", "12/40"], right=True)])
    ['job  epoch', 'a      1/4', 'bb   12/40']

    Args:
        columns: From left to right.
        width: Cells of the terminal.
        notes: One for each row, or none at all. It never takes the place of the first columns without a rank.
        note_room: Cells that the first columns leave to notes in any case; 0 is as many as the notes given now want.
    """
    shown = [column for column in columns if column.least or any(column.cells)]
    while width is not None and _total([column.smallest for column in shown]) > width:
        heaviest = max(shown, key=lambda column: column.rank)
        if not heaviest.rank:
            break
        shown.remove(heaviest)
    kept = next((place for place, column in enumerate(shown) if column.rank), len(shown))
    widths = _widths(shown, width)
    if width is not None:
        widths[:kept] = _leaving_room(shown[:kept], widths[:kept], width, note_room or _wanted(notes))
    padded = [
        _padded([column.title, *column.cells], cells, column) for column, cells in zip(shown, widths, strict=True)
    ]
    rows = list(zip(*padded, strict=True)) if padded else [()]
    noted = [Note(), *(notes or [Note()] * (len(rows) - 1))]
    lines = [_line(row, note, kept, width).rstrip() for row, note in zip(rows, noted, strict=True)]
    return lines if width is None else [shorten(line, width) for line in lines]


def _line(cells: Sequence[str], note: Note, kept: int, width: int | None) -> str:
    """Return a row with its note: behind its last cell that is not empty, or behind the first `kept` ones."""
    alone = _GAP.join(cells)
    if not note.text:
        return alone
    filled = max((place for place, cell in enumerate(cells, 1) if cell.strip()), default=0)
    for count in (max(kept, filled), kept) if note.needed else (len(cells),):
        before = _GAP.join([*cells[:count], ""])
        if width is None or cell_width(before + note.text) <= width:
            return before + note.text
    fits = note.needed and width is not None and width - cell_width(before) >= _LEAST_NOTE
    return before + note.text if fits else alone


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


def _wanted(notes: Sequence[Note]) -> int:
    return min(_NOTE_ROOM, max((cell_width(note.text) for note in notes if note.needed), default=0))


def _leaving_room(columns: Sequence[Column], widths: Sequence[int], width: int, wanted: int) -> list[int]:
    """Return the widths of the first columns, the names among them cut where else no note could be read."""
    over = _total([*widths, wanted]) - width if wanted else 0
    cut = []
    for column, cells in zip(columns, widths, strict=True):
        less = min(max(0, over), cells - column.smallest)
        cut.append(cells - less)
        over -= less
    return cut


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * max(0, len(widths) - 1)


def _padded(texts: Sequence[str], width: int, column: Column) -> list[str]:
    """Return texts cut and filled up to a width."""
    if any(cells > width for cells in widths_of(texts)):
        texts = [shorten(text, width) for text in texts]
    if "".join(texts).isascii():  # thousands of rows: no width has to be counted
        return [text.rjust(width) for text in texts] if column.right else [text.ljust(width) for text in texts]
    filled = [" " * (width - cell_width(text)) for text in texts]
    pairs = zip(filled, texts, strict=True) if column.right else zip(texts, filled, strict=True)
    return [first + second for first, second in pairs]


def widths_of(texts: Sequence[str]) -> list[int]:
    """Return the terminal cells that each of many safe texts takes."""
    return list(map(len if "".join(texts).isascii() else cell_width, texts))
