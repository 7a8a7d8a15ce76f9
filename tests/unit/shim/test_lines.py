"""From a pipe's bytes to log lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.runtime.shim.lines import MAX_LINE_BYTES, LineSplitter
from parallel_ml.runtime.shim.log import LogWriter


def messages(*chunks: bytes) -> list[str]:
    """Return the lines of a stream that comes in chunks."""
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return [text for text, _ in lines + splitter.finish()]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"no newline", ["no newline"]),
        (b"\n\n", ["", ""]),
        (b"windows\r\n", ["windows"]),
        (b"10%\r20%\r100%\n", ["100%"]),
        (b"10%\r20%\r", ["20%"]),
        (b"\xff\xfe bad\n", ["\ufffd\ufffd bad"]),
        ("训练\n".encode(), ["训练"]),
        (b"", []),
    ],
)
def test_a_stream_becomes_lines(data: bytes, expected: list[str]) -> None:
    """However it is cut into chunks."""
    for size in (1, 2, 7, 1000):
        assert messages(*[data[start : start + size] for start in range(0, len(data), size)]) == expected


@given(st.lists(st.binary(max_size=20)))
def test_no_line_is_lost_or_doubled(chunks: list[bytes]) -> None:
    """There are as many lines as newlines, and one for a rest that shows something."""
    data = b"".join(chunks)
    rest = data.rpartition(b"\n")[2]
    assert len(messages(*chunks)) in {data.count(b"\n") + bool(rest), data.count(b"\n") + bool(rest.strip(b"\r"))}


def test_a_progress_bar_that_never_ends_its_line_needs_no_memory() -> None:
    """Only the last picture is kept."""
    splitter = LineSplitter()
    for _ in range(1000):
        assert splitter.feed(b"#" * 1000 + b"\r") == []
    assert len(splitter._rest) <= 2002


def test_a_huge_line_comes_in_marked_pieces() -> None:
    """Nothing of it is lost."""
    splitter = LineSplitter()
    pieces = splitter.feed(b"x" * (2 * MAX_LINE_BYTES + 5)) + splitter.feed(b"\n")
    assert [(len(text), partial) for text, partial in pieces] == [
        (MAX_LINE_BYTES, True),
        (MAX_LINE_BYTES, True),
        (5, False),
    ]


def test_a_log_ends_whole_after_a_torn_write_and_counts_what_a_full_disk_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The torn tail is cut, and a line says how many are missing."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"message": "old"}\n{"messa')
    log = LogWriter(str(path), 0, 7)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        log.write("stdout", [("lost 1", False), ("lost 2", False)])
        log.write("stdout", [("lost 3", False)])
    log.write("stdout", [("kept", False)])
    lines = [json.loads(line)["message"] for line in path.read_text().splitlines()]
    assert lines == ["old", "3 lines were lost: the disk was full", "kept"]


@pytest.mark.parametrize("text", ["训练" * 100, "é" * 300, "🙂" * 90, "a" + "训" * 99])
def test_a_long_line_is_never_cut_within_a_character(text: str) -> None:
    """Its pieces together are the line."""
    for longest in range(50, 60):
        splitter = LineSplitter(longest)
        pieces = splitter.feed(text.encode()) + splitter.feed(b" end\n")
        assert "".join(piece for piece, _ in pieces) == text + " end"
        assert [partial for _, partial in pieces] == [True] * (len(pieces) - 1) + [False]
        assert all(len(piece.encode()) <= longest for piece, _ in pieces)
