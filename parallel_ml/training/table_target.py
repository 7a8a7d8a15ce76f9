"""The column that is to be foretold: classes or numbers, and what makes it useless. No framework."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parallel_ml.training.failures import TrainingError
from parallel_ml.training.table_columns import MOST_CATEGORIES, Columns, Texts, counts, number
from parallel_ml.training.table_text import shown

_MOST_CLASSES_OF_NUMBERS = 20


def is_classification(columns: Columns, name: str) -> bool:
    """Return whether a target's values are classes: texts, or at most 20 different whole numbers."""
    column = _texts(columns, name)
    found = [number(text) for text in column.known]
    if None in found:
        return True
    return len(found) <= _MOST_CLASSES_OF_NUMBERS and all(value == int(value) for value in found if value is not None)


def classes_of(columns: Columns, name: str) -> tuple[str, ...]:
    """Return the classes, numbers by size and others by name.

    Raises:
        TrainingError: A row has none, or there are too few or too many.
    """
    column = _texts(columns, name)
    refuse_missing(columns, name)
    known = column.known
    if len(known) < 2:
        raise TrainingError(
            f"{columns.file.path}: column {shown(name)} holds one class alone, {shown(known[0])}; "
            "a classification needs two"
        )
    if len(known) > MOST_CATEGORIES or 2 * len(known) > len(column.codes) > 2 * _MOST_CLASSES_OF_NUMBERS:
        raise TrainingError(
            f"{columns.file.path}: column {shown(name)} has {len(known):,} different values in {len(column.codes):,} "
            "rows, too many for classes; for numbers write algorithm_type: regression"
        )
    values = [number(text) for text in known]
    if None in values:
        return tuple(sorted(known))
    return tuple(text for _, text in sorted(zip(values, known, strict=True)))


def class_labels(columns: Columns, name: str, classes: Sequence[str]) -> np.ndarray:
    """Return int32 (rows,), the place of each row's class.

    Raises:
        TrainingError: A row has none, or one that is not among them.
    """
    column = _texts(columns, name)
    refuse_missing(columns, name)
    places = {text: place for place, text in enumerate(classes)}
    labels = np.array([places.get(text, -1) for text in column.known], dtype=np.int32)[column.codes]
    if (labels < 0).any():
        row = int(np.flatnonzero(labels < 0)[0])
        text = shown(column.known[column.codes[row]])
        raise TrainingError(f"{columns.place(row, name)}: the class {text} is in no row to train on")
    return labels


def target_numbers(columns: Columns, name: str) -> np.ndarray:
    """Return float64 (rows,).

    Raises:
        TrainingError: A row has none, or another thing than a finite number.
    """
    column = _texts(columns, name)
    refuse_missing(columns, name)
    values = [number(text) for text in column.known]
    odd = np.array([value is None for value in values])[column.codes]
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        text = shown(column.known[column.codes[row]])
        raise TrainingError(
            f"{columns.place(row, name)}: {text} is not a finite number; for names write algorithm_type: classification"
        )
    missing = np.array([value is not None and np.isnan(value) for value in values])[column.codes]
    _refuse_rows(columns, name, missing)
    return np.array(values, dtype=np.float64)[column.codes]


def refuse_missing(columns: Columns, name: str) -> None:
    """Raise where a row has no value of the target."""
    _refuse_rows(columns, name, _texts(columns, name).codes < 0)


def small_classes(columns: Columns, name: str, parts: int) -> list[str]:
    """Return the classes that have fewer rows than there are parts to divide them into."""
    column = _texts(columns, name)
    return [text for text, count in zip(column.known, counts(column), strict=True) if count < parts]


def _refuse_rows(columns: Columns, name: str, missing: np.ndarray) -> None:
    if missing.any():
        rows = np.flatnonzero(missing)
        more = f" (and {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
        raise TrainingError(
            f"{columns.place(int(rows[0]), name)}: the target has no value{more}; fill it in, or leave such rows out"
        )


def _texts(columns: Columns, name: str) -> Texts:
    column = columns.by_name[name]
    assert isinstance(column, Texts)  # noqa: S101 - a target is always read as texts
    return column
