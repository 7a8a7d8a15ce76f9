"""Charts as SVG: what is drawn, and that nothing from outside gets out of its place."""

from __future__ import annotations

import doctest
import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parallel_ml.report import figures, words
from parallel_ml.report.charts import matrix as matrix_module
from parallel_ml.report.charts import scale
from parallel_ml.report.charts.curves import HEIGHT, WIDTH, Line, curves
from parallel_ml.report.charts.lanes import Bar, lanes
from parallel_ml.report.charts.matrix import MOST_CLASSES, matrix
from tests.unit.report.conftest import HOSTILE

FIGURE = st.floats(allow_nan=True, allow_infinity=True) | st.none()


def draw(*lines: Line) -> str:
    """Return a chart of lines."""
    return curves(lines, description="what it shows", x_title="epoch")


def paths(svg: str) -> list[str]:
    """Return the shapes of the lines, the front one last."""
    return re.findall(r'<path class="line[^"]*" d="([^"]*)"', svg)


def test_a_line_goes_through_its_points() -> None:
    """From the lower left to the upper right where it rises."""
    (shape,) = paths(draw(Line("a", [(1.0, 0.0), (2.0, 1.0)])))
    (x1, y1), (x2, y2) = [tuple(map(float, pair.split())) for pair in re.split("[ML]", shape)[1:]]
    assert 0 < x1 < x2 < WIDTH
    assert HEIGHT > y1 > y2 > 0


def test_a_gap_breaks_the_line() -> None:
    """A value that is not there, or not finite, is neither 0 nor passed over; a point alone is a dot."""
    (shape,) = paths(draw(Line("a", [(1.0, 1.0), (2.0, 2.0), (3.0, math.nan), (4.0, 3.0)])))
    assert re.fullmatch(r"M[\d. ]+L[\d. ]+M[\d. ]+h0", shape)


def test_the_grey_lines_are_one_path_behind_the_others() -> None:
    """A thousand of them cost no thousand elements."""
    svg = draw(Line("front", [(1.0, 1.0), (2.0, 2.0)], 3), *(Line("x", [(1.0, 0.0), (2.0, 3.0)], None),) * 1000)
    assert svg.count('class="line rest"') == 1
    assert svg.index('class="line rest"') < svg.index('class="line c3"')


def test_nothing_to_draw_is_no_chart() -> None:
    """Lines without a finite value, or no line."""
    assert draw() == draw(Line("a", [(1.0, math.inf), (2.0, None)])) == ""


def test_values_of_many_sizes_have_a_logarithmic_axis() -> None:
    """1 and 10 are as far from each other as 1000 and 10000."""
    drawn = scale.scale_of([1.0, 10.0, 1000.0, 10000.0], 0, 100, may_be_log=True)
    assert drawn.at(10.0) - drawn.at(1.0) == pytest.approx(drawn.at(10000.0) - drawn.at(1000.0))
    assert drawn.ticks() == [1.0, 10.0, 100.0, 1000.0, 10000.0]


@example(points=[(0.0, 0.0), (0.0, 5e-324)], zero=False)
@given(points=st.lists(st.tuples(st.floats(), FIGURE), max_size=30), zero=st.booleans())
def test_every_point_is_drawn_within_the_chart(points: list[tuple[float, float | None]], *, zero: bool) -> None:
    """Whatever comes in: huge values, equal ones, none."""
    svg = curves([Line("a", points)], description="d", x_title="x", from_zero=zero)
    for shape in paths(svg):
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", shape):
            assert 0 <= float(x) <= WIDTH
            assert 0 <= float(y) <= HEIGHT
    assert not re.search(r"nan|inf", svg)


@given(st.lists(st.tuples(st.floats(0, 1e6), FIGURE), max_size=200), st.integers(2, 50))
def test_a_thinned_line_keeps_its_lowest_and_its_highest(points: list[tuple[float, float | None]], most: int) -> None:
    """And is no longer than asked for, but for a stretch."""
    kept = scale.thinned(points, most)
    known = [y for _, y in points if y is not None and math.isfinite(y)]
    left = [y for _, y in kept if y is not None and math.isfinite(y)]
    assert len(kept) <= most + 2
    if known and all(y is None or math.isfinite(y) for _, y in points):
        assert (min(left), max(left)) == (min(known), max(known))


def test_a_matrix_has_its_counts_and_its_classes() -> None:
    """Where a class was never taken for another there is nothing."""
    svg = matrix([[5, 2], [0, 4]], ["cat", "dog"], description="d", answer="answer")
    assert re.findall(r">(\d+)</text>", svg) == ["5", "2", "4"]
    assert svg.count("cat") == 2


@pytest.mark.parametrize(
    ("counts", "names"),
    [([], []), ([[1, 2]], ["a"]), ([[1]], ["a", "b"]), ([[1] * (MOST_CLASSES + 1)] * (MOST_CLASSES + 1), ["a"] * 61)],
)
def test_what_is_no_matrix_is_not_drawn(counts: list[list[int]], names: list[str]) -> None:
    """Nor one with more classes than can be seen."""
    assert matrix(counts, names, description="d", answer="a") == ""


def test_attempts_that_overlap_are_below_each_other() -> None:
    """On the same card; those that do not share a row."""
    svg = lanes([Bar("GPU 0", 0, 5, "a"), Bar("GPU 0", 2, 6, "b"), Bar("GPU 0", 5, 9, "c")], description="d")
    tops = re.findall(r'<rect class="bar[^"]*" x="[\d.]+" y="(\d+)"', svg)
    assert sorted(tops) == sorted([tops[0], tops[0], tops[2]])
    assert len(set(tops)) == 2


@pytest.mark.parametrize(
    "svg",
    [
        curves([Line(HOSTILE, [(1.0, 1.0)])], description=HOSTILE, x_title=HOSTILE, y_title=HOSTILE),
        matrix([[1, 1], [1, 1]], [HOSTILE, HOSTILE], description=HOSTILE, answer="a"),
        lanes([Bar(HOSTILE, 0, 1, HOSTILE)], description=HOSTILE),
    ],
)
def test_names_stay_text(svg: str) -> None:
    """Neither an element nor an attribute nor a control character comes out of a name."""
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert len(re.findall("<svg|<path|<g>|<rect|<circle|<text|<title", svg)) == svg.count("<") - svg.count("</")


@pytest.mark.parametrize("module", [figures, matrix_module, scale, words], ids=lambda module: module.__name__)
def test_the_examples_are_true(module: object) -> None:
    """What the docstrings show is what comes out."""
    found = doctest.testmod(module)  # type: ignore[arg-type]  # a module
    assert found.attempted
    assert not found.failed
