"""Values that differ, whole and in the cells of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.core.differences import differences, shortened
from parallel_ml.core.text import cell_width

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG = "/data/someone/experiments/replay.py"


def whole(values: Sequence[Any]) -> list[str]:
    """Return what is told of a parameter with these values."""
    return differences([{"params": {"x": value}} for value in values])[0][1]


def short(values: Sequence[Any]) -> list[str]:
    """Return the same for a table."""
    return shortened([("x", whole(values))])[0][1]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([["python", "rep.py", "0.11"], ["python", "rep.py", "0.12"]], ["python rep.py 0.11", "python rep.py 0.12"]),
        ([["python", LONG, "0.11"], ["python", LONG, "0.12"]], ["… 0.11", "… 0.12"]),
        ([["python", LONG, "--lr", "1", "-v"], ["python", LONG, "--lr", "2", "-v"]], ["… --lr 1 …", "… --lr 2 …"]),
        ([[LONG, "a", "b", "c"], [LONG, "x", "b", "z"], None], ["… a … c", "… x … z", "-"]),
        ([[LONG, "--all", "--name", "a"], [LONG, "--name", "a"]], ["… --all …", "…"]),
        ([f"{LONG}/fold-1.npz", f"{LONG}/fold-2.npz"], ["…fold-1.npz", "…fold-2.npz"]),
        (["a" * 40 + "1", "a" * 40 + "2"], ["…1", "…2"]),
        ([0.1234567, 0.1234568], ["0.1234567", "0.1234568"]),
        ([LONG, None], ["/data/someone/experimen…", "-"]),
    ],
)
def test_values_are_shortened_where_they_are_alike(values: list[Any], told: list[str]) -> None:
    """What differs stands there, with the option that it is the value of."""
    assert short(values) == told


def test_values_that_a_table_cuts_are_whole_before() -> None:
    """For programs: nothing is left out of what anybody would write."""
    assert whole([["python", LONG, "0.11"], ["python", LONG, "0.12"]]) == [f"python {LONG} 0.11", f"python {LONG} 0.12"]


def test_even_the_whole_has_an_end() -> None:
    """A configuration may hold a book."""
    found = whole(["a" * 50_000 + "1" + "b" * 50_000, "a" * 50_000 + "2" + "b" * 50_000])
    assert max(map(cell_width, found)) <= 1000
    assert found[0] != found[1]


def test_a_cut_that_makes_values_alike_is_wider() -> None:
    """Of four values two and two begin alike."""
    assert len(set(short([letter * 30 + end for letter in "ab" for end in "12"]))) == 4


@given(st.lists(st.text("ab -…/1.", max_size=70), min_size=2, max_size=5).filter(lambda texts: len(set(texts)) > 1))
def test_values_that_differ_never_look_alike(texts: list[str]) -> None:
    """Whatever they are."""
    values = [text for text in texts if text.strip() != "-"] or ["a"]
    found = shortened([("x", values)])[0][1]
    assert len(set(found)) == len(set(values))
    assert [found[values.index(value)] for value in values] == found
