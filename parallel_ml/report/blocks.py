"""What a report is made of: sections of tables, charts and lines. `page` and `markdown` say how each is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table; its cells are text from anywhere, escaped by who writes them.

    Attributes:
        caption: What it is, for those who hear it.
        numbers: The columns that hold figures.
        state: The column that holds states, or None.
        states: The state of each row as the program knows it, where `state` is given.
        strong: The row that is set off, or None.
    """

    caption: str
    header: Row
    rows: Sequence[Row]
    numbers: frozenset[int] = frozenset()
    state: int | None = None
    states: Sequence[str] = ()
    strong: int | None = None

    def filled(self) -> Table:
        """Return the table without the columns in which nothing stands; the first one stays."""
        kept = [place for place in range(len(self.header)) if not place or any(row[place] for row in self.rows)]
        return replace(
            self,
            header=tuple(self.header[place] for place in kept),
            rows=[tuple(row[place] for place in kept) for row in self.rows],
            numbers=frozenset(new for new, place in enumerate(kept) if place in self.numbers),
            state=kept.index(self.state) if self.state in kept else None,
        )


@dataclass(frozen=True)
class Facts:
    """Names with values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Text:
    """A paragraph; `strong` for what should be read first."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: Above it.
        svg: The drawing, escaped already; it has its own description.
        description: The same description, for where there is no drawing.
        table: The same as figures, or None.
        wide: Whether it takes the whole width.
    """

    title: str
    svg: str
    description: str
    table: Table | None = None
    wide: bool = False


@dataclass(frozen=True)
class Legend:
    """Names with the colours that charts have for them, by their places."""

    names: Sequence[str]


@dataclass(frozen=True)
class Lines:
    """Lines that stand as they are, in a fixed font."""

    title: str
    lines: Sequence[str]


Block = Table | Facts | Text | Chart | Legend | Lines


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; `key` names it in links."""

    key: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    language: str
    sections: Sequence[Section]
