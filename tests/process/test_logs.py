"""What jobs print: all of it, in order, whatever they print and however they end.

The order within stdout, and within stderr, is kept. Across the two, lines stand in the order in which the shim read
them: right for what is written at different moments, open for what is written within the same few milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.runtime.client import RunClient
from parallel_ml.runtime.local import _BOOT
from parallel_ml.runtime.log_reader import LogReader
from parallel_ml.store.files import read_json
from parallel_ml.store.layout import RunLayout
from tests.process.conftest import leftovers, survivors, until
from tests.process.test_runtime import in_background, is_running, layout_of

pytestmark = pytest.mark.process
Write = Callable[..., Path]
Make = Callable[..., ParallelMLExecutor]
Log = Callable[..., list[dict[str, Any]]]
PYTHON = sys.executable
FLOOD = """
import os, sys
head = sys.argv[2]
count, piece = int(sys.argv[1]), 5000
for first in range(0, count, piece):
    data = "".join(f"{head} {number}\\n" for number in range(first, min(first + piece, count))).encode()
    while data:
        data = data[os.write(int(sys.argv[3]), data):]
"""


def records(layout: RunLayout, job: str = "a") -> list[dict[str, Any]]:
    """Return a job's log, the older file first."""
    files = layout.job(job)
    lines = [line for path in (files.older_log, files.log) if path.exists() for line in path.read_bytes().splitlines()]
    return [json.loads(line) for line in lines]


def size_of_log(layout: RunLayout) -> int:
    """Return what a job's log takes on the disk; the files may be moved in this moment."""
    size = 0
    for path in (layout.job("a").older_log, layout.job("a").log):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def said(found: list[dict[str, Any]], kind: str = "stdout") -> list[str]:
    """Return the lines of one stream."""
    return [record["message"] for record in found if record["type"] == kind]


def numbers_in(reader: LogReader) -> list[int]:
    """Return the numbers at the end of the job's lines that came."""
    return [int(text.split()[1]) for text in said([record for _, record in reader.poll()])]


@pytest.fixture
def log_of(write: Write, executor: Make) -> Log:
    """Return a function that runs a program to its end and returns its log."""

    def run(program: str, **more: object) -> list[dict[str, Any]]:
        made = executor(write("a", [PYTHON, "-c", program], **more))
        (result,) = made.run_parallel()
        assert result.state == "completed", result.error
        return records(layout_of(made))

    return run


def test_a_line_that_comes_in_parts_is_one_line(log_of: Log) -> None:
    """Also when a character of UTF-8 is cut in the middle."""
    program = """
import os, time
for part in (b"one ", b"li\\xe4", b"\\xb8\\xad", b"ne\\ntwo", b""):
    os.write(1, part)
    time.sleep(0.02)
"""
    assert said(log_of(program)) == ["one li中ne", "two"]


def test_a_line_of_five_megabytes_is_kept_whole_in_marked_pieces(log_of: Log) -> None:
    """Its pieces follow one another, each but the last marked."""
    found = log_of("import sys; sys.stdout.write('训' * 1_700_000 + '\\nnext\\n')")
    pieces = [record for record in found if record["type"] == "stdout"]
    assert "".join(record["message"] for record in pieces[:-1]) == "训" * 1_700_000
    assert [record.get("partial", False) for record in pieces] == [True] * (len(pieces) - 2) + [False, False]


def test_bytes_that_are_no_text_are_replaced_and_nothing_else_is(log_of: Log) -> None:
    """NUL bytes, broken UTF-8, and no newline at the end."""
    found = log_of(r"import os; os.write(1, b'a\x00b\n\xff\xfe bad\n\xed\xa0\x80\nend')")
    assert said(found) == ["a\0b", "\ufffd\ufffd bad", "\ufffd" * 3, "end"]


def test_a_progress_bar_is_its_last_picture(log_of: Log) -> None:
    """Carriage returns redraw it, as tqdm does; Windows line ends are no bar."""
    program = r"""
import sys, time
for epoch in (1, 2):
    for step in range(0, 101, 5):
        sys.stderr.write(f"\repoch {epoch}: {step:3}%|{'#' * (step // 10):10}|")
        sys.stderr.flush()
    sys.stderr.write("\n")
sys.stderr.write("done\r\n")
"""
    assert said(log_of(program), "stderr") == [
        "epoch 1: 100%|##########|",
        "epoch 2: 100%|##########|",
        "done",
    ]


