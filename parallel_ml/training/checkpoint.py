"""What a training leaves on disk: the best model, and the full last state to go on from. Each is there whole or not.

The full state is all variables of the model (those of its random generators too, which no file format of Keras has),
all of the optimizer, and what the callbacks know. With it a training that went on gives the same bits as one that never
stopped.
"""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATE_FILE = "last_state.npz"
_VERSION = 1


@dataclass
class Progress:
    """How far a training is, and what its callbacks know; JSON values only.

    Attributes:
        epoch: Epochs that are done.
        finished: `success` or `early_stopped` once no epoch is left, else None.
        accumulation: Batches that made one update.
        history: Each figure's value, one an epoch.
        watchers: The states of the best model, of early stopping and of the schedule.
    """

    epoch: int = 0
    finished: str | None = None
    accumulation: int = 1
    history: list[dict[str, float]] = field(default_factory=list)
    watchers: dict[str, Any] = field(default_factory=dict)


class UnusableState(Exception):
    """A state file is damaged, or belongs to another training; the text says which."""


def save_model(model: Any, path: Path) -> None:
    """Write a model to `path` whole, in place of what was there; the suffix chooses Keras's format."""
    with _replacing(path) as temporary:
        model.save(temporary)


def save_state(folder: Path, model: Any, progress: Progress) -> None:
    """Write the full state into `folder`, in place of the one before."""
    arrays: dict[str, Any] = {f"model/{number}": np.asarray(value) for number, value in enumerate(model.variables)}
    arrays |= {f"optimizer/{number}": np.asarray(value) for number, value in enumerate(_kept(model.optimizer))}
    meta = json.dumps({"version": _VERSION, **vars(progress)}).encode()
    with _replacing(folder / STATE_FILE) as temporary:
        arrays["meta"] = np.frombuffer(meta, dtype=np.uint8)
        np.savez(temporary, allow_pickle=False, **arrays)


def load_state(folder: Path, model: Any) -> Progress | None:
    """Put the saved state, if there is one, into a model whose optimizer is built; return how far it was.

    Raises:
        UnusableState: It is damaged or of another model. The model is as it was before.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        # Reading a member to its end also checks its CRC.
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop("meta").tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UnusableState(f"{path} is damaged: {error}") from error
    if meta.pop("version", None) != _VERSION:
        raise UnusableState(f"{path} was written by another version")
    progress = Progress(**meta)
    wanted = [("model", list(model.variables)), ("optimizer", _kept(model.optimizer))]
    if {name: value.shape for name, value in arrays.items()} != {
        f"{part}/{number}": tuple(variable.shape)
        for part, variables in wanted
        for number, variable in enumerate(variables)
    }:
        raise UnusableState(f"{path} is of another model or optimizer")
    for part, variables in wanted:
        for number, variable in enumerate(variables):
            variable.assign(arrays[f"{part}/{number}"])
    return progress


def rescale_iterations(optimizer: Any, before: int, now: int) -> None:
    """Keep the number of updates that an optimizer counts, where `now` batches make one instead of `before`.

    Keras counts batches and divides.
    """
    for variable in optimizer.variables:
        if variable.name == "iteration" and before != now:
            variable.assign(variable // before * now)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that a killed process left beside `path`."""
    for leftover in path.parent.glob(f".{path.stem}.*.tmp{path.suffix}"):
        leftover.unlink(missing_ok=True)


def _kept(optimizer: Any) -> list[Any]:
    """Return the optimizer's variables but its gradient accumulators, which are empty after each epoch.

    Without them a state also fits where another number of batches makes one update.
    """
    return [variable for variable in optimizer.variables if not variable.name.endswith("gradient_accumulator")]


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path; at the end it is on the disk and takes the place of `path`, or is gone after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
