"""The supervisor's own log: JSON lines through structlog, in the run's `supervisor.log`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO

import structlog


def open_log(path: Path) -> Any:
    """Return a structlog logger that appends to `path`; where that cannot be opened, one that is silent."""
    try:
        stream: TextIO = path.open("a", encoding="utf-8")
    except OSError:
        return structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors=[_drop])
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
