"""From the bytes of a pipe to the lines of `log.jsonl`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timezone
from json.encoder import encode_basestring as _quoted

MAX_LINE_BYTES = 1 << 20
"""A longer line is written in pieces of this size, each but the last marked `"partial": true`."""


class LineSplitter:
    """Cuts a stream of bytes into lines; what follows the last newline waits for its rest.

    A carriage return within a line starts it again, as on a terminal: of a progress bar only the last picture stays.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[str, bool]]:
        """Return the lines that `data` completes, each with whether it is a piece that goes on."""
        body, newline, rest = (self._rest + data).rpartition(b"\n")
        if newline and b"\r" not in body and len(body) <= MAX_LINE_BYTES:  # nearly always; many times quicker
            lines = [(text, False) for text in _text(body).split("\n")]
        else:
            lines = [piece for line in body.split(b"\n") for piece in _pieces(line)] if newline else []
        if b"\r" in rest[:-1]:
            rest = rest[rest.rindex(b"\r", 0, len(rest) - 1) + 1 :]
        while len(rest) > MAX_LINE_BYTES:
            lines.append((_text(rest[:MAX_LINE_BYTES]), True))
            rest = rest[MAX_LINE_BYTES:]
        self._rest = rest
        return lines

    def finish(self) -> list[tuple[str, bool]]:
        """Return what is left without a newline at the end of the stream."""
        rest, self._rest = self._rest, b""
        return _pieces(rest) if rest else []


def _pieces(line: bytes) -> list[tuple[str, bool]]:
    line = line.rstrip(b"\r")
    line = line[line.rfind(b"\r") + 1 :]
    cut = [line[start : start + MAX_LINE_BYTES] for start in range(0, len(line), MAX_LINE_BYTES)] or [b""]
    return [(_text(piece), True) for piece in cut[:-1]] + [(_text(cut[-1]), False)]


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


class LogWriter:
    """The one writer of a job's `log.jsonl`. A disk that is full loses lines and says how many; it stops nothing."""

    def __init__(self, path: str, process_id: int, pid: int) -> None:
        """Open the log for appending and end a line that an earlier writer tore."""
        self.pid = pid
        self._process_id = process_id
        self._lost = 0
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._end = cut_torn_tail(self._handle)

    def write(self, kind: str, lines: Iterable[tuple[str, bool]]) -> None:
        """Append lines of one kind: `stdout`, `stderr` or `system`."""
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        head = f'{{"timestamp": "{now}", "process_id": {self._process_id}, "pid": {self.pid}, "message": '
        ends = (f', "type": "{kind}"}}\n', f', "type": "{kind}", "partial": true}}\n')
        records = [f"{head}{_quoted(message)}{ends[partial]}" for message, partial in lines]
        if not records:
            return
        count = len(records)
        if self._lost:
            note = _quoted(f"{self._lost} lines were lost: the disk was full")
            records.insert(0, f'{head}{note}, "type": "system"}}\n')
        if self._append("".join(records).encode("utf-8", errors="backslashreplace")):
            self._lost = 0
        else:
            self._lost += count

    def say(self, message: str) -> None:
        """Append one line of the shim's own."""
        self.write("system", [(message, False)])

    def _append(self, data: bytes) -> bool:
        if append_or_cut(self._handle, data, self._end):
            self._end += len(data)
            return True
        return False


def append_or_cut(handle: int, data: bytes, end: int) -> bool:
    """Append all of `data` to a file that is `end` bytes long, or nothing; say which."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(handle, view) :]
    except OSError:
        os.ftruncate(handle, end)
        return False
    return True


def cut_torn_tail(handle: int) -> int:
    """Cut what stands after the last newline of an open file; return its length."""
    end = os.fstat(handle).st_size
    position = end
    while position > 0:
        start = max(0, position - 65536)
        found = os.pread(handle, position - start, start).rfind(b"\n")
        if found >= 0:
            position = start + found + 1
            break
        position = start
    if position < end:
        os.ftruncate(handle, position)
    return position
