"""ProcessMonitor: callbacks, history, files that are replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallel_ml.monitor.follow import FileFollower, Growth, parse_line
from parallel_ml.monitor.history import build_history
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent, ProcessMonitor


@pytest.fixture
def job_dir(tmp_path: Path) -> Path:
    """Return the folder of job `a`."""
    folder = tmp_path / "jobs" / "a"
    folder.mkdir(parents=True)
    return folder


def lines(*records: dict[str, object]) -> str:
    """Return JSON lines."""
    return "".join(json.dumps(record) + "\n" for record in records)


def test_epochs_and_log_lines_call_back_once_each(tmp_path: Path, job_dir: Path) -> None:
    """Also when a line comes in two parts."""
    monitor, seen = ProcessMonitor(tmp_path), list[MonitorEvent]()
    monitor.subscribe(seen.append)
    monitor.watch("a")
    (job_dir / "metrics.jsonl").write_text(lines({"epoch": 1}) + '{"epoch"')
    (job_dir / "log.jsonl").write_text(lines({"message": "hello", "type": "stdout"}))
    monitor.poll()
    with (job_dir / "metrics.jsonl").open("a") as stream:
        stream.write(": 2}\n")
    monitor.poll()
    assert [(event.kind.value, event.job, dict(event.data)) for event in seen] == [
        ("epoch", "a", {"epoch": 1}),
        ("log", "a", {"message": "hello", "type": "stdout"}),
        ("epoch", "a", {"epoch": 2}),
    ]


def test_after_a_resume_only_what_is_new_is_told_and_the_history_has_each_epoch_once(
    tmp_path: Path, job_dir: Path
) -> None:
    """The file was replaced: epoch 2 was trained again with another loss."""
    monitor, seen = ProcessMonitor(tmp_path, keep_history=True), []
    monitor.subscribe(lambda event: seen.append((event.data["epoch"], event.data["train_loss"])), "epoch")
    monitor.watch("a")
    (job_dir / "metrics.jsonl").write_text(lines({"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.4}))
    monitor.poll()
    fresh = job_dir / "new"
    fresh.write_text(lines({"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.3}))
    fresh.replace(job_dir / "metrics.jsonl")
    monitor.unwatch("a")
    assert seen == [(1, 0.5), (2, 0.4), (2, 0.3)]
    assert json.loads((job_dir / "history.json").read_text()) == {"epochs": [1, 2], "train_loss": [0.5, 0.3]}


def test_a_job_that_is_watched_again_is_not_told_from_the_beginning(tmp_path: Path, job_dir: Path) -> None:
    """A retry goes on where the attempt before it ended."""
    monitor, seen = ProcessMonitor(tmp_path), []
    monitor.subscribe(lambda event: seen.append(event.data["epoch"]), EventKind.EPOCH)
    for epoch in (1, 2):
        monitor.watch("a")
        with (job_dir / "metrics.jsonl").open("a") as stream:
            stream.write(lines({"epoch": epoch}))
        monitor.unwatch("a")
    assert seen == [1, 2]


def test_a_callback_that_raises_is_dropped_and_the_others_are_told(tmp_path: Path) -> None:
    """Watching never hurts what is watched."""
    monitor, notes = ProcessMonitor(tmp_path), []

    def broken(_event: MonitorEvent) -> None:
        message = "no"
        raise ValueError(message)

    monitor.subscribe(broken, "epoch")
    monitor.subscribe(lambda event: notes.append(event.data["text"]), "note")
    for _ in range(2):
        monitor.emit(MonitorEvent(EventKind.EPOCH, "a", {"epoch": 1}))
    assert notes == ["a callback failed and is called no more: ValueError: no"]


def test_metrics_that_come_later_are_none_before(tmp_path: Path) -> None:
    """Every series is as long as the epochs."""
    assert build_history([{"epoch": 1, "loss": 2}, {"epoch": 2, "acc": 1, "nonfinite": {"loss": "nan"}}]) == {
        "epochs": [1, 2],
        "loss": [2, None],
        "acc": [None, 1],
    }


def test_another_file_of_the_same_number_is_read_from_its_beginning(tmp_path: Path) -> None:
    """The system gives the number of a removed file to the next one; so what stands before the place is looked at."""
    path = tmp_path / "x"
    path.write_bytes(b"one\ntwo\n")
    follower = FileFollower(path)
    follower.poll()
    path.write_bytes(b"one\nnot two\nthree\n")  # the same inode
    growth = follower.poll()
    assert (growth.lines, growth.restarted) == ((b"one", b"not two", b"three"), True)
    with path.open("ab") as stream:
        stream.write(b"four\n")
    assert follower.poll() == Growth((b"four",))
    assert follower.poll() == Growth()


def test_a_line_nested_without_end_is_no_record() -> None:
    """As a program may print it."""
    assert parse_line(b"[" * 100_000) is None


def test_a_file_that_cannot_be_read_is_told_once(tmp_path: Path, job_dir: Path) -> None:
    """Not at each look."""
    (job_dir / "metrics.jsonl").mkdir()
    monitor, seen = ProcessMonitor(tmp_path), list[str]()
    monitor.subscribe(lambda event: seen.append(event.data["text"]), "note")
    monitor.watch("a")
    for _ in range(5):
        monitor.poll()
    assert len(seen) == 1
    assert "metrics.jsonl" in seen[0]


def test_a_file_that_shrinks_is_read_from_its_beginning(tmp_path: Path) -> None:
    """And that is said."""
    path = tmp_path / "x"
    path.write_bytes(b"one\ntwo\n")
    follower = FileFollower(path)
    assert follower.poll().lines == (b"one", b"two")
    path.write_bytes(b"new\n")
    growth = follower.poll()
    assert (growth.lines, growth.restarted) == ((b"new",), True)


@pytest.mark.parametrize("again", ["more", "anew"])
def test_a_job_that_is_followed_again_goes_on_where_it_was_left(tmp_path: Path, job_dir: Path, again: str) -> None:
    """Nothing of its metrics was kept meanwhile: of thousands of jobs they would fill the memory."""
    monitor, seen = ProcessMonitor(tmp_path, keep_history=True), []
    monitor.subscribe(lambda event: seen.append(event.data["epoch"]), "epoch")
    metrics = job_dir / "metrics.jsonl"
    metrics.write_text(lines({"epoch": 1}, {"epoch": 2}))
    monitor.watch("a")
    monitor.unwatch("a")
    assert (monitor._watched, monitor._settled) == ({}, {})
    monitor.watch("a")
    if again == "more":
        with metrics.open("a") as stream:
            stream.write(lines({"epoch": 3}))
    else:
        (job_dir / "new").write_text(lines({"epoch": 1}, {"epoch": 2, "loss": 0.5}))
        (job_dir / "new").replace(metrics)
    monitor.unwatch("a")
    assert seen == {"more": [1, 2, 3], "anew": [1, 2, 2]}[again]
    assert json.loads((job_dir / "history.json").read_text())["epochs"] == ([1, 2, 3] if again == "more" else [1, 2])
