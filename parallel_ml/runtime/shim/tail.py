"""The last lines of a job's output, kept for the record of how it ended."""

from __future__ import annotations

from collections import deque

LINES = {"stdout": 60, "stderr": 120}
MAX_CHARACTERS = 500
MAX_TOTAL = 24_000
"""In characters, for the file that they go into."""


class Tail:
    """What stands last on each of the two streams."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._lines = {kind: deque[str](maxlen=count) for kind, count in LINES.items()}

    def take(self, kind: str, lines: list[tuple[str, bool]]) -> None:
        """Take in lines, each with whether it is a piece that goes on."""
        kept = self._lines[kind]
        kept.extend(text[:MAX_CHARACTERS] for text, _ in lines[-LINES[kind] :] if text and not text.isspace())

    @property
    def last_error(self) -> str | None:
        """The last line of standard error that says something."""
        errors = self._lines["stderr"]
        return errors[-1] if errors else None

    def lines(self) -> list[str]:
        """Return what is kept, standard error last, since it is the likelier one to say why."""
        kept: deque[str] = deque()
        room = MAX_TOTAL
        for line in (*reversed(self._lines["stderr"]), *reversed(self._lines["stdout"])):
            room -= len(line)
            if room < 0:
                break
            kept.appendleft(line)
        return list(kept)
