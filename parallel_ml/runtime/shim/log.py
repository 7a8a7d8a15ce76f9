"""The one writer of a job's `log.jsonl`, and appending so that a full disk tears no line."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from json.encoder import encode_basestring as _quoted

from parallel_ml.runtime.shim.lines import MAX_LINE_BYTES, LineSplitter

PICTURE_EVERY_S = 10.0
"""What a progress bar looks like is written this long after its stream's last line, and as long after one another."""
_MAX_SAID = 4096
_BLOCK = 1 << 20
_DROPPED = b', "dropped": '
_NO_LINES = (b', "partial": true}\n', b', "progress": true}\n')
"""How records end that are not the end of a line."""
_LONGEST_END = max(map(len, _NO_LINES))


class LogWriter:
    """Appends lines. A disk that is full loses lines and says how many; it stops nothing.

    A log with a cap is two files: one that is full becomes the older one, in place of what was there, and a new one is
    begun by a line that says how many lines the job's log has lost so far by that.
    """

    def __init__(
        self, path: str, process_id: int, pid: int, *, older: str | None = None, max_bytes: int | None = None
    ) -> None:
        """Open the log for appending and end a line that an earlier writer tore.

        Args:
            path: The log.
            process_id: The configuration's position in the run.
            pid: The process that lines come from; set again when it is known.
            older: Where the log goes when it is full.
            max_bytes: The most that both files have together; None is no cap.
        """
        self.pid = pid
        self._process_id = process_id
        self._path, self._older = path, older or ""
        self._cap = max_bytes // 2 if max_bytes and older else None
        self._lost = 0
        self._told_at: dict[str, float] = {}
        self._shown: dict[str, str] = {}
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._end = cut_torn_tail(self._handle)
        self._dropped = _dropped_before(os.pread(self._handle, _MAX_SAID, 0))

    @property
    def longest_line(self) -> int:
        """The most bytes of a line that are written as one piece; as JSON they may be six times as many."""
        return MAX_LINE_BYTES if self._cap is None else min(MAX_LINE_BYTES, self._cap // 8)

    def write(self, kind: str, lines: Iterable[tuple[str, bool]]) -> None:
        """Append lines of one kind: `stdout`, `stderr` or `system`."""
        head = self._head()
        ends = (f', "type": "{kind}"}}\n', f', "type": "{kind}", "partial": true}}\n')
        records = [f"{head}{_quoted(message)}{ends[partial]}" for message, partial in lines]
        if not records:
            return
        self._told_at[kind] = time.monotonic()
        if self._lost and not self._append(self._system(f"{self._lost} lines were lost: the disk was full")):
            self._lost = 0
        self._lost += self._append("".join(records).encode("utf-8", errors="backslashreplace"))

    def say(self, message: str) -> None:
        """Append one line of the shim's own."""
        self.write("system", [(message[:_MAX_SAID], False)])

    def show(self, kind: str, splitter: LineSplitter) -> None:
        """Append, now and then, what a line looks like that a stream draws again and again; it is not a line yet."""
        now = time.monotonic()
        if now - self._told_at.setdefault(kind, now) < PICTURE_EVERY_S:
            return
        picture = splitter.picture[:_MAX_SAID]
        if picture.strip() and picture != self._shown.get(kind):
            self._told_at[kind], self._shown[kind] = now, picture
            record = f'{self._head()}{_quoted(picture)}, "type": "{kind}", "progress": true}}\n'
            self._append(record.encode("utf-8", errors="backslashreplace"))

    def _head(self) -> str:
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
        return f'{{"timestamp": "{now}", "process_id": {self._process_id}, "pid": {self.pid}, "message": '

    def _system(self, message: str) -> bytes:
        return f'{self._head()}{_quoted(message)}, "type": "system"}}\n'.encode()

    def _append(self, data: bytes) -> int:
        """Append whole lines; return how many of them could not be written."""
        lost, begun = 0, False
        while self._cap is not None and self._end + len(data) > self._cap:
            fits = data.rfind(b"\n", 0, max(0, self._cap - self._end)) + 1
            if begun and not fits:  # longer than a whole file
                break
            lost += self._put(data[:fits])
            data = data[fits:]
            if not self._rotate():
                return lost + data.count(b"\n")
            begun = True
        return lost + self._put(data)

    def _put(self, data: bytes) -> int:
        kept = append_lines(self._handle, data, self._end)
        self._end += kept
        return data.count(b"\n", kept)

    def _rotate(self) -> bool:
        """Begin a new file; return False where none can be made.

        It is made before the full one is moved, and moving that frees the room of the oldest, also on a full disk.
        """
        temporary = f"{self._path}.{os.getpid()}.tmp"
        try:
            dropped = self._dropped + _count_lines(self._older)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o644)
        except OSError:
            return False
        try:
            os.replace(self._path, self._older)
            os.replace(temporary, self._path)
        except OSError:
            os.close(handle)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return False
        os.close(self._handle)
        self._handle, self._end, self._dropped = handle, 0, dropped
        if dropped:
            note = self._system(f"the log is full: {dropped} lines at its beginning were dropped by now")
            self._put(note[: -len(b"}\n")] + _DROPPED + f"{dropped}}}\n".encode())
        return True


def append_lines(handle: int, data: bytes, end: int) -> int:
    """Append lines to a file that is `end` bytes long; return how many bytes of whole lines are on the disk now.

    What was written of the first line that had no room is cut off; readers may have seen those before it.
    """
    view, written = memoryview(data), 0
    try:
        while written < len(data):
            written += os.write(handle, view[written:])
    except OSError:
        kept = data.rfind(b"\n", 0, written) + 1
        os.ftruncate(handle, end + kept)
        return kept
    return written


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


def _count_lines(path: str) -> int:
    """Return how many lines end in a file of a log, without the one that tells what was dropped; 0 where there is none.

    Pieces of a line count as the one that they are, and what a progress bar looked like as none.
    """
    try:
        with open(path, "rb", buffering=0) as stream:
            block = stream.read(_BLOCK)
            count = -1 if _DROPPED in block.partition(b"\n")[0] else 0
            while block:
                count += block.count(b"\n") - sum(map(block.count, _NO_LINES))
                # An ending may be torn between two blocks: its bytes stand before the next one, without its newline.
                more = stream.read(_BLOCK)
                tail = block[-_LONGEST_END:].rpartition(b"\n")[2]
                block = tail + more if more else b""
    except FileNotFoundError:
        return 0
    return count


def _dropped_before(beginning: bytes) -> int:
    """Return how many lines a log has lost by rotation, as its first line tells."""
    try:
        return int(json.loads(beginning.partition(b"\n")[0]).get("dropped", 0))
    except (ValueError, TypeError, AttributeError):
        return 0
