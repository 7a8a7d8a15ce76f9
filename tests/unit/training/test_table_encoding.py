"""How columns become what a model takes, and that it is written down."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.training.table_columns import Numbers, Texts
from parallel_ml.training.table_encoding import (
    CategoryEncoding,
    Encoding,
    NumberEncoding,
    as_json,
    fit,
    from_json,
    mean_and_scale,
)

nan = math.nan


def numbers(*values: float) -> Numbers:
    """Return a column."""
    return Numbers("a", np.array(values, dtype=np.float64))


def texts(*values: str) -> Texts:
    """Return a column; "" is nothing."""
    known = tuple(dict.fromkeys(value for value in values if value))
    return Texts("a", np.array([known.index(value) if value else -1 for value in values], dtype=np.int32), known)


def encoded(encoding: Encoding, column: Numbers | Texts) -> list[list[float]]:
    """Return the rows of one column."""
    rows = len(column.values) if isinstance(column, Numbers) else len(column.codes)
    out = np.full((rows, encoding.width), nan, dtype=np.float32)
    encoding.encode(column, out)
    return out.tolist()


def test_only_the_rows_to_train_on_decide() -> None:
    """Mean and deviation of the first two; the third is measured by them."""
    column = numbers(1, 3, 100)
    assert encoded(fit(column, np.array([0, 1])), column) == [[-1], [1], [98]]


def test_an_unknown_number_is_the_median_and_says_so() -> None:
    """In a column that has such in training; where it has none, the median alone."""
    column = numbers(0, 1, 5, nan)
    told = fit(column, np.arange(4))
    assert (told.width, encoded(told, column)[3][1], encoded(told, column)[0][1]) == (2, 1, 0)
    assert encoded(told, column)[3][0] == encoded(told, column)[1][0]
    silent = fit(column, np.arange(3))
    assert (silent.width, encoded(silent, column)[3]) == (1, encoded(silent, column)[1])


def test_a_constant_column_and_one_without_values_are_zeros() -> None:
    """No division by nothing."""
    assert encoded(fit(numbers(7, 7), np.arange(2)), numbers(7, 7)) == [[0], [0]]
    assert encoded(fit(numbers(nan, 5), np.array([0])), numbers(nan, 0)) == [[0, 1], [0, 0]]


def test_texts_are_ones_and_what_training_has_not_seen_is_none() -> None:
    """Rows without a text have a place of their own."""
    column = texts("b", "a", "", "c")
    told = fit(column, np.array([0, 1, 2]))
    assert told == CategoryEncoding("a", ("a", "b"), tells_missing=True)
    assert encoded(told, column) == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert told.encode(column, np.empty((4, 3), dtype=np.float32)) == 1


def test_without_such_rows_in_training_a_missing_text_is_none() -> None:
    """There is no place for it, and it is not foreign."""
    told = fit(texts("b", "a"), np.arange(2))
    out = np.empty((1, 2), dtype=np.float32)
    assert (told.encode(texts(""), out), out.tolist()) == (0, [[0, 0]])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_no_number_is_too_large_or_too_small(values: list[float]) -> None:
    """Any finite values give finite ones, and scaling has a scale that is not 0."""
    column = numbers(*values)
    told = fit(column, np.arange((len(values) + 1) // 2))
    assert np.isfinite(encoded(told, column)).all()
    assert isinstance(told, NumberEncoding)
    assert told.scale > 0
    assert math.isfinite(told.mean)
    assert told.fill in values


def test_mean_and_scale_are_those_of_numpy() -> None:
    """For values of any usual size."""
    values = np.array([1e9, 1e9 + 1, 1e9 + 5])
    assert mean_and_scale(values) == pytest.approx((values.mean(), values.std()), rel=1e-6)


def test_encodings_come_back_from_json() -> None:
    """To the last bit."""
    told = (fit(numbers(0.1, 1 / 3, nan), np.arange(3)), fit(texts("é", "", "b"), np.arange(3)))
    assert from_json(json.loads(json.dumps(as_json(told)))) == told
