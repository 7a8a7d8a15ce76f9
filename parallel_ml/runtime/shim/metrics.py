"""The one writer of a job's `metrics.jsonl`: one line an epoch, each epoch once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from parallel_ml.runtime.shim.log import append_lines, cut_torn_tail

OUTPUT = "output"
"""What `source` is in a line that was read from the job's output."""


class MetricsWriter:
    """Appends epochs. One that is reported again (after a resume) replaces itself and all later ones.

    Attributes:
        newest: The last that this attempt wrote, or None.
        has_reports: Whether any line was reported by the job, rather than read from its output.
    """

    def __init__(self, path: str) -> None:
        """Open the file, which earlier attempts may have written to."""
        self._path = path
        self.newest: dict[str, Any] | None = None
        self._open()

    def _open(self) -> None:
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._end = cut_torn_tail(self._handle)
        told = [data for data, _ in self._lines()]
        self._last_epoch = max((epoch for data in told if (epoch := _epoch(data)) is not None), default=None)
        self.has_reports = any(not is_from_output(data) for data in told)

    def write(self, data: dict[str, Any], *, durable: bool = True) -> bool:
        """Append one epoch and make it durable; return whether it is on disk.

        Args:
            data: The epoch.
            durable: False to leave the moment to the system: the log can tell it again.

        Raises:
            ValueError: It holds what JSON cannot say.
        """
        epoch = _epoch(data)
        if epoch is not None and self._last_epoch is not None and epoch <= self._last_epoch and not self._cut(epoch):
            return False
        line = json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"
        if append_lines(self._handle, line, self._end) < len(line):
            return False
        if durable:
            os.fdatasync(self._handle)
        self._end += len(line)
        self._last_epoch = epoch if epoch is not None else self._last_epoch
        self.newest = data
        return True

    def drop_output(self) -> bool:
        """Take out what was read from the job's output; return whether nothing of it is left."""
        return self._keep(lambda data: not is_from_output(data))

    def _cut(self, epoch: int) -> bool:
        """Take out an epoch and all later ones."""
        return self._keep(lambda data: (number := _epoch(data)) is None or number < epoch)

    def _keep(self, is_kept: Callable[[Any], bool]) -> bool:
        """Replace the file by those of its lines that are to be kept."""
        kept = b"".join(line for data, line in self._lines() if is_kept(data))
        temporary = f"{self._path}.{os.getpid()}.tmp"
        try:
            with open(temporary, "wb") as stream:
                stream.write(kept)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, self._path)
        except OSError:
            if os.path.exists(temporary):
                os.unlink(temporary)
            return False
        os.close(self._handle)
        self._open()
        return True

    def _lines(self) -> list[tuple[Any, bytes]]:
        with open(self._path, "rb") as stream:
            lines = stream.read().splitlines(keepends=True)
        return [(_parsed(line), line) for line in lines if line.endswith(b"\n")]


def is_from_output(data: Any) -> bool:
    """Whether a line's figures were read from what the job printed."""
    return isinstance(data, dict) and data.get("source") == OUTPUT


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _epoch(data: Any) -> int | None:
    epoch = data.get("epoch") if isinstance(data, dict) else None
    return epoch if isinstance(epoch, int) and not isinstance(epoch, bool) else None
