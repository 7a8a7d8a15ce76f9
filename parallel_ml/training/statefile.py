"""One saved state as a file: arrays and JSON values in an .npz, with a sha256 over all of it.

The newest few states are kept, numbered; what is damaged is put aside, so that the one before can be used.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from parallel_ml.training.files import FULL, remove_leftovers, replacing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

VERSION = 2
_ONLY_STATE_OF_VERSION_1 = "last_state.npz"
_NUMBERED = re.compile(r"state-(\d+)\.npz")


class UnusableState(Exception):
    """A state file is damaged, or belongs to another training; the text says which."""


class StateFolder:
    """The state files of one training."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Keep the newest `keep` states in `folder`."""
        self._folder, self._keep = folder, max(1, keep)

    def newest_first(self) -> list[Path]:
        """Return the state files that are there."""
        numbered = sorted(self._numbered(), reverse=True)
        old = self._folder / _ONLY_STATE_OF_VERSION_1
        return [path for _, path in numbered] + ([old] if old.exists() else [])

    def save(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Path:
        """Write the next state; older ones than the newest few go, on a full disk all but the newest.

        Raises:
            OSError: It could not be written. The states before are as they were, but for those that made room.
        """
        number = max((number for number, _ in self._numbered()), default=0) + 1
        path = self._folder / f"state-{number:06}.npz"
        while True:
            try:
                write_state(path, arrays, meta)
                break
            except OSError as error:
                if error.errno not in FULL or not self.make_room(path):
                    raise
        for spare in self.newest_first()[self._keep :]:
            with suppress(OSError):  # one state too many hurts nobody
                spare.unlink()
        return path

    def make_room(self, path: Path) -> bool:
        """Remove the oldest state so that `path` finds room; return whether there was one that may go and helps.

        The newest never goes.
        """
        older = self.newest_first()[1:]
        if not older or self._folder.stat().st_dev != path.parent.stat().st_dev:
            return False
        older[-1].unlink()
        return True

    def put_aside(self, path: Path) -> Path:
        """Rename a file that is no use, so that it is not looked at again; return its new path."""
        aside = path.with_name(f"{path.name}.bad")
        with suppress(OSError):
            path.replace(aside)
        return aside

    def remove_leftovers(self) -> None:
        """Remove what a process left that was killed while it saved."""
        remove_leftovers(self._folder / "*state*.npz")

    def peek(self) -> dict[str, Any]:
        """Return the JSON values of the newest state that can be read, without its arrays; {} where there is none."""
        for path in self.newest_first():
            with suppress(Exception):  # it is said when the state is loaded
                return dict(json.loads(_members(path, {"meta"})["meta"].tobytes()))
        return {}

    def _numbered(self) -> list[tuple[int, Path]]:
        found = ((_NUMBERED.fullmatch(path.name), path) for path in self._folder.glob("state-*.npz"))
        return [(int(match[1]), path) for match, path in found if match]


def write_state(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write a state whole, or nothing."""
    members = {name: _storable(array) for name, array in arrays.items()}
    members["meta"] = np.frombuffer(json.dumps({"version": VERSION, **meta}).encode(), dtype=np.uint8)
    members["sha256"] = np.frombuffer(_digest(members), dtype=np.uint8)
    with replacing(path) as temporary:
        np.savez(temporary, **members)  # type: ignore[arg-type]


def read_state(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the JSON values of a state.

    Raises:
        UnusableState: It is damaged or of a version that is not known here.
    """
    try:
        members = _members(path)
        told = members.pop("sha256", None)
        meta = json.loads(members["meta"].tobytes())
        version = meta.pop("version", None)
    except MemoryError:
        raise
    except Exception as error:  # what numpy and zipfile make of damaged bytes is not to be foreseen
        raise UnusableState(f"it is damaged ({' '.join(str(error).split())})") from error
    if version not in {1, VERSION}:
        raise UnusableState(f"it was written by another version of this program ({version})")
    if version > 1 and (told is None or told.tobytes() != _digest(members)):
        raise UnusableState("it is damaged (its content does not match its sha256)")
    del members["meta"]
    return members, meta


def _members(path: Path, wanted: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz; each is checked by its CRC before anything believes its header."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        found = {}
        for name in archive.namelist():
            short = name.removesuffix(".npy")
            if wanted is None or short in wanted:
                found[short] = np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
        return found


def _digest(members: Mapping[str, np.ndarray]) -> bytes:
    digest = hashlib.sha256()
    for name, array in sorted(members.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _storable(array: np.ndarray) -> np.ndarray:
    """Return the bits of a kind of number that numpy itself does not have, bfloat16 say, as whole numbers."""
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "V" else array
