"""What the tests of tables share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parallel_ml.training.settings import Settings, settings_from
from parallel_ml.training.tables import TableData, read_table


def write(path: Path, text: str | bytes) -> Path:
    """Write a file as it is and return its path."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def settings(folder: Path, train: Path, **data: Any) -> Settings:
    """Return the settings of a training of `train`, whose target is `y`."""
    tree = {
        "data_preprocessing": {"train_data_path": str(train), "target_column": "y", **data},
        "model_training": {"epochs": 1, "checkpoint": {"filepath": str(folder / "best.keras")}},
    }
    return settings_from(tree, folder / "resolved.yaml")


def learn(folder: Path, text: str | bytes, **data: Any) -> TableData:
    """Write a table into `folder` and return what a model is given of it."""
    given = settings(folder, write(folder / "t.csv", text), **data)
    assert given.data.table is not None
    return read_table(given, given.data.table)


def many(header: str, rows: int, line: str = "{n},{n}.5,{c}") -> str:
    """Return a table; in `line` {n} counts, and {c} is `a` or `b` in turns."""
    return header + "\n" + "".join(line.format(n=number, c="ab"[number % 2]) + "\n" for number in range(rows))
