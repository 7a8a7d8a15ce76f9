"""A block of lines that is drawn again in place, below whatever else is printed.

Only lines that changed are written, each over its old self, and a frame is one write inside a synchronized update
(https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036; terminals that have none ignore it): nothing
is ever blank between two frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from parallel_ml.adapters.cli.text import cell_width

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CLEAR_REST_OF_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


class Painter:
    """Draws at the end of a terminal's text; the cursor rests below the last line."""

    def __init__(self, stream: TextIO) -> None:
        """Draw nothing yet."""
        self._stream = stream
        self._lines: list[str] = []
        self._columns = 0

    def begin(self) -> None:
        """Hide the cursor."""
        self._write(_HIDE_CURSOR)

    def end(self) -> None:
        """Take the block away and show the cursor again."""
        self._write(self._back_to_top() + _CLEAR_BELOW + _SHOW_CURSOR)
        self._lines = []

    def paint(self, lines: Sequence[str], dressed: Sequence[str], columns: int) -> None:
        """Show other lines in the place of the last ones.

        Args:
            lines: None wider than `columns`, and fewer than the terminal has.
            dressed: The same lines in colour.
            columns: The terminal's width now.
        """
        old = self._lines
        if columns != self._columns:
            start, old = self._back_to_top(columns) + _CLEAR_BELOW, []
        elif list(lines) == old:
            return
        else:
            start = self._back_to_top()
        parts = [start]
        for place, line in enumerate(lines):
            if place >= len(old) or line != old[place]:
                # On a line that is full the cursor stands on the last character, which would be cleared.
                parts += [dressed[place], _CLEAR_REST_OF_LINE if cell_width(line) < columns else ""]
            parts.append("\r\n")
        if len(lines) < len(old):
            parts.append(_CLEAR_BELOW)
        self._lines, self._columns = list(lines), columns
        self._write(f"{_BEGIN}{''.join(parts)}{_END}")

    def above(self, text: str) -> None:
        """Print text above the block, which comes back with the next frame."""
        start = self._back_to_top() + _CLEAR_BELOW if self._lines else ""
        self._lines = []
        self._write(f"{_BEGIN}{start}{text}\r\n{_END}")

    def _back_to_top(self, columns: int | None = None) -> str:
        """Return the way to the block's first line; on a terminal that became narrower the old lines are wrapped."""
        rows = sum(max(1, -(-cell_width(line) // columns)) if columns else 1 for line in self._lines)
        return f"\x1b[{rows}A\r" if rows else "\r"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
