"""The last lines of a job's output, kept for the record of how it ended, and those that may say why, however old."""

from __future__ import annotations

import re
from collections import deque

LINES = {"stdout": 60, "stderr": 120}
MAX_CHARACTERS = 500
MAX_TOTAL = 24_000
"""In characters, for the file that they go into."""
MAX_DECISIVE = 16
"""Lines of standard error that are kept however many follow: a logger may still say much after an exception."""
_WAITING = 8
"""Blocks of lines that are searched only when others push them out, or at the end: a job that floods its standard
error (256 KiB a block, some 2,700 lines) must not wait for a search of all it says."""
_SEARCHED = 64
"""Lines, the last, of a block that is pushed out; the blocks of a job that prints at a human pace are shorter."""

_TEXTS = {
    "ut of memory": "ACEO",
    "allocate memory": "ACE",
    "not enough memory": "E",
    "OOM when": "O",
    "_ALLOC_FAILED": "A",
    "std::bad_alloc": "'",
    "Check failed: ": "C",
    "LLVM ERROR: ": "L",
    "could not create a primitive": "S",
}
"""What a decisive line says, each with the characters of which at least one stands in such a line.

A single character is found thirty times as fast as a word: most lines have none of these.
"""
_NAMES = ("Error", "Exception")
_RAISED = re.compile(
    r"(?:\[\w*\d+\]: ?|\([^)]*pid=\d+[^)]*\) ?)*"
    r"(?:Exception ignored |(?:\w+\.)*[A-Z]\w*(?:Error|Exception)(?=:|\s*$))"
)


class Tail:
    """What stands last on each of the two streams, and the last lines of standard error that may say why."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._lines = {kind: deque[tuple[int, str]](maxlen=count) for kind, count in LINES.items()}
        self._decisive = deque[tuple[int, str]](maxlen=MAX_DECISIVE)
        self._waiting = deque[tuple[int, list[tuple[str, bool]]]]()
        self._taken = 0

    def take(self, kind: str, lines: list[tuple[str, bool]]) -> None:
        """Take in lines, each with whether it is a piece that goes on."""
        first = self._taken + max(0, len(lines) - LINES[kind])
        self._lines[kind].extend(
            (number, text[:MAX_CHARACTERS])
            for number, (text, _) in enumerate(lines[-LINES[kind] :], first)
            if text and not text.isspace()
        )
        if kind == "stderr":
            self._waiting.append((self._taken, lines))
            if len(self._waiting) > _WAITING:
                number, block = self._waiting.popleft()
                skipped = max(0, len(block) - _SEARCHED)
                self._search(number + skipped, block[skipped:])
        self._taken += len(lines)

    def _search(self, first: int, lines: list[tuple[str, bool]]) -> None:
        block = "\n".join([text for text, _ in lines])
        there = {character for character in "ACELOS'" if character in block}
        texts = [text for text, signs in _TEXTS.items() if not there.isdisjoint(signs) and text in block]
        names = [name for name in _NAMES if "E" in there and name in block]
        if not (texts or names):
            return
        found: list[tuple[int, str]] = []
        for number in range(len(lines) - 1, -1, -1):
            line = lines[number][0][:MAX_CHARACTERS]
            raised = any(name in line for name in names) and _RAISED.match(line)
            if raised or any(text in line for text in texts):
                found.append((first + number, line))
                if len(found) == MAX_DECISIVE:
                    break
        self._decisive.extend(reversed(found))

    @property
    def last_error(self) -> str | None:
        """The last line of standard error that says something."""
        errors = self._lines["stderr"]
        return errors[-1][1] if errors else None

    def lines(self) -> list[str]:
        """Return what is kept, standard error last, since it is the likelier one to say why."""
        while self._waiting:
            self._search(*self._waiting.popleft())
        errors = self._lines["stderr"]
        room = MAX_TOTAL - sum(len(text) for _, text in self._decisive)
        shown = _newest(errors, room)
        oldest = shown[0][0] if shown else self._taken
        decisive = [text for number, text in self._decisive if number < oldest]
        room = MAX_TOTAL - sum(map(len, decisive)) - sum(len(text) for _, text in shown)
        output = _newest(self._lines["stdout"], room) if len(shown) == len(errors) else []
        return [*(text for _, text in output), *decisive, *(text for _, text in shown)]


def _newest(lines: deque[tuple[int, str]], room: int) -> list[tuple[int, str]]:
    """Return the last lines that fit into `room` characters, oldest first."""
    kept: deque[tuple[int, str]] = deque()
    for line in reversed(lines):
        room -= len(line[1])
        if room < 0:
            break
        kept.appendleft(line)
    return list(kept)
