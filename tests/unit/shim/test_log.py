"""The job's log: whole lines only, a cap by rotation, and readers that follow."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from parallel_ml.monitor.follow import LogFollower
from parallel_ml.runtime.shim.lines import LineSplitter
from parallel_ml.runtime.shim.log import PICTURE_EVERY_S, LogWriter

CAP = 1 << 20


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    """Return where the log is, and where it goes when it is full."""
    return tmp_path / "log.jsonl", tmp_path / "log.1.jsonl"


def writer(paths: tuple[Path, Path], max_bytes: int | None = CAP) -> LogWriter:
    """Return a writer with a cap."""
    return LogWriter(str(paths[0]), 0, 7, older=str(paths[1]), max_bytes=max_bytes)


def numbered(first: int, count: int) -> list[tuple[str, bool]]:
    """Return lines that say which one they are."""
    return [(f"line {number}", False) for number in range(first, first + count)]


def records(*paths: Path) -> list[dict[str, object]]:
    """Return the lines of files that are there."""
    lines = [line for path in paths if path.exists() for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def size(paths: tuple[Path, Path]) -> int:
    """Return what the log takes on the disk."""
    return sum(path.stat().st_size for path in paths if path.exists())


def test_a_log_with_a_cap_stays_below_it_and_says_what_was_dropped(paths: tuple[Path, Path]) -> None:
    """The newest lines stay, in order, and the number of the lost ones is right."""
    log = writer(paths)
    for first in range(0, 30_000, 700):
        log.write("stdout", numbered(first, min(700, 30_000 - first)))
        assert size(paths) <= CAP
    found = records(paths[1], paths[0])
    kept = [record["message"] for record in found if record["type"] == "stdout"]
    assert kept == [f"line {number}" for number in range(30_000 - len(kept), 30_000)]
    note = records(paths[0])[0]
    assert note["message"] == f"the log is full: {30_000 - len(kept)} lines at its beginning were dropped by now"
    assert note["dropped"] == 30_000 - len(kept)


def test_a_log_without_a_cap_is_one_file(paths: tuple[Path, Path]) -> None:
    """Nothing is dropped unless somebody asked for it."""
    log = writer(paths, None)
    log.write("stdout", numbered(0, 20_000))
    assert len(records(paths[0])) == 20_000
    assert not paths[1].exists()


def test_the_next_attempt_goes_on_counting(paths: tuple[Path, Path]) -> None:
    """What was dropped stands in the log itself."""
    for first in (0, 10_000, 20_000):
        writer(paths).write("stdout", numbered(first, 10_000))
    found = records(paths[1], paths[0])
    kept = [record for record in found if record["type"] == "stdout"]
    assert [record["dropped"] for record in found if "dropped" in record][-1] == 30_000 - len(kept)


def test_one_append_that_is_larger_than_the_cap_is_cut_at_lines(paths: tuple[Path, Path]) -> None:
    """256 KiB of newlines are many MiB of log."""
    log = writer(paths)
    log.write("stdout", [("", False)] * 100_000)
    assert size(paths) <= CAP
    assert {record["message"] for record in records(paths[1], paths[0]) if record["type"] == "stdout"} == {""}


def test_even_the_worst_line_fits(paths: tuple[Path, Path]) -> None:
    """JSON makes six bytes of a NUL."""
    log = writer(paths)
    for _ in range(20):
        log.write("stdout", [("\0" * log.longest_line, True)])
        assert size(paths) <= CAP


def test_a_line_that_is_longer_than_a_file_does_not_hang_the_writer(paths: tuple[Path, Path]) -> None:
    """It is written whole."""
    log = writer(paths)
    log.write("stdout", [("x" * CAP, False), ("next", False)])
    assert [record["message"] for record in records(paths[1], paths[0])][-1] == "next"


def test_what_was_written_before_the_disk_was_full_stays(
    paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader may have seen it; only the line that was torn goes."""
    log, write = writer(paths, None), os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) < 200:
            raise OSError(28, "full")
        return write(handle, data[:-150])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.write("stdout", numbered(0, 10))
    kept = len(records(paths[0]))
    assert 0 < kept < 10
    log.write("stdout", [("again", False)])
    told = [record["message"] for record in records(paths[0])]
    assert told[kept:] == [f"{10 - kept} lines were lost: the disk was full", "again"]


