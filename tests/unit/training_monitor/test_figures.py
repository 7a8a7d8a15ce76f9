"""What a training returned, read as figures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.training_monitor.figures import FIGURES, as_number, read_figures

HISTORY = {
    "loss": [0.9, 0.5, 0.4],
    "accuracy": [0.5, 0.7, 0.9],
    "val_loss": [0.8, 0.6, 0.7],
    "val_accuracy": [0.6, 0.8, 0.7],
}
OF_HISTORY = {"epochs": 3, "final_loss": 0.7, "final_accuracy": 0.7, "best_accuracy": 0.8, "best_epoch": 2}


class Hostile:
    """An object that raises whatever is asked of it."""

    def __float__(self) -> float:
        """Refuse."""
        raise RuntimeError

    def __len__(self) -> int:
        """Refuse."""
        raise RuntimeError

    def __iter__(self) -> Iterator[Any]:
        """Refuse."""
        raise RuntimeError

    @property
    def history(self) -> Any:
        """Refuse."""
        raise RuntimeError


def test_named_figures_are_taken_as_they_stand() -> None:
    """The five names of the result dict are read, whole numbers as such, and what else is a number beside them."""
    told = {"final_loss": 0.1, "final_accuracy": 0.9, "best_epoch": 2.0, "best_accuracy": 0.95, "epochs": 3, "f1": 0.8}
    assert read_figures(told) == (
        {"final_loss": 0.1, "final_accuracy": 0.9, "best_epoch": 2, "best_accuracy": 0.95, "epochs": 3},
        {"f1": 0.8},
    )


@pytest.mark.parametrize(
    "result",
    [
        HISTORY,
        SimpleNamespace(history=HISTORY),
        SimpleNamespace(history=SimpleNamespace(history=HISTORY)),
        {"history": HISTORY, "model": object()},
        {"history": SimpleNamespace(history=HISTORY)},
        (object(), SimpleNamespace(history=HISTORY)),
    ],
    ids=["dict of lists", "History", "model", "dict in a dict", "History in a dict", "tuple"],
)
def test_curves_are_read_wherever_they_are(result: Any) -> None:
    """Keras's History, a trained model, a dict of lists, and what holds one: all tell the same, by the validation."""
    assert read_figures(result)[0] == OF_HISTORY


def test_what_is_named_wins_over_the_curves() -> None:
    """A result that names its best epoch has said which one it is."""
    assert read_figures({**HISTORY, "best_epoch": 1})[0]["best_epoch"] == 1


def test_without_accuracy_the_lowest_loss_is_the_best() -> None:
    """A regression has a best epoch too, and no accuracy."""
    figures, further = read_figures({"loss": [3.0, 1.0, 2.0], "mae": [1.0, 0.5, 0.6]})
    assert figures == {"epochs": 3, "final_loss": 2.0, "best_epoch": 2}
    assert further["mae"] == 0.6


def test_values_that_are_none_are_never_the_best() -> None:
    """A NaN in the middle hides no best epoch; a curve of them has none."""
    assert read_figures({"val_accuracy": [math.nan, 0.5, math.nan]})[0]["best_epoch"] == 2
    assert "best_epoch" not in read_figures({"loss": [math.nan, math.inf]})[0]


@pytest.mark.parametrize(
    "result",
    [None, 3, "text", b"x", [], {}, {"final_loss": "low", "epochs": True}, Hostile(), {"loss": Hostile()}, {1: 2}],
)
def test_what_tells_nothing_is_read_as_nothing(result: Any) -> None:
    """Whatever a function returns, reading it raises nothing and makes nothing up."""
    assert read_figures(result) == ({}, {})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["loss", "val_accuracy", "epochs", "best_epoch", "history", "x"]), inner)
    ),
    max_leaves=12,
)


@given(ANYTHING)
def test_any_result_is_read_without_an_exception(result: Any) -> None:
    """What comes out are numbers under known names, whatever went in."""
    figures, further = read_figures(result)
    assert set(figures) <= set(FIGURES)
    assert all(isinstance(value, (int, float)) for value in (*figures.values(), *further.values()))


def test_data_is_no_curve() -> None:
    """Rows of a data set in the result are not taken for a value an epoch."""
    assert read_figures({"loss": [[1.0], [2.0]], "names": ["a", "b"]}) == ({}, {})


def test_a_scalar_of_an_array_library_is_a_number() -> None:
    """What has a float in it is a number; texts, truth values and hostile objects are none."""
    assert as_number(SimpleNamespace()) is None
    assert as_number(Hostile()) is None
    assert (as_number(2), as_number(True), as_number("2"), as_number(None)) == (2.0, None, None, None)
