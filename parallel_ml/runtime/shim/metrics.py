"""The one writer of a job's `metrics.jsonl`: one line an epoch, each epoch once."""

from __future__ import annotations

import json
import os
from typing import Any

from parallel_ml.runtime.shim.lines import append_or_cut, cut_torn_tail


class MetricsWriter:
    """Appends epochs. One that is reported again (after a resume) replaces itself and all later ones.

    Attributes:
        newest: The last that this attempt reported, or None.
    """

    def __init__(self, path: str) -> None:
        """Open the file, which earlier attempts may have written to."""
        self._path = path
        self.newest: dict[str, Any] | None = None
        self._open()

    def _open(self) -> None:
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._end = cut_torn_tail(self._handle)
        self._last_epoch = max((epoch for epoch, _ in self._lines() if epoch is not None), default=None)

    def write(self, data: dict[str, Any]) -> bool:
        """Append one epoch and make it durable; return whether it is on disk.

        Raises:
            ValueError: It holds what JSON cannot say.
        """
        epoch = _epoch(data)
        if epoch is not None and self._last_epoch is not None and epoch <= self._last_epoch and not self._cut(epoch):
            return False
        line = json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"
        if not append_or_cut(self._handle, line, self._end):
            return False
        os.fdatasync(self._handle)
        self._end += len(line)
        self._last_epoch = epoch if epoch is not None else self._last_epoch
        self.newest = data
        return True

    def _cut(self, epoch: int) -> bool:
        """Replace the file by its lines before `epoch`."""
        kept = b"".join(line for number, line in self._lines() if number is None or number < epoch)
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

    def _lines(self) -> list[tuple[int | None, bytes]]:
        with open(self._path, "rb") as stream:
            lines = stream.read().splitlines(keepends=True)
        return [(_epoch_of_line(line), line) for line in lines if line.endswith(b"\n")]


def _epoch_of_line(line: bytes) -> int | None:
    try:
        return _epoch(json.loads(line))
    except ValueError:
        return None


def _epoch(data: Any) -> int | None:
    epoch = data.get("epoch") if isinstance(data, dict) else None
    return epoch if isinstance(epoch, int) and not isinstance(epoch, bool) else None