@pytest.mark.parametrize("seed", range(5))
def test_a_reader_that_keeps_up_sees_every_line_once(paths: tuple[Path, Path], seed: int) -> None:
    """However the files are moved between its looks."""
    chance, log, follower = random.Random(seed), writer(paths), LogFollower(*paths)  # noqa: S311 - not a secret
    seen: list[str] = []
    written = 0
    while written < 20_000:
        for count in (chance.randrange(1, 2_200), chance.randrange(1, 2_200)):  # together less than one file
            log.write("stdout", numbered(written, count))
            written += count
        for _ in range(chance.randrange(1, 3)):
            seen += [record["message"] for line in follower.poll() if (record := json.loads(line))["type"] == "stdout"]
    assert seen == [f"line {number}" for number in range(written)]


def test_a_reader_that_is_left_behind_begins_with_what_there_is(paths: tuple[Path, Path]) -> None:
    """It loses what was rotated away and no more, also where inodes are used again."""
    log, follower = writer(paths), LogFollower(*paths)
    log.write("stdout", numbered(0, 100))
    first = follower.poll()
    log.write("stdout", numbered(100, 30_000))
    missed = follower.poll()
    assert len(first) == 100
    note, *found = [json.loads(line) for line in missed]
    assert found == [record for record in records(paths[1], paths[0]) if "dropped" not in record]
    assert note["dropped"] == 30_100 - len(found)
    assert follower.poll() == ()


def test_a_reader_that_missed_nothing_is_told_of_nothing_dropped(paths: tuple[Path, Path]) -> None:
    """The notes at the heads of the files are for those who come later."""
    log, follower = writer(paths), LogFollower(*paths)
    seen: list[dict[str, object]] = []
    for first in range(0, 30_000, 1_000):
        log.write("stdout", numbered(first, 1_000))
        seen += [json.loads(line) for line in follower.poll()]
    assert len(seen) == 30_000
    assert not any("dropped" in record for record in seen)


def test_a_small_piece_of_a_log_is_read_at_a_time(paths: tuple[Path, Path]) -> None:
    """The rest comes with the next looks, each line once; the note of what was dropped stands at the head alone."""
    writer(paths).write("stdout", numbered(0, 30_000))
    follower = LogFollower(*paths)
    pieces = []
    while piece := follower.poll(50_000):
        pieces.append(piece)
    note, *found = [json.loads(line) for piece in pieces for line in piece]
    assert (len(pieces) > 5, follower.caught_up, note["dropped"]) == (True, True, 30_000 - len(found))
    assert [record["message"] for record in found] == [f"line {number}" for number in range(note["dropped"], 30_000)]


def test_the_pieces_of_a_long_line_are_dropped_as_one_line(paths: tuple[Path, Path]) -> None:
    """What a progress bar looked like is none."""
    log, splitter = writer(paths), LineSplitter()
    now = log._told_at["stderr"] = -PICTURE_EVERY_S
    for number in range(4_000):
        log.write("stdout", [("x" * 200, True)] * 5 + [(f"line {number}", False)])
        splitter.feed(b"\r%d%%" % number)
        log._told_at["stderr"] = now
        log.show("stderr", splitter)
    found = records(paths[1], paths[0])
    whole = [record for record in found if not {"partial", "progress", "dropped"} & set(record)]
    assert any("progress" in record for record in found)
    assert records(paths[0])[0]["dropped"] == 4_000 - len(whole)


def test_a_picture_of_a_bar_is_written_now_and_then(paths: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Long after the stream's last line, once for each picture, and marked; the line itself comes when it ends."""
    now = 100.0
    monkeypatch.setattr("parallel_ml.runtime.shim.log.time.monotonic", lambda: now)
    log, splitter = writer(paths, None), LineSplitter()
    log.write("stderr", splitter.feed(b"begin\n"))
    for data in (b"\r10%", b"\r20%", b"", b"\r30%", b"\r\x1b[K100%\n"):
        now += PICTURE_EVERY_S * 0.75
        log.write("stderr", splitter.feed(data))
        log.show("stderr", splitter)
    told = [(record["message"], record.get("progress", False)) for record in records(paths[0])]
    assert told == [("begin", False), ("20%", True), ("30%", True), ("\x1b[K100%", False)]


def test_a_line_that_is_not_drawn_again_is_no_picture(paths: tuple[Path, Path]) -> None:
    """It comes when it is whole."""
    log, splitter = writer(paths, None), LineSplitter()
    splitter.feed(b"10%\rdone\nhalf a line")
    log._told_at["stdout"] = -PICTURE_EVERY_S
    log.show("stdout", splitter)
    assert paths[0].read_bytes() == b""
