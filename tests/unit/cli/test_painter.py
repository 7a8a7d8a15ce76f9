"""What is written to a terminal to draw a block of lines again in place."""

from __future__ import annotations

import io
import re

from parallel_ml.adapters.cli.painter import Painter


class Terminal:
    """As much of a terminal as the painter needs: text, the cursor, and clearing; lines do not wrap."""

    def __init__(self, *above: str) -> None:
        """Stand below the lines that are there."""
        self.rows, self.row, self.column = [*above, ""], len(above), 0
        self.stream = io.StringIO()

    def shown(self) -> list[str]:
        """Take in what was written since, and return the lines."""
        for number, what, text in re.findall(r"\x1b\[\??(\d*)([A-Za-z])|([^\x1b])", self.stream.getvalue()):
            self._obey(number, what) if what else self._put(text)
        self.stream.seek(0)
        self.stream.truncate()
        return [row.rstrip() for row in self.rows]

    def _obey(self, number: str, what: str) -> None:
        if what == "A":
            self.row -= int(number)
            assert self.row >= 0
        elif what in "KJ":
            self.rows[self.row] = self.rows[self.row][: self.column]
            if what == "J":
                del self.rows[self.row + 1 :]
        else:
            assert what in "hlm"

    def _put(self, char: str) -> None:
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append("")
        else:
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + char + row[self.column + 1 :]
            self.column += 1


def paint(painter: Painter, *lines: str, columns: int = 20) -> None:
    """Draw lines that have no colours."""
    painter.paint(lines, lines, columns)


def test_a_frame_takes_the_place_of_the_last() -> None:
    """What changed is new, what became shorter leaves nothing behind, and what stood above stays."""
    terminal = Terminal("$ run")
    painter = Painter(terminal.stream)
    paint(painter, "heading", "a  running", "b  pending", "end")
    assert terminal.shown() == ["$ run", "heading", "a  running", "b  pending", "end", ""]
    paint(painter, "heading", "a  done", "end")
    assert terminal.shown() == ["$ run", "heading", "a  done", "end", ""]


def test_only_what_changed_is_written() -> None:
    """No line is cleared before it is drawn, so that none is blank for a moment."""
    stream = io.StringIO()
    painter = Painter(stream)
    paint(painter, "heading", "a 1/4", "b 1/4")
    stream.seek(0)
    stream.truncate()
    paint(painter, "heading", "a 2/4", "b 1/4")
    assert stream.getvalue() == "\x1b[?2026h\x1b[3A\r\r\na 2/4\x1b[K\r\n\r\n\x1b[?2026l"


def test_the_same_frame_writes_nothing() -> None:
    """A terminal that nothing happens on is left alone."""
    stream = io.StringIO()
    painter = Painter(stream)
    paint(painter, "heading")
    before = stream.getvalue()
    paint(painter, "heading")
    assert stream.getvalue() == before


def test_a_full_line_keeps_its_last_character() -> None:
    """Clearing the rest of a line would clear the character under the cursor."""
    stream = io.StringIO()
    paint(Painter(stream), "x" * 20)
    assert "\x1b[K" not in stream.getvalue()


def test_a_narrower_terminal_has_wrapped_the_old_lines() -> None:
    """They are taken away with all the rows that they take by then."""
    stream = io.StringIO()
    painter = Painter(stream)
    paint(painter, "x" * 20, "训练训练训练", "y", columns=20)
    stream.seek(0)
    stream.truncate()
    paint(painter, "x", columns=10)
    assert "\x1b[5A\r\x1b[J" in stream.getvalue()


def test_what_is_printed_stands_above() -> None:
    """And the display comes back below it."""
    terminal = Terminal()
    painter = Painter(terminal.stream)
    paint(painter, "heading", "a")
    painter.above("note: a card is lost")
    paint(painter, "heading", "a")
    assert terminal.shown() == ["note: a card is lost", "heading", "a", ""]


def test_the_end_leaves_nothing() -> None:
    """The display is gone and the cursor is back."""
    terminal = Terminal("$ run")
    painter = Painter(terminal.stream)
    painter.begin()
    paint(painter, "heading", "a")
    painter.end()
    assert terminal.stream.getvalue().endswith("\x1b[?25h")
    assert terminal.shown() == ["$ run", ""]
