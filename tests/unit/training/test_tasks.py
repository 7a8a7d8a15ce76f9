"""Classes and numbers: their figures in the units and under the names that people read."""

from __future__ import annotations

import numpy as np
import pytest

from parallel_ml.training.progress import Watched, resolve_monitor
from parallel_ml.training.tasks import Classification, Regression


def test_errors_of_numbers_are_in_their_unit() -> None:
    """Losses are not, so that a rate means the same whatever the unit."""
    task = Regression(mean=100, scale=20)
    given = {"loss": 0.5, "mae": 0.1, "r2": 0.5, "val_loss": 0.6, "val_mae": 0.2, "val_r2": 0.4}
    assert task.in_units(given) == {
        "loss": 0.5,
        "train_mae": 2.0,
        "train_r2": 0.5,
        "val_loss": 0.6,
        "val_mae": 4.0,
        "val_r2": 0.4,
    }


def test_numbers_are_judged_in_their_unit() -> None:
    """By the usual formulas."""
    task = Regression(mean=10, scale=2)
    truth = np.array([8.0, 10.0, 12.0, 14.0])
    guess = np.array([9.0, 10.0, 12.0, 11.0])
    judged = task.judge(((guess - 10) / 2).reshape(-1, 1), task.labels(truth))
    assert judged == pytest.approx({"test_mae": 1.0, "test_rmse": 2.5**0.5, "r2": 1 - 10 / 20, "test_loss": 2.5 / 4})
    assert Regression(10, 2, "mae").judge(((guess - 10) / 2).reshape(-1, 1), task.labels(truth))[
        "test_loss"
    ] == pytest.approx(0.5)


def test_what_has_no_value_is_null() -> None:
    """The r2 of equal values, errors that are no numbers, and all of it without a test."""
    task = Regression(0, 1)
    assert task.judge(np.ones((2, 1)), np.ones((2, 1)))["r2"] is None
    assert task.judge(np.full((2, 1), np.nan), np.ones((2, 1)))["test_mae"] is None
    assert "not known" in task.summary(task.untested())


def test_each_task_tells_the_same_keys_with_and_without_a_test() -> None:
    """Whoever reads a result finds them."""
    classes, number = Classification(("a", "b")), Regression(0, 1)
    assert classes.judge(np.array([[0.9, 0.1]]), np.array([0])).keys() == classes.untested().keys()
    assert number.judge(np.zeros((2, 1)), np.ones((2, 1))).keys() == number.untested().keys()


def test_r2_should_rise_and_an_error_fall() -> None:
    """Under the names of a configuration, with and without validation."""
    assert resolve_monitor("val_r2", has_validation=False) == "train_r2"
    assert resolve_monitor("mae", has_validation=True) == "train_mae"
    rising, falling = Watched("val_r2"), Watched("val_mae")
    assert [rising.observe({"val_r2": value}) for value in (-1.0, 0.5, 0.4)] == [True, True, False]
    assert [falling.observe({"val_mae": value}) for value in (3.0, 2.0, 2.5)] == [True, True, False]
