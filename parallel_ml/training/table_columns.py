"""The columns of a table as numpy arrays: numbers, or texts by code. No framework.

A column is one of numbers where all its values are; texts that look like numbers written differently, or like dates,
are refused, since as categories they would teach nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from parallel_ml.training.failures import TrainingError
from parallel_ml.training.table_text import TableFile, shown

MISSING_TEXT = frozenset(("", "?", "na", "n/a", "#n/a", "nan", "-nan", "null"))
"""What stands for a value that is not known, in lower case."""
MISSING_NUMBER = MISSING_TEXT | {"-", "none", "nil"}
"""The same among numbers, where these are no names of anything."""

MOST_CATEGORIES = 1000
_ROWS_AT_A_TIME = 512
_ODD = (
    (re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d.*)?"), "is a date: make numbers of it, the month say"),
    (re.compile(r"[-+]?\d+,\d+"), "has a comma: write it as 1234.5, say"),
    (re.compile(r"[-+]?[$€£¥]?\s*\d[\d,]*(\.\d+)?\s*[%$€£¥]?"), "is a number with a sign of its own: write it without"),
)


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: float64, nan where nothing is known.
    """

    name: str
    values: np.ndarray


@dataclass(frozen=True)
class Texts:
    """A column of texts.

    Attributes:
        codes: int32, the place of each row's text in `known`; -1 where nothing is known.
        known: Every text that occurs, in the order of its first row.
    """

    name: str
    codes: np.ndarray
    known: tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """What was read of a table.

    Attributes:
        lines: Where each row begins in the file.
    """

    file: TableFile
    lines: np.ndarray
    by_name: Mapping[str, Numbers | Texts]

    def place(self, row: int, name: str) -> str:
        """Return `file:line: column 'name'`, for a message."""
        return f"{self.file.path}:{self.lines[row]}: column {shown(name)}"


def read_columns(
    file: TableFile,
    names: Sequence[str],
    texts: Collection[str] = (),
    numbers: Collection[str] = (),
    check: Callable[[], None] = lambda: None,
) -> Columns:
    """Read some columns of a table.

    Args:
        file: The table.
        names: Which.
        texts: Those whose values are names, also where they look like numbers.
        numbers: Those that must be numbers; any other is what its values are.
        check: Called now and then; what it raises ends the work.

    Raises:
        TrainingError: There is no such column, no row, or a value that makes no sense in its column.
    """
    found: set[str] = set()
    while True:
        columns = _read(file, names, found.union(texts), check)
        if len(columns.by_name) == len(names):
            break
        found.update(name for name in names if name not in columns.by_name)
    for name in names:
        if name in found:
            _refuse_odd(columns, name, must_be_numbers=name in numbers)
    return columns


def _read(file: TableFile, names: Sequence[str], texts: Collection[str], check: Callable[[], None]) -> Columns:
    """Read a table once; what is not among `texts` and holds another thing than numbers is left out.

    Where the first rows say that already, no more are read.
    """
    places = {name: file.place_of(name) for name in names}
    readers: dict[str, _NumberReader | _TextReader] = {
        name: _TextReader() if name in texts else _NumberReader() for name in names
    }
    rows, lines = file.rows(), []
    while chunk := list(islice(rows, _ROWS_AT_A_TIME)):
        check()
        lines += [line for line, _ in chunk]
        cells = list(zip(*(row for _, row in chunk), strict=True))
        readers = {name: reader for name, reader in readers.items() if reader.take(cells[places[name]])}
        if len(lines) == len(chunk) and len(readers) < len(names):
            break
    if not lines:
        raise TrainingError(f"{file.path}: has a header and no rows")
    return Columns(file, np.array(lines, np.int64), {name: reader.column(name) for name, reader in readers.items()})


class _NumberReader:
    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def take(self, cells: Sequence[str]) -> bool:
        """Add values; return whether they are numbers."""
        try:
            part = np.array(list(map(float, cells)))
        except ValueError:
            part = np.array([math.nan])
        if not np.isfinite(part).all() or "_" in "".join(cells):
            found = [number(cell) for cell in cells]
            if None in found:
                return False
            part = np.array(found, dtype=np.float64)
        self._parts.append(part)
        return True

    def column(self, name: str) -> Numbers:
        return Numbers(name, np.concatenate(self._parts))


class _TextReader:
    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._parts: list[np.ndarray] = []

    def take(self, cells: Sequence[str]) -> bool:
        """Add values; every value is a text."""
        codes = self._codes
        found = [codes.setdefault(cell.strip(), len(codes)) for cell in cells]
        self._parts.append(np.array(found, dtype=np.int32))
        return True

    def column(self, name: str) -> Texts:
        known = [text for text in self._codes if text.lower() not in MISSING_TEXT]
        places = {text: place for place, text in enumerate(known)}
        renumbered = np.array([places.get(text, -1) for text in self._codes], dtype=np.int32)
        return Texts(name, renumbered[np.concatenate(self._parts)], tuple(known))


def number(text: str) -> float | None:
    """Return the number that a value is, nan where nothing is known, None where it is none that is finite.

    >>> number(" 1.5e3"), number("NA"), number("1_000"), number("inf")
    (1500.0, nan, None, None)
    """
    if text.strip().lower() in MISSING_NUMBER:
        return math.nan
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) and "_" not in text else None


def counts(column: Texts) -> np.ndarray:
    """Return how often each known text occurs."""
    return np.bincount(column.codes[column.codes >= 0], minlength=len(column.known))


def _refuse_odd(columns: Columns, name: str, *, must_be_numbers: bool) -> None:
    """Raise where a column that is not all numbers is meant to be, or holds what can be no category."""
    column = columns.by_name[name]
    assert isinstance(column, Texts)  # noqa: S101 - it was read as such
    odd = np.array([number(text) is None for text in column.known])
    occurrences = counts(column)
    mostly_numbers = occurrences[~odd].sum() > occurrences[odd].sum()
    row = int(np.flatnonzero((column.codes >= 0) & odd[column.codes])[0])
    text = column.known[column.codes[row]]
    infinite = _is_infinite(text)
    why = "" if infinite else next((reason for pattern, reason in _ODD if pattern.fullmatch(text)), "")
    if why:
        raise TrainingError(
            f"{columns.place(row, name)}: {shown(text)} {why}, leave the column out of feature_columns, or name it in "
            "categorical_columns"
        )
    if must_be_numbers or mostly_numbers:
        told = "is not a finite number" if infinite else "is not a number"
        others = "" if must_be_numbers else ", as most values of the column are"
        instead = "" if must_be_numbers else ", or name the column in categorical_columns"
        raise TrainingError(
            f"{columns.place(row, name)}: {shown(text)} {told}{others}; correct it, leave it empty{instead}"
        )


def _is_infinite(text: str) -> bool:
    try:
        return math.isinf(float(text))
    except ValueError:
        return False