def test_both_streams_keep_their_order_and_moments_apart_are_in_order_across(log_of: Log) -> None:
    """What is promised: see above."""
    program = """
import os, time
for number in range(2000):
    os.write(1 + number % 2, f"{number}\\n".encode())
for number in range(5):
    time.sleep(0.05)
    os.write(1 + number % 2, f"slow {number}\\n".encode())
"""
    found = log_of(program)
    for kind, first in (("stdout", 0), ("stderr", 1)):
        assert [int(text) for text in said(found, kind) if text.isdigit()] == list(range(first, 2000, 2))
    slow = [record["message"] for record in found if record["message"].startswith("slow")]
    assert slow == [f"slow {number}" for number in range(5)]


def test_a_hundred_thousand_lines_are_all_there_in_order(log_of: Log) -> None:
    """As fast as the job can write them."""
    assert said(log_of(f"import sys; sys.argv = ['', '100000', 'x', '1']\n{FLOOD}")) == [
        f"x {number}" for number in range(100_000)
    ]


@pytest.mark.slow
def test_a_million_lines_on_each_stream_are_all_there_in_order(log_of: Log) -> None:
    """From two processes at once."""
    program = f"""
import subprocess, sys
flood = {FLOOD!r}
made = [subprocess.Popen([sys.executable, "-c", flood, "1000000", "y", name]) for name in "12"]
sys.exit(max(one.wait() for one in made))
"""
    found = log_of(program)
    for kind in ("stdout", "stderr"):
        assert said(found, kind) == [f"y {number}" for number in range(1_000_000)]


def test_a_job_that_closes_its_output_goes_on(log_of: Log, tmp_path: Path) -> None:
    """What it prints elsewhere is read on, and its end is its own."""
    program = f"""
import os
print("before", flush=True)
os.close(1)
os.write(2, b"still here\\n")
open({str(tmp_path / "done")!r}, "w").close()
os._exit(0)
"""
    found = log_of(program)
    assert (said(found), said(found, "stderr")) == (["before"], ["still here"])
    assert (tmp_path / "done").exists()


def test_a_job_that_floods_both_pipes_can_be_stopped(write: Write, executor: Make) -> None:
    """Each stream is there up to some line, with no hole; nothing hangs and nothing is left."""
    program = f"""
import subprocess, sys
flood = {FLOOD!r}
made = [subprocess.Popen([sys.executable, "-c", flood, "1000000000", "z", name]) for name in "12"]
made[0].wait()
"""
    run = executor(write("a", [PYTHON, "-c", program], log={"max_size": "8MiB"}))
    thread = in_background(run)
    layout = layout_of(run)
    until(is_running(run, "a"), "the job")
    until(lambda: layout.job("a").log.exists() and layout.job("a").log.stat().st_size > 1 << 20, "a flood")
    run.stop_execution()
    thread.join()
    assert run.results()[0].state == "stopped"
    assert survivors(layout) == []
    found = records(layout)
    streams = [[int(text.split()[1]) for text in said(found, kind)[:-1]] for kind in ("stdout", "stderr")]
    assert any(streams), "the last line of each may be cut by the kill, and one stream may have been rotated away"
    for numbers in filter(None, streams):
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_child_that_keeps_the_pipe_open_holds_up_nothing(write: Write, executor: Make, tmp_path: Path) -> None:
    """It is ended, in a session of its own or not; what it had printed is in the log, its unfinished line too."""
    ready = tmp_path / "ready"
    child = (
        f"import os, time; os.setsid(); os.write(1, b'child\\nunfinished'); os.mkdir({str(ready)!r}); time.sleep(99)"
    )
    program = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {child!r}])
while not os.path.exists({str(ready)!r}): time.sleep(0.01)
"""
    run = executor(write("a", [PYTHON, "-c", program]))
    (result,) = run.run_parallel()
    assert result.state == "completed"
    assert said(records(layout_of(run))) == ["child", "unfinished"]
    assert survivors(layout_of(run)) == []


@pytest.mark.parametrize("count", [60_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_reader_follows_a_flood_through_rotations(write: Write, executor: Make, count: int) -> None:
    """Nothing is doubled or out of order, and what is missing was rotated away before it was read."""
    program = f"import sys; sys.argv = ['', '{count}', 'x', '1']\n{FLOOD}"
    run = executor(write("a", [PYTHON, "-c", program], log={"max_size": "1MiB"}))
    thread = in_background(run)
    layout = layout_of(run)
    reader = RunClient(layout.dir).follow_logs(["a"])
    followed: list[dict[str, Any]] = []
    while thread.is_alive():
        followed += [record for _, record in reader.poll()]
        assert size_of_log(layout) <= 1 << 20
    while more := reader.poll():
        followed += [record for _, record in more]
    numbers = [int(text.split()[1]) for text in said(followed)]
    assert numbers == sorted(set(numbers))
    left = records(layout)
    kept = [int(text.split()[1]) for text in said(left)]
    assert kept == list(range(count - len(kept), count))
    assert numbers[-len(kept) :] == kept
    dropped = [record["dropped"] for record in left if "dropped" in record][-1]
    assert dropped == count + 1 - len(kept)  # one more: the shim's own first line
    assert leftovers(layout) == []


def test_a_reader_that_keeps_up_loses_no_line_to_rotations(write: Write, executor: Make, tmp_path: Path) -> None:
    """The job goes on when its last thousand lines were read, and half of the cap holds more than these."""
    program = f"""
