"""Standard output: its size, and writing to it when it may vanish."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO


def is_terminal(stream: TextIO) -> bool:
    """Whether a person sees it and the cursor can be moved on it."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}


def size(stream: TextIO) -> tuple[int, int] | None:
    """Return columns and lines; None where it is no terminal and nothing needs to be cut."""
    if not stream.isatty():
        return None
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, lines = 0, 0
    named = os.environ.get("COLUMNS", "")
    return int(named) if named.isdigit() and int(named) else columns or 80, lines or 24


def width(stream: TextIO) -> int | None:
    """Return how many columns there are; None is as many as wanted."""
    found = size(stream)
    return found[0] if found else None


def as_json(value: Any) -> str:
    """Return one object in one line; ASCII alone, so that no terminal obeys anything in it."""
    return json.dumps(value, allow_nan=False, check_circular=False)


def print_json(value: Any) -> None:
    """Print one object in one line."""
    print(as_json(value), flush=True)


def let_go_of_stdout(stream: TextIO | None = None) -> None:
    """Point standard output, or the stream that was it, at nothing: nothing that is written later fails."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, (stream or sys.stdout).fileno())
    os.close(nowhere)


class Screen(io.TextIOBase):
    """Standard output as a run writes to it: a broken pipe or a vanished terminal silences it and stops no training.

    Attributes:
        gone: Whether nothing is written any more.
        failure: Why.
    """

    def __init__(self) -> None:
        """Write to what is standard output now."""
        super().__init__()
        self.stream = sys.stdout
        self.gone = False
        self.failure: OSError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute there
        """The encoding of what is written."""
        return self.stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return not self.gone and self.stream.isatty()

    def write(self, text: str) -> int:
        """Write text, as long as somebody takes it."""
        if not self.gone:
            try:
                self.stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        if not self.gone:
            try:
                self.stream.flush()
            except OSError as error:
                self._lose(error)

    def line(self, text: str) -> None:
        """Write a line and hand it on at once."""
        self.write(f"{text}\n")
        self.flush()

    def lines(self, texts: Iterable[str]) -> None:
        """Write several lines."""
        self.line("\n".join(texts))

    def _lose(self, error: OSError) -> None:
        self.gone, self.failure = True, error
        let_go_of_stdout(self.stream)
