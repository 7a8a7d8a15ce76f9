"""The lock of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_ml.store.files import is_locked
from parallel_ml.store.lock import Lock


def test_only_one_holds_it(tmp_path: Path) -> None:
    """A second holder is refused, even one of the same process, once its patience is over."""
    Lock(tmp_path / "lock", 0.0).acquire()
    first = Lock(tmp_path / "other", 0.0)
    first.acquire()
    with pytest.raises(BlockingIOError):
        Lock(tmp_path / "other", 0.0).acquire()
    assert is_locked(tmp_path / "other")


def test_what_was_released_can_be_taken(tmp_path: Path) -> None:
    """After a release another one gets it; to release it twice does no harm."""
    first, second = Lock(tmp_path / "lock", 0.0), Lock(tmp_path / "lock", 0.0)
    first.acquire()
    first.release()
    first.release()
    assert not is_locked(tmp_path / "lock")
    second.acquire()
    assert is_locked(tmp_path / "lock")
    second.release()


def test_a_refused_holder_keeps_no_file_open(tmp_path: Path) -> None:
    """A refusal leaves nothing behind that a long-lived process would run out of."""
    holder = Lock(tmp_path / "lock", 0.0)
    holder.acquire()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BlockingIOError):
        Lock(tmp_path / "lock", 0.0).acquire()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    holder.release()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """What cannot be locked for another reason is no lock that somebody holds."""
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "gone" / "lock", 0.0).acquire()
