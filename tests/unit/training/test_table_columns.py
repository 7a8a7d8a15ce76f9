"""What the columns of a table hold: numbers, texts, nothing, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from parallel_ml.training.failures import TrainingError
from parallel_ml.training.table_columns import Columns, Numbers, Texts, read_columns
from parallel_ml.training.table_text import open_table
from tests.unit.training.tables import write


def read(folder: Path, text: str, *, texts: tuple[str, ...] = (), numbers: tuple[str, ...] = ()) -> Columns:
    """Read all columns of a table."""
    file = open_table(write(folder / "t.csv", text))
    return read_columns(file, file.names, texts, numbers)


def test_numbers_in_every_notation(tmp_path: Path) -> None:
    """Huge whole numbers too; what stands for nothing is nan."""
    values = ["1", " -2.5 ", "3e-2", "12345678901234567890", "", "NA", "?", "nan", "None", "-", "null"]
    column = read(tmp_path, "a,b\n" + "".join(f"{value},x\n" for value in values)).by_name["a"]
    assert isinstance(column, Numbers)
    np.testing.assert_array_equal(column.values, [1, -2.5, 0.03, 12345678901234567890, *[math.nan] * 7])


def test_texts_and_what_stands_for_none(tmp_path: Path) -> None:
    """Spaces around them are no part of them; `none` may be a name."""
    values = ["red", " red", "none", "", "NaN", "blue"]
    column = read(tmp_path, "a,b\n" + "".join(f"{value},1\n" for value in values)).by_name["a"]
    assert isinstance(column, Texts)
    assert (column.known, column.codes.tolist()) == (("red", "none", "blue"), [0, 0, 1, -1, -1, 2])


def test_numbers_that_are_names_stay_as_they_are_written(tmp_path: Path) -> None:
    """A postal code keeps its leading zero."""
    column = read(tmp_path, "a,b\n01067,1\n80331,2\n", texts=("a",)).by_name["a"]
    assert isinstance(column, Texts)
    assert column.known == ("01067", "80331")


def test_a_text_far_down_makes_the_column_one_of_texts(tmp_path: Path) -> None:
    """Its values before that are the texts that they were."""
    column = read(tmp_path, "a,b\n" + "007,1\n" * 1000 + "x,1\n" * 1001).by_name["a"]
    assert isinstance(column, Texts)
    assert (column.known, len(column.codes)) == (("007", "x"), 2001)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("abc", "'abc' is not a number, as most values of the column are"),
        ("inf", "'inf' is not a finite number"),
        ("9" * 400, "is not a finite number"),
        ("1_000", "'1_000' is not a number"),
        ("1,5", "'1,5' has a comma"),
        ("$12.50", "'$12.50' is a number with a sign of its own"),
        ("45%", "'45%' is a number with a sign of its own"),
        ("2026-01-31", "'2026-01-31' is a date"),
        ("31/1/2026 10:15", "'31/1/2026 10:15' is a date"),
    ],
)
def test_what_is_no_number_is_told_with_its_line(tmp_path: Path, value: str, message: str) -> None:
    """Beside numbers; also a thousand rows down."""
    text = "a;b\n" + "1;2\n" * 1000 + f"{value};2\n" + "1;2\n"
    with pytest.raises(TrainingError) as caught:
        read(tmp_path, text)
    assert "t.csv:1002: column 'a': '" in str(caught.value)
    assert message in str(caught.value)


def test_a_column_of_dates_is_refused(tmp_path: Path) -> None:
    """As categories they would teach nothing; naming them categories is allowed."""
    text = "a,b\n2026-01-31,1\n2026-02-01,2\n"
    with pytest.raises(TrainingError, match=r":2: column 'a': '2026-01-31' is a date"):
        read(tmp_path, text)
    assert isinstance(read(tmp_path, text, texts=("a",)).by_name["a"], Texts)


def test_a_column_that_was_numbers_in_training_must_be_again(tmp_path: Path) -> None:
    """Even where most of a new file's values are texts."""
    with pytest.raises(TrainingError, match=r":2: column 'a': 'x' is not a number; correct it, leave it empty$"):
        read(tmp_path, "a,b\nx,1\ny,2\n", numbers=("a",))


def test_a_header_alone_is_no_table(tmp_path: Path) -> None:
    """It says so."""
    with pytest.raises(TrainingError, match="has a header and no rows"):
        read(tmp_path, "a,b\n")
