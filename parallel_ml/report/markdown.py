"""A report as Markdown: CommonMark with GitHub's tables. Charts become their descriptions and their figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parallel_ml.notify.escape import clean, escape_commonmark
from parallel_ml.report.blocks import Block, Chart, Document, Facts, Lines, Table, Text

_WIDEST_TABLE = 24
"""Columns; of a chart's table with more, only the description is written."""


def markdown(document: Document) -> str:
    """Return the whole report."""
    parts = [f"# {_text(document.title)}"]
    for section in document.sections:
        parts.append(f"## {_text(section.title)}")
        parts += [text for block in section.blocks for text in _written(block)]
    return "\n\n".join(parts) + "\n"


def _written(block: Block) -> Iterator[str]:
    if isinstance(block, Table):
        yield _table(block)
    elif isinstance(block, Facts):
        yield "\n".join(f"- {_text(name)}: {_text(value)}" for name, value in block.rows)
    elif isinstance(block, Text):
        yield f"**{_text(block.text)}**" if block.strong else _text(block.text)
    elif isinstance(block, Lines):
        yield f"{_text(block.title)}:"
        yield "\n".join(f"    {clean(line)}" for line in block.lines)
    elif isinstance(block, Chart):  # a legend says nothing without colours
        yield f"### {_text(block.title)}"
        yield _text(block.description)
        if block.table is not None and len(block.table.header) <= _WIDEST_TABLE:
            yield _table(block.table)


def _table(table: Table) -> str:
    rule = ["---:" if place in table.numbers else "---" for place in range(len(table.header))]
    lines = [_row(table.header), f"| {' | '.join(rule)} |"]
    lines += [_row(row, strong=place == table.strong) for place, row in enumerate(table.rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str], *, strong: bool = False) -> str:
    shown = [_text(cell) for cell in cells]
    if strong and shown[0]:
        shown[0] = f"**{shown[0]}**"
    return f"| {' | '.join(shown)} |"


def _text(text: str) -> str:
    return escape_commonmark(clean(text).strip())