import os, time
for number in range(10000):
    print("x" * 200, number)
    while number % 1000 == 999 and not os.path.exists({str(tmp_path)!r} + f"/read {{number}}"): time.sleep(0.005)
"""
    run = executor(write("a", [PYTHON, "-c", program], log={"max_size": "1MiB"}))
    thread = in_background(run)
    reader = RunClient(layout_of(run).dir).follow_logs()
    numbers: list[int] = []

    def came(last: int) -> bool:
        numbers.extend(numbers_in(reader))
        return numbers[-1:] == [last]

    for last in range(999, 10_000, 1000):
        until(partial(came, last), f"line {last}")
        (tmp_path / f"read {last}").touch()
    thread.join()
    assert numbers + numbers_in(reader) == list(range(10_000))
    assert layout_of(run).job("a").older_log.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_takes_lines_and_they_are_counted(tmp_path: Path) -> None:
    """The job goes on; every line is in the log or in a count."""
    disk, folder = tmp_path / "disk", tmp_path / "attempt-01"
    for path in (disk, folder):
        path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    filler = disk / "filler"
    program = f"""
import os, sys, time
sys.argv = ['', '6000', 'x', '1']
{FLOOD}
while os.path.exists({str(filler)!r}): time.sleep(0.01)
print("x 6000", flush=True)
"""
    files = {"cwd": str(tmp_path), "grace_s": 1, "log": str(disk / "log.jsonl"), "metrics": str(tmp_path / "m")}
    plan = {"token": "t" + os.urandom(8).hex(), "process_id": 0, "attempt": 1, "argv": [PYTHON, "-c", program]}
    (folder / "start.json").write_text(json.dumps({**plan, **files}))
    read, wake = os.pipe()
    try:
        filler.write_bytes(b"\0" * 500_000)
        with subprocess.Popen([PYTHON, "-IS", "-c", _BOOT, str(folder), str(wake)], pass_fds=[wake]) as shim:
            log = disk / "log.jsonl"
            until(lambda: log.exists() and os.statvfs(disk).f_bavail == 0, "a full disk")
            filler.unlink()
            assert shim.wait() == 0
        found = [json.loads(line) for line in log.read_bytes().splitlines()]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
        os.close(read)
        os.close(wake)
    lost = sum(int(text.split()[0]) for text in said(found, "system") if "lines were lost" in text)
    numbers = [int(text.split()[1]) for text in said(found)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + lost == 6_001
    assert (lost > 0, read_json(folder / "exit.json")["code"]) == (True, 0)


def test_escapes_never_reach_the_terminal(write: Write, executor: Make) -> None:
    """`logs` shows the words; a colour, a title, a bell or a C1 control is not obeyed. The log itself keeps them."""
    nasty = r"\x1b[31mred\x1b[0m \x1b]0;title\x07 bell\x07 \x9b2Jclear \x1b[2J\x1b[H \u202eevil \x1bc reset"
    run = executor(write("a", [PYTHON, "-c", f"print('{nasty}'); print('plain')"]))
    run.run_parallel()
    master, terminal = os.openpty()
    argv = [PYTHON, "-m", "parallel_ml", "logs", str(layout_of(run).dir)]
    done = subprocess.run(argv, stdout=terminal, stderr=terminal, check=True, env={**os.environ, "TERM": "xterm"})
    os.close(terminal)
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:  # how a terminal without its other end reads
            break
    os.close(master)
    text = shown.decode()
    assert done.returncode == 0
    assert "red" in text
    assert "clear" in text
    assert "plain" in text
    assert not [char for char in text if not char.isprintable() and char not in "\r\n\ufffd"]
    assert "\x1b[31mred" in said(records(layout_of(run)))[0]


@pytest.mark.slow
def test_a_bar_is_seen_before_its_line_ends(log_of: Log) -> None:
    """A picture of it comes some seconds after the last line; the line itself is as it would be without."""
    program = """
import sys, time
for step in range(24):
    sys.stderr.write(f"\\r{step}/24")
    sys.stderr.flush()
    time.sleep(0.5)
sys.stderr.write("\\n")
"""
    found = [record for record in log_of(program) if record["type"] == "stderr"]
    assert [record.get("progress", False) for record in found] == [True, False]
    assert found[-1]["message"] == "23/24"
