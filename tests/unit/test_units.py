"""Sizes and durations, from text and to text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.core.units import GIB, KIB, MIB, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1024", 1024),
        (1024, 1024),
        (1.5, 1),
        ("1b", 1),
        ("2k", 2 * KIB),
        ("2KiB", 2 * KIB),
        ("4000MB", 4000 * MIB),
        ("4000 MiB", 4000 * MIB),
        (" 4gib ", 4 * GIB),
        ("4G", 4 * GIB),
        ("0.5GiB", 512 * MIB),
        ("1tb", 1024 * GIB),
    ],
)
def test_a_size_is_read(text: str | float, size_bytes: int) -> None:
    """Every spelling of a size gives its bytes; MB means MiB."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "  ", "GiB", "-4GiB", "4 Gi B", "4GiB free", "4x", "1,5GiB", "1e3", "0x10", "nan", "inf"]
)
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    """The error repeats the text and shows how a size looks."""
    with pytest.raises(ValueError, match="is not a size such as 4GiB") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("value", [-1, -0.5, math.nan, math.inf, True, None, [4]])
@pytest.mark.parametrize("parse", [parse_size, parse_duration])
def test_a_value_that_is_no_quantity_is_refused(parse: object, value: object) -> None:
    """Negative and infinite numbers, booleans and other types are neither sizes nor durations."""
    with pytest.raises(ValueError, match="is not a"):
        parse(value)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (10, 10.0),
        (0.25, 0.25),
        ("10", 10.0),
        ("10s", 10.0),
        ("1.5 s", 1.5),
        ("250ms", 0.25),
        ("2m", 120.0),
        ("2 min", 120.0),
        ("1h", 3600.0),
        ("1H", 3600.0),
        ("2d", 172_800.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
    ],
)
def test_a_duration_is_read(text: str | float, seconds: float) -> None:
    """Every spelling of a duration gives its seconds; parts add up; a bare number is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "10 parsecs", "1h-30m", "1h and 30m", "1h30m!", "1h30x", "soon"])
def test_a_text_that_is_no_duration_is_refused(text: str) -> None:
    """The error repeats what was wrong and shows how a duration looks."""
    with pytest.raises(ValueError, match="is not a duration such as 10s, 5m or 2h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (None, "-"),
        (0, "0B"),
        (1023, "1023B"),
        (KIB, "1KiB"),
        (1536 * MIB, "1.5GiB"),
        (8 * GIB, "8GiB"),
        (16 * GIB - 1, "16GiB"),
    ],
)
def test_a_size_is_written_for_people(size_bytes: int | None, text: str) -> None:
    """The largest unit that fits, with at most one decimal; what is not known is a dash."""
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-3.0, "0.0s"),
        (4.2, "4.2s"),
        (9.94, "9.9s"),
        (10, "10s"),
        (59.4, "59s"),
        (75, "1m15s"),
        (3599.4, "59m59s"),
        (7260, "2h01m"),
        (90_000, "25h00m"),
    ],
)
def test_a_duration_is_written_for_people(seconds: float | None, text: str) -> None:
    """Two units at most; what is not known is a dash."""
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=2**53))
def test_a_number_of_bytes_is_read_exactly(size_bytes: int) -> None:
    """No size loses a byte, as a number or as text."""
    assert parse_size(size_bytes) == parse_size(str(size_bytes)) == size_bytes


@given(st.integers(min_value=0, max_value=2**50))
def test_a_written_size_is_read_back_to_within_its_rounding(size_bytes: int) -> None:
    """What `format_size` writes is a size, and its one decimal is right to half of a tenth of the unit."""
    unit = next((unit for unit in (GIB, MIB, KIB) if size_bytes >= unit), 1)
    assert abs(parse_size(format_size(size_bytes)) - size_bytes) <= unit * 0.05 + 1


@given(st.floats(min_value=0, max_value=1e7))
def test_a_written_duration_is_read_back_to_within_its_rounding(seconds: float) -> None:
    """What `format_duration` writes is a duration, right to half a unit (to a minute from one hour on)."""
    off = abs(parse_duration(format_duration(seconds)) - seconds)
    assert off <= (0.051 if seconds < 10 else 0.501 if seconds < 3599 else 60.5)


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    """No text makes the parsers fail in another way, and no quantity is negative."""
    for parse in (parse_size, parse_duration):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert "is not a" in str(error)  # noqa: PT017 - most texts are refused, a few are not
