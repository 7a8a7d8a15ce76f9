"""CSV files as they come: separators, line ends, quotes, encodings; and those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_ml.training.failures import TrainingError
from parallel_ml.training.table_text import missing_column, open_table
from tests.unit.training.tables import write


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,y\n",
        "a;b\n1;x\n2;y\n",
        "a\tb\n1\tx\n2\ty\n",
        "a|b\n1|x\n2|y",
        "\ufeffa,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y\r",
        ' a , "b"\n1, x\n\n2, "y"\n  \n',
    ],
    ids=["comma", "semicolon", "tab", "bar", "BOM and CRLF", "CR", "spaces and empty lines"],
)
def test_a_table_is_read_however_it_is_written(tmp_path: Path, text: str) -> None:
    """The same names and values."""
    table = open_table(write(tmp_path / "t.csv", text))
    assert table.names == ("a", "b")
    assert [[cell.strip() for cell in cells] for _, cells in table.rows()] == [["1", "x"], ["2", "y"]]


def test_the_separator_is_the_one_that_all_rows_agree_on(tmp_path: Path) -> None:
    """A decimal comma in every row does not make it a separator."""
    table = open_table(write(tmp_path / "t.csv", "size, m;weight;y\n1,5;2,5;1\n2,5;3,25;0\n"))
    assert table.names == ("size, m", "weight", "y")


def test_a_row_is_at_the_line_where_it_begins(tmp_path: Path) -> None:
    """Quoted values may hold line ends, separators and quotes."""
    table = open_table(write(tmp_path / "t.csv", 'a,b\n"one\ntwo, ""x""\n",1\n\n3,4\n'))
    assert list(table.rows()) == [(2, ['one\ntwo, "x"\n', "1"]), (6, ["3", "4"])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", ": is empty"),
        (b"\n \n", ": is empty"),
        (b"a,b,a\n1,2,3\n", ":1: names the column 'a' twice"),
        (b"1.5,2,7\n1,2,3\n", ":1: holds numbers (1.5, 2, 7) where the columns should be named"),
        (b",,\n1,2,3\n", ":1: names no columns"),
        (b"a,b\n1,2\n1,2,3\n", ":3: has 3 values, and the header has 2 columns"),
        (b"a,b\n1,2\n1\n", ":3: has 1 value, and the header has 2 columns"),
        (b'a,b\n1,2\n"x,3\n4,5\n', ":3: cannot be read as CSV"),
        (b'a,b\n1,2\n"x"y,3\n', ":3: cannot be read as CSV"),
        (b"a,b\n1,2\n\xe9,3\n", ":3: is not UTF-8 text"),
        ("a,b\n1,2\n".encode("utf-16"), ":1: is not UTF-8 text"),
        (b"PK\x03\x04....", ": is a spreadsheet or a zip archive, not CSV text; export the table as CSV"),
    ],
    ids=[
        *("empty", "blank", "a name twice", "no header", "no names", "too many", "too few"),
        *("an open quote", "a stray quote", "Latin-1", "UTF-16", "xlsx"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, text: bytes, message: str) -> None:
    """One sentence; where there is a line, it is named."""
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(TrainingError) as caught:
        list(open_table(path).rows())
    assert f"{path}{message}" in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """So is a folder in its place."""
    with pytest.raises(TrainingError, match="there is no such file"):
        open_table(tmp_path / "t.csv")
    with pytest.raises(TrainingError, match="is not a file"):
        open_table(tmp_path)


def test_a_missing_column_has_a_neighbour() -> None:
    """The nearest name, else all; a table that was not separated says so."""
    names = ("petal length", "Petal Width", "y")
    assert missing_column(names, "petal_width").endswith("did you mean 'Petal Width'?")
    assert missing_column(names, "colour") == "there is no column 'colour'; there are petal length, Petal Width, y"
    assert "is one column; separate columns by" in missing_column(("a b y",), "y")
