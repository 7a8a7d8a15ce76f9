"""Figures about a classifier's answers."""

from __future__ import annotations

import numpy as np
import pytest

from parallel_ml.training.scores import score


def test_the_figures_of_known_answers() -> None:
    """Four samples of two classes, one of them taken for the other."""
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]])
    found = score(probabilities, np.array([0, 0, 1, 0]))
    assert found.accuracy == 0.75
    assert found.loss == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.5]).mean())
    assert found.confusion.tolist() == [[2, 1], [0, 1]]
    report = found.report(["a", "b"])
    assert report["a"] == {"precision": 1.0, "recall": pytest.approx(2 / 3), "f1": pytest.approx(0.8), "support": 3}
    assert report["b"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}


def test_a_class_without_samples_or_answers_scores_zero() -> None:
    """A share of nothing is 0, not an error."""
    report = score(np.array([[1.0, 0.0]]), np.array([0])).report(["a", "b"])
    assert report["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
