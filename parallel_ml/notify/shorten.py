"""Messages that fit: the content is cut before it is rendered, so that whatever is left is whole in every medium."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from parallel_ml.notify.escape import cut
from parallel_ml.notify.message import Block, Excerpt, Facts, Links, Message, Table, Text

_ELLIPSIS = "…"
_LEAST_TITLE = 60
"""Characters of a title that count before anything else."""


def fitting(message: Message, max_bytes: int, render: Callable[[Message, bool], str], notice: str) -> str:
    """Return the longest rendering that takes at most `max_bytes` in UTF-8.

    Args:
        message: The message.
        max_bytes: What the medium takes.
        render: Renders a message, and where the flag is set the line below it that says that it was cut.
        notice: That line alone, for a medium that has room for no more.
    """
    whole = render(message, False)
    if _size(whole) <= max_bytes:
        return whole
    least, most, best = 0, _length(message), None
    while least <= most:
        middle = (least + most) // 2
        text = render(shortened(message, middle), True)
        if _size(text) <= max_bytes:
            best, least = text, middle + 1
        else:
            most = middle - 1
    if best is not None:
        return best
    return next((text for text in (notice, _ELLIPSIS) if _size(text) <= max_bytes), "")


def shortened(message: Message, length: int) -> Message:
    """Return a message with at most `length` characters of content: the title, then the blocks in order.

    Of an excerpt the last lines stay; of all else the first.
    """
    title = message.title if len(message.title) <= min(length, _LEAST_TITLE) else _shorter(message.title, length)
    left = length - len(title)
    blocks: list[Block] = []
    for block in message.blocks:
        if left <= 0:
            break
        kept = _shorter_block(block, left)
        if kept is not None:
            blocks.append(kept)
        left -= _block_length(block)
    return replace(message, title=title, blocks=tuple(blocks))


def _shorter_block(block: Block, left: int) -> Block | None:
    if _block_length(block) <= left:
        return block
    if isinstance(block, Text):
        return Text(_shorter(block.text, left))
    if isinstance(block, Excerpt):
        lines = _last(block.lines, left - len(block.title))
        return Excerpt(block.title, lines) if lines else None
    rows = _first(block.rows, left)
    if not rows:
        return None
    if isinstance(block, Table):
        marked = block.marked if block.marked is not None and block.marked < len(rows) else None
        return Table(block.header, rows, marked)
    pairs = tuple((row[0], row[1]) for row in rows)
    return Facts(pairs) if isinstance(block, Facts) else Links(pairs)


def _first(rows: tuple[tuple[str, ...], ...], left: int) -> tuple[tuple[str, ...], ...]:
    kept: list[tuple[str, ...]] = []
    for row in rows:
        size = _row_length(row)
        if size > left:
            if not kept:  # one value that is longer than all there is room for
                kept.append(tuple(_shorter(cell, left // len(row)) for cell in row))
            break
        kept.append(row)
        left -= size
    return tuple(kept)


def _last(lines: tuple[str, ...], left: int) -> tuple[str, ...]:
    kept: list[str] = []
    for line in reversed(lines):
        if len(line) + 1 > left:
            if not kept and left > 1:
                kept.append(_shorter(line, left))
            break
        kept.append(line)
        left -= len(line) + 1
    return tuple(reversed(kept))


def _shorter(text: str, length: int) -> str:
    return text if len(text) <= length else cut(text, max(0, length - 1)).rstrip() + _ELLIPSIS


def _length(message: Message) -> int:
    return len(message.title) + sum(map(_block_length, message.blocks))


def _block_length(block: Block) -> int:
    if isinstance(block, Text):
        return len(block.text) + 1
    if isinstance(block, Excerpt):
        return len(block.title) + sum(len(line) + 1 for line in block.lines) + 1
    return sum(map(_row_length, block.rows)) + 1


def _row_length(row: tuple[str, ...]) -> int:
    return sum(map(len, row)) + len(row)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
