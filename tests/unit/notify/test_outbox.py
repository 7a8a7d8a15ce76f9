"""The outbox on disk: kills at any point, torn files, what is done, and who may read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from parallel_ml.errors import StoreError
from parallel_ml.notify import outbox as outbox_module
from parallel_ml.notify.message import Excerpt, Facts, Kind, Level, Links, Message, Table, Text
from parallel_ml.notify.outbox import Entry, Outbox, key_of, waiting
from parallel_ml.notify.wire import message_from_dict, message_to_dict
from tests.unit.notify.dispatching import note

FULL = Message(
    "id",
    Kind.FAILED,
    Level.CRITICAL,
    "标题 \udcff",
    (Text("a\nb"), Facts((("k", "v"),)), Table(("h",), (("c",),), 0), Excerpt("t", ("l",)), Links((("l", "u"),))),
    12.5,
    "run",
    "job",
    {"n": 1},
)


def added(outbox: Outbox, number: int = 1, channel: str = "robot") -> Entry:
    """Put a message into an outbox."""
    entry = outbox.new(channel, note(number), 100.0)
    outbox.put(entry)
    return entry


def test_a_message_comes_back_as_it_was() -> None:
    """Every block, and text that is no UTF-8, survives JSON."""
    assert message_from_dict(message_to_dict(FULL)) == FULL


def test_what_waits_survives_a_restart_in_order(tmp_path: Path) -> None:
    """All of an entry is on disk when `put` returns."""
    outbox = Outbox(tmp_path)
    entries = [added(outbox, number) for number in range(12)]
    entries[0].attempts, entries[0].not_before = 3, 250.0
    outbox.put(entries[0])
    outbox.close()
    again = Outbox(tmp_path)
    assert list(again.entries.values()) == entries
    again.close()


def test_what_is_done_is_gone_and_known(tmp_path: Path) -> None:
    """It leaves a line, no file, and is not taken again after a restart."""
    outbox = Outbox(tmp_path)
    entry = added(outbox)
    outbox.settle(entry, "sent", 200.0)
    outbox.close()
    again = Outbox(tmp_path)
    assert again.knows(entry.key)
    assert again.entries == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done.jsonl", "lock"]
    again.close()


def test_a_kill_after_the_record_sends_nothing_twice(tmp_path: Path) -> None:
    """The file that was not removed any more is removed by the next start."""
    outbox = Outbox(tmp_path)
    entry = added(outbox)
    file = tmp_path / f"{entry.key}.json"
    data = file.read_bytes()
    outbox.settle(entry, "sent", 200.0)
    outbox.close()
    file.write_bytes(data)
    assert waiting(tmp_path) == []
    again = Outbox(tmp_path)
    assert again.entries == {}
    assert not file.exists()
    again.close()


def test_a_kill_amid_a_merge_sends_nothing_twice(tmp_path: Path) -> None:
    """What is part of a digest that is on disk is no message any more."""
    outbox = Outbox(tmp_path)
    entries = [added(outbox, number) for number in range(3)]
    kept = {path: path.read_bytes() for path in tmp_path.glob("*.json")}
    summary = Message("digest", Kind.DIGEST, Level.INFO, "3")
    outbox.merge(outbox.new("robot", summary, 100.0, [entry.key for entry in entries]))
    outbox.close()
    for path, data in kept.items():
        path.write_bytes(data)
    assert [entry.message.id for entry in waiting(tmp_path)] == ["digest"]
    again = Outbox(tmp_path)
    assert [entry.message.id for entry in again.entries.values()] == ["digest"]
    assert all(again.knows(entry.key) for entry in entries)
    again.close()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"format": 9}', b'{"format": 1, "key": 3}', b"\xff\xfe"])
def test_a_file_that_is_no_entry_is_passed_over(tmp_path: Path, text: bytes) -> None:
    """The others are read all the same."""
    outbox = Outbox(tmp_path)
    entry = added(outbox)
    outbox.close()
    (tmp_path / "torn.json").write_bytes(text)
    (tmp_path / ".half.json.x.tmp").write_bytes(text)
    again = Outbox(tmp_path)
    assert list(again.entries) == [entry.key]
    assert not (tmp_path / ".half.json.x.tmp").exists()
    again.close()


def test_a_torn_line_of_what_is_done_costs_only_itself(tmp_path: Path) -> None:
    """Lines before it count, and those that come later are whole."""
    outbox = Outbox(tmp_path)
    first, second = added(outbox, 1), added(outbox, 2)
    outbox.settle(first, "sent", 200.0)
    outbox.close()
    with (tmp_path / "done.jsonl").open("ab") as stream:
        stream.write(b'{"keys": ["x')
    for _ in range(2):
        again = Outbox(tmp_path)
        assert again.knows(first.key)
        if second.key in again.entries:
            again.settle(again.entries[second.key], "sent", 300.0)
        again.close()
    assert waiting(tmp_path) == []


def test_what_is_done_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten at a start."""
    monkeypatch.setattr(outbox_module, "MOST_DONE", 10)
    outbox = Outbox(tmp_path)
    for number in range(30):
        outbox.settle(added(outbox, number), "sent", 200.0)
    outbox.close()
    Outbox(tmp_path).close()
    assert len((tmp_path / "done.jsonl").read_bytes().splitlines()) == 5


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """Messages hold what jobs print."""
    outbox = Outbox(tmp_path / "outbox")
    added(outbox)
    outbox.settle(added(outbox, 2), "sent", 1.0)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "outbox").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "outbox").stat().st_mode) & 0o077 == 0
    outbox.close()


def test_two_processes_never_send_the_same(tmp_path: Path) -> None:
    """The second one is refused, and `waiting` may look all the same."""
    outbox = Outbox(tmp_path)
    added(outbox)
    with pytest.raises(StoreError, match="another process sends its messages"):
        Outbox(tmp_path)
    assert len(waiting(tmp_path)) == 1
    outbox.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="file"):
        Outbox(tmp_path / "file" / "outbox")


def test_a_message_has_one_name_for_each_channel() -> None:
    """The same for the same, another for another, and fit for a file whatever the id holds."""
    assert key_of("a", "x/../y") == key_of("a", "x/../y")
    assert len({key_of("a", "b"), key_of("b", "a"), key_of("ab", ""), key_of("a", "\udcff")}) == 4
    assert os.sep not in key_of("a", "x/../y")
