"""Text that is safe to show."""

from __future__ import annotations

import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.adapters.cli import arguments, cells, colours, glyphs, main, table
from parallel_ml.adapters.cli.text import ago, cell_width, number, safe, shorten


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("one\r\ntwo\tthree", "one two three"),
        ("bell\x07 nul\x00", "bell\ufffd nul\ufffd"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("half \ud800", "half \ufffd"),
        ("\x1b]0;never closed", "0;never closed"),
        ("训练 é", "训练 é"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(written: str, shown: str) -> None:
    """Escape sequences vanish, line breaks are spaces, other controls are U+FFFD, letters stay."""
    assert safe(written) == shown


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(written: str) -> None:
    """Whatever comes in, no control character and no half of a surrogate pair goes out."""
    assert not {unicodedata.category(char) for char in safe(written)} & {"Cc", "Cs", "Zl", "Zp"}


@given(st.text(), st.integers(min_value=0, max_value=50))
def test_a_shortened_text_fits(written: str, width: int) -> None:
    """A text is never wider than it was cut to, and one that fits is left as it is."""
    shown = safe(written)
    cut = shorten(shown, width)
    assert cell_width(cut) <= width
    assert cut == shown or cell_width(shown) > width


def test_chinese_characters_take_two_cells() -> None:
    """A text is cut by what it takes on the terminal, not by its characters."""
    assert shorten("训练训练", 5) == "训练…"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.97123, "0.9712"), (1234567, "1234567"), (None, ""), ("nan", "nan"), (True, "True")]
)
def test_a_number_is_short(value: object, shown: str) -> None:
    """Four digits of a fraction, all of a whole number, nothing for what is not known."""
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "0 s ago"), (59.9, "60 s ago"), (60, "1 min ago"), (3599, "59 min ago"), (86400, "1 d ago")],
)
def test_an_age_has_one_unit(seconds: float, shown: str) -> None:
    """The largest unit that fits."""
    assert ago(seconds) == shown


@pytest.mark.parametrize("module", [arguments, cells, colours, glyphs, main, table], ids=lambda module: module.__name__)
def test_the_examples_are_true(module: object) -> None:
    """What the docstrings show is what comes out."""
    found = doctest.testmod(module)  # type: ignore[arg-type]  # a module
    assert found.attempted
    assert not found.failed
