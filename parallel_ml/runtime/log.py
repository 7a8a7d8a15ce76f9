"""The supervisor's own log: an event's name and its fields, a line of JSON each, in the run's `supervisor.log`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO


class EventLog:
    """Appends events to a stream. A full disk silences it: it must not raise into the loop that guards trainings."""

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`; None is a log that says nothing."""
        self._stream = stream

    def info(self, event: str, **fields: object) -> None:
        """Say what is worth knowing."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Say what somebody may want to look at."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Say what has gone wrong."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if self._stream is None:
            return
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
        record = {**fields, "event": event, "level": level, "timestamp": now}
        with contextlib.suppress(OSError):
            self._stream.write(json.dumps(record, default=repr) + "\n")
            self._stream.flush()


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[EventLog]:
    """Yield a log that appends to `path`; where that cannot be opened, one that is silent."""
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(path.open("a", encoding="utf-8"))
        except OSError:
            yield EventLog(None)
            return
        yield EventLog(stream)
