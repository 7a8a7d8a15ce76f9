"""A CSV file as text: its header, its delimiter, and its rows with their lines. Standard library only.

What a column means is no matter here; a file that is no table is refused with the line that says so.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from parallel_ml.training.failures import TrainingError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|"}
_BINARY = {b"PK\x03\x04": "a spreadsheet or a zip archive", b"\x1f\x8b": "gzip-compressed", b"PAR1": "Parquet"}
_SAMPLE_CHARACTERS = 64 * 1024
_SAMPLE_ROWS = 20
_MOST_NAMED = 10
_LONGEST_SHOWN = 40


@dataclass(frozen=True)
class TableFile:
    """A table and what its first line says.

    Attributes:
        names: The columns in the order of the file; "" where one has no name.
        delimiter: What stands between two values.
        line: Where the header is.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str
    line: int

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line at which each row begins and its values; lines without anything are left out.

        Raises:
            TrainingError: A row has more or fewer values than the header, or the file is no CSV.
        """
        width = len(self.names)
        for line, cells in _records(self.path, self.delimiter):
            if line == self.line:
                continue
            if len(cells) != width:
                raise TrainingError(
                    f"{self.path}:{line}: has {_counted(len(cells), 'value')}, and the header has {width} columns; "
                    f"put quotes around a value that holds a {DELIMITERS[self.delimiter]}"
                )
            yield line, cells

    def place_of(self, name: str) -> int:
        """Return where a column stands.

        Raises:
            TrainingError: There is none of this name.
        """
        if name not in self.names:
            raise TrainingError(f"{self.path}:{self.line}: {missing_column(self.names, name)}")
        return self.names.index(name)


def open_table(path: Path) -> TableFile:
    """Read the header of a table.

    Raises:
        TrainingError: The file cannot be read, is empty, or its first line names no columns.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: " + ("is not a file" if path.exists() else "there is no such file"))
    _refuse_binary(path)
    delimiter = _delimiter(path)
    for line, cells in _records(path, delimiter):
        names = tuple(cell.strip() for cell in cells)
        if problem := _bad_header(names):
            raise TrainingError(f"{path}:{line}: {problem}")
        return TableFile(path, names, delimiter, line)
    raise TrainingError(f"{path}: is empty; a table begins with a line that names its columns")


def missing_column(names: Sequence[str], wanted: str) -> str:
    """Return that there is no such column, and which is the nearest, or which there are."""
    known = [name for name in names if name]
    said = f"there is no column {shown(wanted)}"
    if len(known) == 1 and wanted != known[0] and wanted in known[0]:
        return f"{said}: all of {shown(known[0])} is one column; separate columns by a comma, semicolon, tab or |"
    lower = {name.lower(): name for name in reversed(known)}
    near = difflib.get_close_matches(wanted.strip().lower(), lower, n=1, cutoff=0.6)
    if near:
        return f"{said}; did you mean {shown(lower[near[0]])}?"
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return f"{said}; there are {', '.join(known[:_MOST_NAMED])}{more}"


def shown(text: str) -> str:
    """Return a value as it is quoted in a message, on one line and not too long."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")


def _refuse_binary(path: Path) -> None:
    """Raise where a file is of a kind that holds tables and is no text."""
    try:
        with path.open("rb") as file:
            begin = file.read(4)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}") from error
    kind = next((kind for magic, kind in _BINARY.items() if begin.startswith(magic)), "")
    if kind:
        raise TrainingError(f"{path}: is {kind}, not CSV text; export the table as CSV")


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the values of each record that holds anything."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
            for cells in reader:
                if len(cells) > 1 or (cells and cells[0].strip()):
                    yield line, cells
                line = reader.line_num + 1
    except csv.Error as error:
        hint = "is a quote not closed, or one inside a quoted value not doubled?"
        raise TrainingError(f"{path}:{line}: cannot be read as CSV from here on: {error}; {hint}") from error
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path}:{_undecodable(path)}: is not UTF-8 text; save the file as UTF-8") from error
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}") from error


def _delimiter(path: Path) -> str:
    """Return what separates the most columns in most of the first rows; a comma where nothing separates any."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sample = file.read(_SAMPLE_CHARACTERS)
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path}:{_undecodable(path)}: is not UTF-8 text; save the file as UTF-8") from error
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}") from error
    if len(sample) == _SAMPLE_CHARACTERS:
        sample = sample[: sample.rfind("\n") + 1] or sample
    best = max(DELIMITERS, key=lambda delimiter: _agreement(sample, delimiter))
    return best if _agreement(sample, best) > (0, 0) else ","


def _agreement(sample: str, delimiter: str) -> tuple[float, int]:
    """Return the share of rows that have as many values as the header, and how many that are; (0, 0) for one alone."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [row for row in islice(reader, _SAMPLE_ROWS) if row]
    except csv.Error:
        return 0, 0
    if not rows or len(rows[0]) < 2:
        return 0, 0
    alike = sum(len(row) == len(rows[0]) for row in rows)
    return alike / len(rows), len(rows[0])


def _bad_header(names: Sequence[str]) -> str:
    """Return what is wrong with the names of the columns, or ""."""
    named = [name for name in names if name]
    twice = next((name for place, name in enumerate(named) if name in named[:place]), None)
    if not named:
        return "names no columns; the first line of a table must"
    if twice is not None:
        return f"names the column {shown(twice)} twice; rename one of them"
    if all(map(_is_number, named)):
        return f"holds numbers ({', '.join(named[:3])}) where the columns should be named; add such a line above it"
    return ""


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _undecodable(path: Path) -> int:
    """Return the first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
