"""Whether the file of a saved model is whole."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parallel_ml.training.modelfile import damage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write_zip(path: Path) -> None:
    """Write what Keras's own format is: a zip with uncompressed parts."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(range(256)) * 40)


def write_hdf5(path: Path) -> None:
    """Write what the older format is."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_group("layer")["kernel"] = np.arange(3000.0)


FORMATS = pytest.mark.parametrize(("name", "write"), [("best.keras", write_zip), ("best.h5", write_hdf5)])


@FORMATS
def test_a_whole_file_has_no_damage(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    """Either format."""
    write(tmp_path / name)
    assert damage(tmp_path / name) is None


@FORMATS
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_short_is_damaged(
    tmp_path: Path, name: str, write: Callable[[Path], None], share: float
) -> None:
    """Wherever it ends."""
    path = tmp_path / name
    write(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert str(damage(path)).startswith("is damaged (")


def test_the_part_that_is_damaged_is_named(tmp_path: Path) -> None:
    """One wrong byte in the weights."""
    path = tmp_path / "best.keras"
    write_zip(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert damage(path) == "is damaged (its part model.weights.h5)"


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """That is told apart from a damaged one."""
    assert damage(tmp_path / "best.h5") == "is not there"
