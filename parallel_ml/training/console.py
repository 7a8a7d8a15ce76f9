"""What the built-in training says: plain lines on stdout, which is the job's log."""

from __future__ import annotations

import contextlib
import logging
import sys

log = logging.getLogger("parallel_ml.training.console")
log.propagate = False


class _Stdout(logging.Handler):
    """Writes each line at once to what `sys.stdout` is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a reader that is gone must not end a training."""
        with contextlib.suppress(OSError):
            print(self.format(record), flush=True)


def start_log(level: str) -> None:
    """Say lines of this level and above: `DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    log.handlers = [_Stdout()]
    log.setLevel(level)


def complain(line: str) -> None:
    """Write one line to stderr at once."""
    print(line, file=sys.stderr, flush=True)
