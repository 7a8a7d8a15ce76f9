"""What must be known beside a model to foretell new rows of a table: a JSON file next to the model's. No framework."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parallel_ml.training.failures import TrainingError
from parallel_ml.training.files import write_json
from parallel_ml.training.table_encoding import CategoryEncoding, Encoding, as_json, from_json
from parallel_ml.training.tasks import Classification, Regression

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = 1


@dataclass(frozen=True)
class TableRecord:
    """How rows were encoded and what the answers mean.

    Attributes:
        target: The name of the column that is foretold.
        data: sha256 of the files that were learned from.
    """

    target: str
    task: Classification | Regression
    encodings: tuple[Encoding, ...]
    data: str

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that a row must have."""
        return tuple(encoding.name for encoding in self.encodings)

    @property
    def texts(self) -> frozenset[str]:
        """Those of them that hold names."""
        return frozenset(encoding.name for encoding in self.encodings if isinstance(encoding, CategoryEncoding))

    @property
    def numbers(self) -> frozenset[str]:
        """The others."""
        return frozenset(self.features) - self.texts


def record_path(model: Path) -> Path:
    """Return where the record of a model lies.

    >>> from pathlib import Path
    >>> str(record_path(Path("best_model.keras")))
    'best_model.table.json'
    """
    return model.with_suffix(".table.json")


def write_record(model: Path, record: TableRecord) -> Path:
    """Write the record of a model whole and return its path."""
    task = record.task
    about: dict[str, Any]
    if isinstance(task, Classification):
        about = {"kind": "classification", "classes": list(task.classes)}
    else:
        about = {"kind": "regression", "mean": task.mean, "scale": task.scale, "loss": task.loss}
    told = {
        "version": VERSION,
        "target": {"name": record.target, **about},
        "features": as_json(record.encodings),
        "data_sha256": record.data,
    }
    path = record_path(model)
    write_json(path, told)
    return path


def read_record(model: Path) -> TableRecord:
    """Return the record of a model.

    Raises:
        TrainingError: It is not there, or not what this version writes.
    """
    path = record_path(model)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["version"] != VERSION:
            raise TrainingError(f"{path}: was written by another version of this program ({told['version']})")
        about = told["target"]
        task: Classification | Regression
        if about["kind"] == "classification":
            task = Classification(tuple(about["classes"]))
        else:
            task = Regression(about["mean"], about["scale"], about["loss"])
        return TableRecord(about["name"], task, from_json(told["features"]), told["data_sha256"])
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}; it must lie beside the model") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path}: is no record of a table: {error}") from error


def fingerprint(paths: Sequence[Path]) -> str:
    """Return a sha256 over the bytes of some files."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()
