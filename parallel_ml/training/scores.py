"""Figures about a classifier's answers, with numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class Scores:
    """How well the classes were told apart.

    Attributes:
        accuracy: Share of right answers.
        loss: Mean cross-entropy in nats, each probability at least 1e-7 as in Keras.
        confusion: Counts; a row is the true class, a column the answer.
    """

    accuracy: float
    loss: float
    confusion: np.ndarray

    def report(self, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return precision, recall, f1 and support by class; a share of nothing is 0."""
        told = {}
        for number, name in enumerate(classes):
            right = int(self.confusion[number, number])
            support, answers = int(self.confusion[number].sum()), int(self.confusion[:, number].sum())
            precision, recall = right / max(1, answers), right / max(1, support)
            f1 = 2 * right / max(1, support + answers)
            told[name] = {"precision": precision, "recall": recall, "f1": f1, "support": support}
        return told


def score(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Compare answers with the truth.

    Args:
        probabilities: (samples, classes); a row adds up to 1.
        labels: The true class of each sample.
    """
    classes = probabilities.shape[1]
    answers = probabilities.argmax(axis=1)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, answers), 1)
    of_truth = probabilities[np.arange(len(labels)), labels]
    loss = -np.log(np.clip(of_truth, _LEAST_PROBABILITY, 1.0)).mean()
    return Scores(float((answers == labels).mean()), float(loss), confusion)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities (samples, classes) for what a model gives before its softmax."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares
