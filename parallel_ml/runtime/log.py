"""The supervisor's own log: JSON lines through structlog, in the run's `supervisor.log`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import structlog


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[Any]:
    """Yield a structlog logger that appends to `path`; where that cannot be opened, one that is silent."""
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(path.open("a", encoding="utf-8"))
        except OSError:
            yield structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors=[_drop])
            return
        yield _logger(stream)


def _logger(stream: TextIO) -> Any:
    return structlog.wrap_logger(
        _SafeLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
    )


class _SafeLogger(structlog.WriteLogger):
    """A log that a full disk silences instead of raising into the loop that guards trainings."""

    def msg(self, message: str) -> None:
        try:
            super().msg(message)
        except OSError:
            return

    log = debug = info = warning = error = critical = msg


def _drop(_logger: Any, _name: str, _event: Any) -> Any:
    raise structlog.DropEvent
