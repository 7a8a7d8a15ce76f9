"""From the bytes of a pipe to lines of text."""

from __future__ import annotations

from collections.abc import Iterator

MAX_LINE_BYTES = 1 << 20
"""A longer line is written in pieces of this size, each but the last marked `"partial": true`."""


class LineSplitter:
    """Cuts a stream of bytes into lines; what follows the last newline waits for its rest.

    A carriage return within a line starts it again, as on a terminal: of a progress bar only the last picture stays.
    """

    def __init__(self, longest: int = MAX_LINE_BYTES) -> None:
        """Start with nothing.

        Args:
            longest: The most bytes of a piece.
        """
        self._rest = b""
        self._redrawn = False
        self._longest = longest

    @property
    def picture(self) -> str:
        """What a line that is drawn again and again looks like now; "" where no such line is open."""
        return _text(self._rest.rstrip(b"\r")) if self._redrawn else ""

    def feed(self, data: bytes) -> list[tuple[str, bool]]:
        """Return the lines that `data` completes, each with whether it is a piece that goes on."""
        body, newline, rest = (self._rest + data).rpartition(b"\n")
        raw = body.split(b"\n") if newline else []
        if b"\r" not in body and max(map(len, raw), default=0) <= self._longest:  # nearly always; many times quicker
            lines = [(text, False) for text in _text(body).split("\n")] if newline else []
        else:
            lines = [piece for line in raw for piece in self._pieces(line)]
        self._redrawn = b"\r" in rest or (self._redrawn and not newline)
        if b"\r" in rest[:-1]:
            rest = rest[rest.rindex(b"\r", 0, len(rest) - 1) + 1 :]
        *whole, self._rest = _cut(rest, self._longest)
        return lines + [(_text(piece), True) for piece in whole]

    def finish(self) -> list[tuple[str, bool]]:
        """Return what is left without a newline at the end of the stream."""
        rest, self._rest, self._redrawn = self._rest, b"", False
        return self._pieces(rest) if rest else []

    def _pieces(self, line: bytes) -> list[tuple[str, bool]]:
        line = line.rstrip(b"\r")
        *first, last = _cut(line[line.rfind(b"\r") + 1 :], self._longest)
        return [(_text(piece), True) for piece in first] + [(_text(last), False)]


def _cut(line: bytes, longest: int) -> Iterator[bytes]:
    """Cut a line into pieces, at least one, none in the middle of a character of UTF-8."""
    start = 0
    while len(line) - start > longest:
        end = start + longest
        back = next((back for back in range(4) if line[end - back] & 0xC0 != 0x80), 0)  # 0x80: a character goes on
        yield line[start : end - back]
        start = end - back
    yield line[start:]


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
