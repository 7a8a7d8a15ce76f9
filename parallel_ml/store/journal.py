"""The event log `events.jsonl`: appended by one writer, fsynced, healed when it is opened, read by anybody."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from parallel_ml.core.events import Event, Record, record_from_json, record_to_json
from parallel_ml.errors import StoreError
from parallel_ml.store.files import ODD_CHARACTERS, store_errors


class Journal:
    """The writer of an event log. Only the holder of the run's lock may have one."""

    def __init__(self, path: Path) -> None:
        """Open the log for appending and cut what a torn write left after the last newline.

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

    def number(self, events: Iterable[Event], ts: float) -> list[Record]:
        """Return the records of `events` with the next numbers; nothing is written yet."""
        records = []
        for event in events:
            self.seq += 1
            records.append(Record(self.seq, ts, event))
        return records

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
    """Return the records from byte `offset` on, and the offset after the last whole line.

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
    end = data.rfind(b"\n") + 1
    records = []
    for line in data[:end].splitlines():
        try:
            records.append(record_from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            what = f"event after number {records[-1].seq if records else 0} cannot be read: {error}"
            raise StoreError(path, "reading", what) from error
    return records, offset + end


def _line(record: Record) -> bytes:
    return (
        json.dumps(record_to_json(record), ensure_ascii=False, separators=(",", ":")).encode("utf-8", ODD_CHARACTERS)
        + b"\n"
    )


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
