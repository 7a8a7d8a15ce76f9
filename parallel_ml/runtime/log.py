"""The supervisor's own log: JSON lines through structlog, in the run's `supervisor.log`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[Any]:
    """Yield a structlog logger that appends to `path`; where that cannot be opened, one that is silent.

    A full disk silences it, too: it must not raise into the loop that guards trainings.
    """
    with contextlib.ExitStack() as stack:
        stream = None
        with contextlib.suppress(OSError):  # unbuffered: nothing is left that closing would write to a full disk
            stream = stack.enter_context(path.open("ab", buffering=0))
        yield _logger(_Lines(stream))


def _logger(lines: _Lines) -> Any:
    import structlog  # noqa: PLC0415 - 0.15 s, in which the image of the shims is loaded beside it

    return structlog.wrap_logger(
        lines,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(default=repr),
        ],
    )


class _Lines:
    """Where structlog's lines go."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        """Write a line, or nothing where that cannot be done."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.write(message.encode() + b"\n")

    log = debug = info = warning = error = critical = msg
