"""The event log `events.jsonl`: appended by one writer, fsynced, healed when it is opened, read by anybody."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from parallel_ml.core.events import Event, Record, record_from_json, record_to_json
from parallel_ml.errors import StoreError
from parallel_ml.store.files import ODD_CHARACTERS, store_errors

NEWLINE = b"\n"


class Journal:
    """The writer of an event log. Only the holder of the run's lock may have one."""

    def __init__(self, path: Path) -> None:
        """Open the log for appending and cut what a torn write left after the last whole record.

        Raises:
            StoreError: The log cannot be opened or is damaged before its end.
        """
        self.path = path
        with store_errors(path, "opening"):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        records, self._end = read_records(path)
        with store_errors(path, "healing"):
            if os.fstat(self._handle).st_size > self._end:
                os.ftruncate(self._handle, self._end)
                os.fsync(self._handle)
        self.seq = records[-1].seq if records else 0

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
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise StoreError(path, "reading", error.strerror or str(error)) from error
    records: list[Record] = []
    position = whole = end = 0
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        try:
            records.append(record_from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damage(path, offset, len(records) + 1, error) from error
        position += len(line)
        if not records[-1].more:
            whole, end = len(records), position
    return records[:whole], offset + end


def _damage(path: Path, offset: int, number: int, error: Exception) -> StoreError:
    """Return what to say of a line, number so many from an offset on, that is no event."""
    with path.open("rb") as stream:
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
