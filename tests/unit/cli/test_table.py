"""Aligned columns that fit a width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.adapters.cli.table import Column, Note, draw
from parallel_ml.adapters.cli.text import cell_width

NAME = Column("job", ["a_very_long_name", "b"], floor=6)
STATE = Column("state", ["running", "pending"])
LOSS = Column("loss", ["0.1", "12.5"], right=True, rank=2)
NOTE = Column("", ["", "2 of 2 slots in use"], floor=8, rank=1)


def test_columns_are_aligned() -> None:
    """Text stands left, numbers right, and nothing stands after the last cell."""
    assert draw([NAME, STATE, LOSS]) == [
        "job               state    loss",
        "a_very_long_name  running   0.1",
        "b                 pending  12.5",
    ]


def test_an_empty_column_is_left_out() -> None:
    """What no row has takes no room."""
    assert draw([STATE, Column("left", ["", ""], right=True)]) == ["state", "running", "pending"]


def test_an_empty_column_of_a_steady_table_keeps_its_place() -> None:
    """A display that is drawn again does not jump when the first value comes."""
    before = draw([Column("left", ["", ""], least=6, right=True), STATE])
    after = draw([Column("left", ["1m", ""], least=6, right=True), STATE])
    assert before[0] == after[0]


def test_the_least_important_column_goes_first() -> None:
    """Of columns with a rank the highest goes, until the rest fits with its long texts cut."""
    assert draw([NAME, STATE, LOSS, NOTE], 33)[2] == "b         pending  12.5  2 of 2…"
    assert draw([NAME, STATE, LOSS, NOTE], 30)[2] == "b            pending  2 of 2…"
    assert draw([NAME, STATE, LOSS, NOTE], 20)[1] == "a_very_lon…  running"


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (None, "b                 pending  12.5  2 of 2 slots in use"),
        (52, "b                 pending  12.5  2 of 2 slots in use"),
        (51, "b                 pending  2 of 2 slots in use"),
        (44, "b               pending  2 of 2 slots in use"),
        (33, "b       pending  2 of 2 slots in…"),
        (24, "b       pending  12.5"),
    ],
)
def test_a_note_is_worth_more_than_the_cells_before_it(width: int | None, row: str) -> None:
    """It takes their place and the room of long names, is cut at last, and goes where nothing of it could be read."""
    lines = draw([NAME, STATE, LOSS], width, [Note(), Note("2 of 2 slots in use")])
    assert lines[2] == row
    assert lines[1].endswith(" 0.1")


def test_a_note_that_is_not_needed_takes_nothing_away() -> None:
    """It stands whole at the end, or not at all."""
    notes = [Note("accuracy 0.9", needed=False), Note()]
    assert draw([NAME, STATE, LOSS], 45, notes)[1] == "a_very_long_name  running   0.1  accuracy 0.9"
    assert draw([NAME, STATE, LOSS], 44, notes)[1] == "a_very_long_name  running   0.1"


def test_chinese_text_is_aligned_by_its_cells() -> None:
    """A character of two cells counts for two."""
    assert draw([Column("job", ["训练", "ab"]), STATE])[1:] == ["训练  running", "ab    pending"]


@pytest.mark.parametrize("width", [1, 3, 10])
def test_a_very_narrow_terminal_gets_cut_lines(width: int) -> None:
    """Where not even the last columns fit, lines are cut rather than wrapped."""
    assert max(map(cell_width, draw([NAME, STATE, LOSS, NOTE], width))) <= width


@given(
    st.lists(st.tuples(st.text("ab训 ", max_size=30), st.text("0123456789.", max_size=9)), max_size=8),
    st.integers(1, 120),
)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str]], width: int) -> None:
    """Whatever the cells, the width is kept and each row has its line."""
    columns = [
        Column("job", [name for name, _ in rows], floor=4),
        Column("state", ["running"] * len(rows)),
        Column("loss", [value for _, value in rows], right=True, rank=1, least=6),
    ]
    lines = draw(columns, width)
    assert len(lines) == len(rows) + 1
    assert all(cell_width(line) <= width for line in lines)
