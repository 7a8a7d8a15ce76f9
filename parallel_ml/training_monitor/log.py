"""The monitor's own log: a line for each thing that happened, in a file that several monitors may share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from parallel_ml.notify.escape import clean

_log = logging.getLogger("parallel_ml")


def local_now() -> datetime:
    """Return the time, in the machine's zone."""
    return datetime.now().astimezone()


class MonitorLog:
    """Appends lines to a file. A log that cannot be written is silent: it must not hurt a training."""

    def __init__(self, path: Path, name: str, now: Callable[[], datetime] = local_now) -> None:
        """Write nothing yet.

        Args:
            path: The file.
            name: What stands in each line: the model's.
            now: The time.
        """
        self._path, self._name, self._now = path, name, now

    def info(self, text: str) -> None:
        """Write down what happened."""
        self._write("INFO", text)

    def problem(self, text: str, raised: BaseException | None = None) -> None:
        """Write down what went wrong, and say it on stderr too, as Python's `logging` is set up to.

        Args:
            text: What, without secrets.
            raised: Its class alone is told: a message may hold anything.
        """
        if raised is not None:
            text = f"{text} ({type(raised).__name__})"
        self._write("WARNING", text)
        _log.warning("%s: %s", self._name, text)

    def _write(self, level: str, text: str) -> None:
        line = f"{self._now().isoformat(timespec='seconds')} {level} {clean(self._name)}: {clean(text)}\n"
        try:
            # One write in append mode: lines of several monitors do not mix.
            with self._path.open("ab", buffering=0) as stream:
                stream.write(line.encode("utf-8", "backslashreplace"))
        except OSError:
            return
