"""Bars and sparklines."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.adapters.cli.glyphs import can_draw, progress_bar, sparkline
from parallel_ml.adapters.cli.text import cell_width

NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=32))


@pytest.mark.parametrize(
    ("epoch", "bar"), [(None, ".........."), (1, "##........"), (4, "##########"), (9, "##########")]
)
def test_a_bar_fills(epoch: int | None, bar: str) -> None:
    """And never beyond its end."""
    assert progress_bar(epoch, 4, 10, plain=True) == bar


def test_a_bar_moves_in_eighths() -> None:
    """Each of 80 epochs is seen in a bar of ten cells."""
    bars = [progress_bar(epoch, 80, 10) for epoch in range(81)]
    assert len(set(bars)) == 81
    assert {cell_width(bar) for bar in bars} == {10}


def test_no_bar_without_an_end() -> None:
    """Where nobody said how many epochs there will be."""
    assert progress_bar(3, None, 10) == ""


def test_a_curve_rises_with_its_values() -> None:
    """From the lowest level to the highest."""
    assert sparkline([1, 2, 3, 4, 5, 6, 7], 12) == "▁▂▃▄▅▆▇"


def test_a_curve_shows_the_last_values() -> None:
    """As many as it has cells."""
    assert sparkline([0.9, 0.1, 0.2], 2) == "▁▇"


def test_noise_is_flat() -> None:
    """A value that moves by a thousandth does not look like one that doubles."""
    assert sparkline([0.990, 0.991, 0.990], 12) == "▄▄▄"


def test_what_is_not_finite_is_a_gap() -> None:
    """An epoch without the figure, or with a NaN, keeps its place."""
    assert sparkline([0.1, math.nan, None, 0.9], 12) == "▁  ▇"


def test_nothing_known_is_nothing_drawn() -> None:
    """Before the first epoch, and where all are NaN."""
    assert sparkline([], 12) == sparkline([None, math.nan], 12) == ""


@given(st.lists(NUMBERS, max_size=30), st.integers(1, 12), st.booleans())
def test_a_curve_has_a_cell_for_each_value(values: list[float | None], cells: int, plain: bool) -> None:  # noqa: FBT001
    """Whatever the values."""
    curve = sparkline(values, cells, plain=plain)
    assert len(curve) in {0, min(cells, len(values))}
    assert curve.isascii() or not plain


@pytest.mark.parametrize(("encoding", "blocks"), [("utf-8", True), ("UTF8", True), ("latin-1", False), (None, False)])
def test_blocks_need_unicode(encoding: str | None, blocks: bool) -> None:  # noqa: FBT001 - a case
    """Any other encoding gets ASCII."""
    assert can_draw(encoding) is blocks
