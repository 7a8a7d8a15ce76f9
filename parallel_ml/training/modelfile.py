"""Whether the file of a saved model is whole."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HDF5 = b"\x89HDF\r\n\x1a\n"
_END_AT = {0: 40, 1: 44}
"""Where the head tells the end of the file, by its version; later ones are alike."""


def damage(path: Path) -> str | None:
    """Return what is wrong with a model's file, in words that follow its name; None where nothing is seen to be."""
    if not path.exists():
        return "is not there"
    try:
        if path.suffix == ".keras":
            _check_zip(path)
        else:
            _check_hdf5(path)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - what zipfile and HDF5 make of damaged bytes is not to be foreseen
        return f"is damaged ({' '.join(str(error).split()) or type(error).__name__})"
    return None


def _check_zip(path: Path) -> None:
    """Read all parts once; each has a CRC."""
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad is not None:
        raise zipfile.BadZipFile(f"its part {bad}")


def _check_hdf5(path: Path) -> None:
    """Compare the length with the one that the head of the file tells; the format has no checksum of its arrays."""
    with path.open("rb") as file:
        head = file.read(64)
    if len(head) < 64 or not head.startswith(_HDF5):
        raise ValueError("it is no HDF5 file")
    at = _END_AT.get(head[8], 28)
    told = int.from_bytes(head[at : at + 8], "little")
    if path.stat().st_size < told:
        raise ValueError(f"it should have {told:,} bytes and has {path.stat().st_size:,}")
