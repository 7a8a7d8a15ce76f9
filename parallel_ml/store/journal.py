"""The event log `events.jsonl`: appended by one writer, fsynced, healed when it is opened, read by anybody."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from parallel_ml.core.events import Event, Record, record_from_json, record_to_json
from parallel_ml.errors import StoreError
from parallel_ml.store.files import ODD_CHARACTERS, open_stream, store_errors

NEWLINE = b"\n"
_MORE = b',"more":true}'
"""How a line ends that counts only together with the next one."""


class Journal:
    """The writer of an event log. Only the holder of the run's lock may have one."""

    def __init__(self, path: Path, take: Callable[[Record], object] = bool) -> None:
        """Open the log for appending and cut what a torn write left after the last whole record.

        Args:
            path: The log.
            take: Called with each record that is in there, the first one first.

        Raises:
            StoreError: The log cannot be opened or is damaged before its end.
        """
        self.path = path
        with store_errors(path, "opening"):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.seq = self._end = 0
        for record, end in _whole_records(path, 0):
            take(record)
            self.seq, self._end = record.seq, end
        with store_errors(path, "healing"):
            if os.fstat(self._handle).st_size > self._end:
                os.ftruncate(self._handle, self._end)
                os.fsync(self._handle)

    def number(self, events: Iterable[Event], ts: float, *, together: bool = False) -> list[Record]:
        """Return the records of `events` with the next numbers; nothing is written yet.

        Args:
            events: They follow each other.
            ts: When.
            together: Whether they count together or not at all.
        """
        events = list(events)
        first = self.seq + 1
        self.seq += len(events)
        last, ts = self.seq, round(ts, 6)  # as it is written: the cache must be what the log adds up to
        return [Record(seq, ts, event, more=together and seq < last) for seq, event in enumerate(events, first)]

    def append(self, records: Iterable[Record]) -> None:
        """Write records and make them durable, with one fsync.

        Raises:
            StoreError: They could not be written; the log ends where it ended before, and they may be appended again.
        """
        data = b"".join(_line(record) for record in records)
        if not data:
            return
        with store_errors(self.path, "writing"):
            try:
                _write_all(self._handle, data)
                os.fsync(self._handle)
            except OSError:
                os.ftruncate(self._handle, self._end)
                raise
        self._end += len(data)

    @property
    def end(self) -> int:
        """The log's length in bytes."""
        return self._end

    def close(self) -> None:
        """Close the file; what was appended is on disk."""
        os.close(self._handle)


def read_records(path: Path, offset: int = 0) -> tuple[list[Record], int]:
    """Return the records from byte `offset` on, and the offset after the last one.

    What stands after the last newline is no record yet, and events that belong together count when the last is there.

    Raises:
        StoreError: The file cannot be read, or a line before the last newline is no event.
    """
    records: list[Record] = []
    end = offset if path.exists() else 0
    for record, after in _whole_records(path, offset):
        records.append(record)
        end = after
    return records, end


def read_records_of(path: Path, offset: int, jobs: Iterable[str]) -> tuple[list[Record], int]:
    """Return the records about some jobs, as `read_records` does; lines about others are passed over unread.

    Raises:
        StoreError: The file cannot be read, or one of their lines is no event.
    """
    marks = [f'"job":{json.dumps(job, ensure_ascii=False)}'.encode("utf-8", ODD_CHARACTERS) for job in jobs]
    try:
        with open_stream(path) as stream:
            stream.seek(offset)
            lines = stream.read().split(NEWLINE)[:-1]
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise StoreError(path, "reading", error.strerror or str(error)) from error
    while lines and lines[-1].endswith(_MORE):
        lines.pop()
    found = [_record(line, path, offset, n) for n, line in enumerate(lines, 1) if any(mark in line for mark in marks)]
    return found, offset + sum(map(len, lines)) + len(lines)


def _whole_records(path: Path, offset: int) -> Iterator[tuple[Record, int]]:
    """Yield the records from byte `offset` on, each with the offset after those that it belongs together with."""
    position, count = offset, 0
    together: list[Record] = []
    try:
        with open_stream(path) as stream:
            stream.seek(offset)
            for line in stream:
                if not line.endswith(NEWLINE):
                    return
                position, count = position + len(line), count + 1
                together.append(_record(line, path, offset, count))
                if not together[-1].more:
                    yield from ((record, position) for record in together)
                    together.clear()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(path, "reading", error.strerror or str(error)) from error


def _record(line: bytes, path: Path, offset: int, number: int) -> Record:
    try:
        return record_from_json(json.loads(line))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damage(path, offset, number, error) from error


def _damage(path: Path, offset: int, number: int, error: Exception) -> StoreError:
    """Return what to say of a line, number so many from an offset on, that is no event."""
    with open_stream(path) as stream:
        place = f"{path}:{stream.read(offset).count(NEWLINE) + number}"
    if type(error) is ValueError:  # of a newer version
        return StoreError(place, "reading", str(error))
    saved = f"what its jobs wrote is in {path.parent / 'jobs'}"
    removed = f"parallel-ml clean {path.parent.name} removes the run"
    return StoreError(place, "reading", f"this line is no event, the file is damaged; {saved}; {removed}")


def _line(record: Record) -> bytes:
    return (
        json.dumps(record_to_json(record), ensure_ascii=False, separators=(",", ":")).encode("utf-8", ODD_CHARACTERS)
        + b"\n"
    )


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
