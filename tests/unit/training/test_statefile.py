"""State files: whole, checked, a few of them."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parallel_ml.training.statefile import StateFolder, UnusableState, read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Iterator

ARRAYS = {"model/0": np.arange(6, dtype=np.float32).reshape(2, 3), "optimizer/0": np.array(7), "none": np.empty((0, 2))}


@contextlib.contextmanager
def files_of(limit: int) -> Iterator[None]:
    """Limit the size of every file that this process writes for as long as the block runs: like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Arrays of any shape keep their bits, and JSON values come with them, nan included."""
    write_state(tmp_path / "state.npz", ARRAYS, {"epoch": 3, "loss": float("nan")})
    arrays, meta = read_state(tmp_path / "state.npz")
    assert {name: array.tolist() for name, array in arrays.items()} == {k: v.tolist() for k, v in ARRAYS.items()}
    assert meta["epoch"] == 3
    assert np.isnan(meta["loss"])


def test_no_flipped_byte_is_believed(tmp_path: Path) -> None:
    """Each byte of the file in turn: the state is refused, or the byte did not belong to its content."""
    path = tmp_path / "state.npz"
    write_state(path, {"model/0": ARRAYS["model/0"]}, {"epoch": 3})
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x41]) + whole[position + 1 :])
        try:
            arrays, meta = read_state(path)
        except UnusableState:
            refused += 1
        else:
            assert arrays["model/0"].tobytes() == ARRAYS["model/0"].tobytes()
            assert meta == {"epoch": 3}
    assert refused > len(whole) / 2


def test_no_part_of_a_file_is_believed(tmp_path: Path) -> None:
    """Cut short at any byte it is refused."""
    path = tmp_path / "state.npz"
    write_state(path, {"model/0": ARRAYS["model/0"]}, {})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UnusableState, match="damaged"):
            read_state(path)


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    """Newest first, and the numbers go on where there is a gap."""
    states = StateFolder(tmp_path, keep=2)
    for epoch in range(4):
        states.save(ARRAYS, {"epoch": epoch})
    assert [path.name for path in states.newest_first()] == ["state-000004.npz", "state-000003.npz"]
    assert states.peek()["epoch"] == 3


def test_one_that_is_put_aside_is_not_looked_at_again(tmp_path: Path) -> None:
    """It is kept for whoever wants to know what happened."""
    states = StateFolder(tmp_path, keep=2)
    bad = states.save(ARRAYS, {"epoch": 1})
    bad.write_bytes(b"no zip")
    assert states.peek() == {}
    assert states.put_aside(bad).name == "state-000001.npz.bad"
    assert states.newest_first() == []
    assert [path.name for path in tmp_path.iterdir()] == ["state-000001.npz.bad"]


def test_a_full_disk_leaves_the_newest_and_nothing_half_written(tmp_path: Path) -> None:
    """Older ones make room; the newest stays whatever happens."""
    states = StateFolder(tmp_path, keep=3)
    for epoch in range(3):
        states.save(ARRAYS, {"epoch": epoch})
    with files_of(100), pytest.raises(OSError, match=r"too large: '.*/state-000004\.npz'"):
        states.save(ARRAYS, {"epoch": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["state-000003.npz"]


def test_states_make_no_room_on_another_disk(tmp_path: Path) -> None:
    """There it would be no help; on their own one of them goes, until the newest is left."""
    states = StateFolder(tmp_path, keep=3)
    for epoch in range(2):
        states.save(ARRAYS, {"epoch": epoch})
    assert not states.make_room(Path("/proc/best.keras"))
    assert [states.make_room(tmp_path / "best.keras") for _ in range(2)] == [True, False]
    assert [path.name for path in tmp_path.iterdir()] == ["state-000002.npz"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Its temporary files, and nothing else."""
    states = StateFolder(tmp_path, keep=3)
    kept = states.save(ARRAYS, {})
    (tmp_path / ".state-000002.77.tmp.npz").write_bytes(b"half")
    states.remove_leftovers()
    assert list(tmp_path.iterdir()) == [kept]
