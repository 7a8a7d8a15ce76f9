"""From columns to what a model takes: numbers scaled, categories as ones and zeros. Fitted on the training rows alone.

An encoding is plain JSON values, which are saved beside the model: the same new row is always encoded alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from parallel_ml.training.table_columns import Columns, Numbers, Texts

_LEAST = 1e-290
_FARTHEST = 1e6
"""Deviations from the mean; what lies farther is taken as that far, so that no row can overflow a model."""


@dataclass(frozen=True)
class NumberEncoding:
    """A column of numbers as deviations from the mean.

    Attributes:
        fill: What an unknown value is taken for: the median.
        tells_missing: A second value says whether the first was known.
    """

    name: str
    mean: float
    scale: float
    fill: float
    tells_missing: bool

    @property
    def width(self) -> int:
        """How many values a row becomes."""
        return 1 + self.tells_missing

    def encode(self, column: Numbers | Texts, out: np.ndarray) -> int:
        """Fill `out`, float32 (rows, width); no value is foreign, so 0 is returned."""
        assert isinstance(column, Numbers)  # noqa: S101 - the table is read with the kinds of the encoding
        missing = np.isnan(column.values)
        known = np.where(missing, self.fill, column.values)
        with np.errstate(over="ignore"):
            deviations = known / self.scale - self.mean / self.scale
        out[:, 0] = np.clip(deviations, -_FARTHEST, _FARTHEST)
        if self.tells_missing:
            out[:, 1] = missing
        return 0


@dataclass(frozen=True)
class CategoryEncoding:
    """A column of texts: a one in the place of the row's text. What was not seen in training is all zeros.

    Attributes:
        known: The texts of the training rows.
        tells_missing: One more place is for rows without a text.
    """

    name: str
    known: tuple[str, ...]
    tells_missing: bool

    @property
    def width(self) -> int:
        """How many values a row becomes."""
        return len(self.known) + self.tells_missing

    def encode(self, column: Numbers | Texts, out: np.ndarray) -> int:
        """Fill `out`, float32 (rows, width), and return how many rows have a text that was not seen in training."""
        assert isinstance(column, Texts)  # noqa: S101 - the table is read with the kinds of the encoding
        places = {text: place for place, text in enumerate(self.known)}
        nowhere = self.width
        by_code = [*(places.get(text, nowhere) for text in column.known), -1]
        found = np.array(by_code, dtype=np.int64)[column.codes]
        foreign = int((found == nowhere).sum())
        found[found == -1] = nowhere - 1 if self.tells_missing else nowhere
        rows = np.flatnonzero(found < nowhere)
        out[:] = 0
        out[rows, found[rows]] = 1
        return foreign


Encoding = NumberEncoding | CategoryEncoding


def fit(column: Numbers | Texts, rows: np.ndarray) -> Encoding:
    """Return how a column is encoded, from what stands in some of its rows."""
    if isinstance(column, Texts):
        codes = column.codes[rows]
        seen = np.unique(codes[codes >= 0])
        return CategoryEncoding(
            column.name, tuple(sorted(column.known[code] for code in seen)), bool((codes < 0).any())
        )
    values = column.values[rows]
    known = values[~np.isnan(values)]
    mean, scale = mean_and_scale(known)
    # The lower of the two in the middle: the mean of two of the largest numbers overflows.
    fill = float(np.sort(known)[(len(known) - 1) // 2]) if len(known) else 0.0
    return NumberEncoding(column.name, mean, scale, fill, tells_missing=len(known) < len(values))


def mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Return the mean and the standard deviation, 1 where nothing varies; exact also near the largest numbers."""
    largest = float(np.abs(values).max()) if len(values) else 0.0
    if largest < _LEAST:
        return 0.0, 1.0
    relative = values / largest
    spread = float(relative.std())
    mean = float(relative.mean()) * largest
    # What is left of equal values is the rounding of their mean.
    return (mean, spread * largest) if spread > 1e-12 else (mean, 1.0)


def encode(columns: Columns, encodings: Sequence[Encoding]) -> tuple[np.ndarray, dict[str, int]]:
    """Return float32 (rows, width), and how many rows of which column hold a text that was not seen in training."""
    matrix = np.empty((len(columns.lines), sum(encoding.width for encoding in encodings)), dtype=np.float32)
    begin, foreign = 0, {}
    for encoding in encodings:
        end = begin + encoding.width
        count = encoding.encode(columns.by_name[encoding.name], matrix[:, begin:end])
        begin = end
        if count:
            foreign[encoding.name] = count
    return matrix, foreign


def as_json(encodings: Sequence[Encoding]) -> list[dict[str, Any]]:
    """Return encodings as JSON values."""
    return [
        {"kind": "number" if isinstance(encoding, NumberEncoding) else "category", **asdict(encoding)}
        for encoding in encodings
    ]


def from_json(told: Sequence[Mapping[str, Any]]) -> tuple[Encoding, ...]:
    """Return what `as_json` was given."""
    found: list[Encoding] = []
    for one in told:
        keys = {key: value for key, value in one.items() if key != "kind"}
        if one["kind"] == "number":
            found.append(NumberEncoding(**keys))
        else:
            found.append(CategoryEncoding(**{**keys, "known": tuple(keys["known"])}))
    return tuple(found)
