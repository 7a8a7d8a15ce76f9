"""What is learned: classes, or a number. How the two are told and judged; the framework's part is in `trainer`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from parallel_ml.training.scores import score


class Task(Protocol):
    """What the trainings have in common."""

    @property
    def outputs(self) -> int:
        """Values that a model gives for each sample."""

    @property
    def measures(self) -> tuple[str, ...]:
        """The figures of an epoch as the training has them; each has a `val_` twin."""

    def in_units(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Return an epoch's figures under the names and in the units that people read."""

    def judge(self, outputs: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        """Return what `result.json` says of the test samples.

        Args:
            outputs: float64 (samples, outputs); probabilities where classes are told apart.
            truth: The labels.
        """

    def untested(self) -> dict[str, Any]:
        """Return the same where there is no test sample."""

    def summary(self, judged: Mapping[str, Any]) -> str:
        """Return the main figures of `judge` as a line."""


@dataclass(frozen=True)
class Classification:
    """Telling classes apart; labels are places in `classes`."""

    classes: tuple[str, ...]
    measures = ("loss", "accuracy")

    @property
    def outputs(self) -> int:
        """One for each class."""
        return len(self.classes)

    def in_units(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Return them as they are."""
        return dict(figures)

    def judge(self, outputs: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        """Return accuracy, loss, the report by class and the confusion matrix."""
        scores = score(outputs, truth)
        return {
            "test_accuracy": scores.accuracy,
            "test_loss": _finite(scores.loss),
            "report": scores.report(self.classes),
            "confusion_matrix": scores.confusion.tolist(),
        }

    def untested(self) -> dict[str, Any]:
        """Return the keys without figures."""
        return {"test_accuracy": None, "test_loss": None, "report": {}, "confusion_matrix": []}

    def summary(self, judged: Mapping[str, Any]) -> str:
        """Return accuracy and loss."""
        return f"accuracy {judged['test_accuracy']:.4f}, loss {_shown(judged['test_loss'])}"


@dataclass(frozen=True)
class Regression:
    """Foretelling a number. Models learn how many `scale` it is above `mean`: labels are that, float32 (samples, 1).

    Losses are in those terms, so that rates and patience mean the same whatever the unit; errors are in the unit.

    Attributes:
        loss: `mse` or `mae`.
    """

    mean: float
    scale: float
    loss: str = "mse"
    measures = ("loss", "mae", "r2")

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def labels(self, values: np.ndarray) -> np.ndarray:
        """Return numbers as a model learns them."""
        return ((values - self.mean) / self.scale).astype(np.float32).reshape(-1, 1)

    def numbers(self, outputs: np.ndarray) -> np.ndarray:
        """Return what a model gives, (samples, 1), as numbers in the unit."""
        return np.asarray(outputs, dtype=np.float64)[:, 0] * self.scale + self.mean

    def in_units(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Return errors in the unit; those of the training rows are called `train_mae` and `train_r2`."""
        told = {}
        for name, value in figures.items():
            known = value * self.scale if name in ("mae", "val_mae") else value
            told[f"train_{name}" if name in ("mae", "r2") else name] = known
        return told

    def judge(self, outputs: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
        """Return errors in the unit, the share of the variance that is explained, and the loss."""
        wrong = outputs[:, 0] - truth[:, 0].astype(np.float64)
        squared, variance = float((wrong**2).mean()), float(truth.astype(np.float64).var())
        absolute = float(np.abs(wrong).mean())
        return {
            "test_mae": _finite(absolute * self.scale),
            "test_rmse": _finite(math.sqrt(squared) * self.scale),
            "r2": _finite(1 - squared / variance) if variance else None,
            "test_loss": _finite(squared if self.loss == "mse" else absolute),
        }

    def untested(self) -> dict[str, Any]:
        """Return the keys without figures."""
        return dict.fromkeys(("test_mae", "test_rmse", "r2", "test_loss"))

    def summary(self, judged: Mapping[str, Any]) -> str:
        """Return the errors and r2."""
        return f"mae {_shown(judged['test_mae'])}, rmse {_shown(judged['test_rmse'])}, r2 {_shown(judged['r2'])}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"
