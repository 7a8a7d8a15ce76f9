"""Where messages wait that belong to no run: the outboxes of `TrainingMonitor`, and how `notify flush` finds them.

A monitor keeps a folder for each training in `.outbox` beside its reports. Which such folders there are, and where the
settings of their channels are (never what they are), is remembered in the user's state folder, a file for each.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.errors import StoreError
from parallel_ml.notify.outbox import waiting
from parallel_ml.store.files import make_dir, read_json, write_json
from parallel_ml.store.state_folder import state_folder

OUTBOX = ".outbox"
_VERSION = 1


@dataclass(frozen=True)
class Left:
    """A folder that holds an outbox for each training.

    Attributes:
        folder: The folder.
        cwd: Where the monitor was started: paths of its settings, and `notifier_config.yaml`, are looked for there.
        file: The notification file that was named, or None.
    """

    folder: Path
    cwd: Path
    file: str | None = None

    @property
    def sources(self) -> dict[str, Any]:
        """Where its settings are, as `run.json` says it of a run."""
        return {"file": self.file, "configs": []}

    def outboxes(self) -> list[Path]:
        """Return the outboxes in which something waits, oldest first."""
        with contextlib.suppress(OSError):
            return [path for path in sorted(self.folder.iterdir()) if path.is_dir() and _holds_something(path)]
        return []

    def remember(self, environ: Mapping[str, str]) -> None:
        """Let `notify flush` find it. That is a convenience: a home that cannot be written is let be."""
        path = _note_of(self.folder, environ)
        told = {"v": _VERSION, "folder": str(self.folder), "cwd": str(self.cwd), "file": self.file}
        with contextlib.suppress(StoreError):
            if read_json(path) != told:
                make_dir(path.parent, 0o700)
                write_json(path, told, 0o600)

    def forget_if_empty(self, environ: Mapping[str, str]) -> None:
        """Remove the folder and what is remembered of it, unless something is in it."""
        with contextlib.suppress(OSError):
            _note_of(self.folder, environ).unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            self.remember(environ)  # another monitor's messages came meanwhile


def remembered(environ: Mapping[str, str]) -> list[Left]:
    """Return the folders that are remembered and still there."""
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(_notes(environ).glob("*.json")):
            left = _read(path)
            if left is not None and left.folder.is_dir():
                found.append(left)
            elif left is None or left.folder.parent.parent.is_dir():  # else its disk may not be mounted now
                path.unlink(missing_ok=True)
    return found


def left_at(path: Path, environ: Mapping[str, str]) -> Left | None:
    """Return the folder of outboxes that a user means by a path: it, or that in a folder of reports; or None."""
    for folder in (path.absolute(), (path / OUTBOX).absolute()):
        if folder.name == OUTBOX and folder.is_dir():
            known = _read(_note_of(folder, environ))
            return known or Left(folder, Path.cwd())
    return None


def _holds_something(folder: Path) -> bool:
    with contextlib.suppress(StoreError):
        return bool(waiting(folder))
    return False


def _notes(environ: Mapping[str, str]) -> Path:
    return state_folder(environ) / "outboxes"


def _note_of(folder: Path, environ: Mapping[str, str]) -> Path:
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:20]
    return _notes(environ) / f"{name}.json"


def _read(path: Path) -> Left | None:
    """Return what a note says; None where it says nothing that can be used."""
    with contextlib.suppress(StoreError, ValueError, KeyError, TypeError):
        told = read_json(path)
        if told["v"] == _VERSION:
            file = told["file"]
            return Left(Path(told["folder"]), Path(told["cwd"]), None if file is None else str(file))
    return None
