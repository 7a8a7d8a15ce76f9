"""The event log: torn tails, order, durability on errors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from parallel_ml.core.events import JobQueued, RunCreated
from parallel_ml.core.model import JobSpec, RunState
from parallel_ml.core.state import fold
from parallel_ml.errors import StoreError
from parallel_ml.store.journal import Journal, read_records

CREATED = RunCreated("r", "", (JobSpec(0, "a", "a.yaml", "command", 1),))


def written(path: Path, count: int) -> None:
    """Write a log of `count` events."""
    journal = Journal(path)
    journal.append(journal.number([CREATED, *[JobQueued("a", f"number {n}") for n in range(1, count)]], 1.0))
    journal.close()


def test_a_log_cut_at_any_byte_loses_only_the_event_that_was_cut(tmp_path: Path) -> None:
    """A power loss in the middle of a write tears at most the last line; writing goes on after it."""
    path = tmp_path / "events.jsonl"
    written(path, 3)
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        journal = Journal(path)
        journal.append(journal.number([JobQueued("a", "after")], 2.0))
        journal.close()
        records, end = read_records(path)
        assert [record.seq for record in records] == list(range(1, kept + 2))
        assert end == path.stat().st_size


def test_a_reader_takes_nothing_after_the_last_newline(tmp_path: Path) -> None:
    """What is being written is not there yet."""
    path = tmp_path / "events.jsonl"
    written(path, 2)
    end = path.stat().st_size
    with path.open("ab") as stream:
        stream.write(b'{"v":1,"seq":3')
    assert read_records(path)[1] == end
    assert len(read_records(path)[0]) == 2


def test_reading_goes_on_from_an_offset(tmp_path: Path) -> None:
    """A view need not read all again."""
    path = tmp_path / "events.jsonl"
    written(path, 2)
    _, offset = read_records(path)
    journal = Journal(path)
    journal.append(journal.number([JobQueued("a", "new")], 2.0))
    journal.close()
    assert [record.seq for record in read_records(path, offset)[0]] == [3]


def test_a_damaged_line_in_the_middle_is_an_error_that_says_where(tmp_path: Path) -> None:
    """Events are never guessed over a hole."""
    path = tmp_path / "events.jsonl"
    written(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"garbage\n" + lines[2])
    with pytest.raises(StoreError, match=r"events\.jsonl:2: this line is no event.*parallel-ml clean"):
        Journal(path)


def test_the_line_that_is_damaged_is_counted_from_the_beginning(tmp_path: Path) -> None:
    """Also where only the end is read."""
    path = tmp_path / "events.jsonl"
    written(path, 3)
    _, offset = read_records(path)
    with path.open("ab") as stream:
        stream.write(b"{garbage}\n")
    with pytest.raises(StoreError, match=r"events\.jsonl:4: this line is no event"):
        read_records(path, offset)


def test_an_event_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    """An old program does not half understand a new log."""
    path = tmp_path / "events.jsonl"
    path.write_text(json.dumps({"v": 99, "seq": 1, "ts": 1, "type": "RunCreated", "data": {}}) + "\n")
    with pytest.raises(StoreError, match="newer than this program"):
        read_records(path)


def test_a_failed_append_leaves_the_log_as_it_was_and_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle of a write: the torn part is cut, the second try is whole."""
    path = tmp_path / "events.jsonl"
    written(path, 1)
    journal = Journal(path)
    records = journal.number([JobQueued("a", "x" * 100)], 2.0)
    real_write, calls = os.write, []

    def half(handle: int, data: bytes) -> int:
        calls.append(1)
        if len(calls) == 1:
            return real_write(handle, bytes(data)[:20])
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StoreError, match="No space left on device"):
        journal.append(records)
    monkeypatch.undo()
    assert path.read_bytes() == before
    journal.append(records)
    journal.close()
    state = RunState()
    for record in read_records(path)[0]:
        fold(state, record)
    assert state.seq == 2


def test_who_opens_a_log_is_given_what_is_in_there_but_for_half_a_decision(tmp_path: Path) -> None:
    """The state is made of it in the same pass; events that belong together count together or not at all."""
    path = tmp_path / "events.jsonl"
    written(path, 2)
    journal = Journal(path)
    first, _ = journal.number([JobQueued("a", "this"), JobQueued("a", "and that")], 2.0, together=True)
    journal.append([first])
    journal.close()
    taken: list[int] = []
    journal = Journal(path, lambda record: taken.append(record.seq))
    assert (taken, journal.seq, journal.end) == ([1, 2], 2, path.stat().st_size)
    journal.close()
