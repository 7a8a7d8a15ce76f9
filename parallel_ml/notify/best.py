"""By which metric a training is judged, its best epoch, and when a new best is worth a message."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.errors import StoreError
from parallel_ml.store.files import read_json, write_json

NEW_BEST_EVERY_S = 600.0
MIN_DELTA = 0.001
"""As early stopping has it: less is noise."""
_FIRST = ("val_accuracy", "val_loss", "train_accuracy", "train_loss", "accuracy", "loss")
_LESS_IS_BETTER = ("loss", "error", "mae", "mse", "rmse", "mape", "perplexity", "wer", "cer")
_MORE_IS_BETTER = ("acc", "accuracy", "f1", "auc", "precision", "recall", "score", "r2", "map", "iou", "dice", "bleu")


def lowest_is_best(metric: str) -> bool | None:
    """Return whether less of a metric is better; None where its name does not say.

    >>> lowest_is_best("val_loss"), lowest_is_best("top5_acc"), lowest_is_best("temperature")
    (True, False, None)
    """
    words = metric.lower().replace("-", "_").replace("/", "_").replace(".", "_").split("_")
    if any(word in _LESS_IS_BETTER for word in words):
        return True
    return False if any(word in _MORE_IS_BETTER for word in words) else None


def measure_of(names: Sequence[str]) -> str | None:
    """Return the metric by which to judge: the validation's before the training's, known ones before own ones."""
    for wanted in _FIRST:
        if wanted in names:
            return wanted
    own = [name for name in names if lowest_is_best(name) is not None]
    return min(own, key=lambda name: (not name.startswith("val"), names.index(name)), default=None)


def finite(value: Any) -> float | None:
    """Return a figure that can be compared, or None."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if fits and math.isfinite(value) else None


def told_metrics(history: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the metrics of a history that have a value."""
    return [name for name, values in history.items() if name != "epochs" and any(finite(v) is not None for v in values)]


def best_epoch(history: Mapping[str, Sequence[Any]], metric: str) -> tuple[float, int | None] | None:
    """Return the best value of a metric over all epochs, and the epoch that had it."""
    values = [(finite(value), place) for place, value in enumerate(history.get(metric, []))]
    known = [(value, place) for value, place in values if value is not None]
    if not known:
        return None
    sign = 1.0 if lowest_is_best(metric) else -1.0
    value, place = min(known, key=lambda one: (sign * one[0], one[1]))
    epochs = history.get("epochs", [])
    return value, epochs[place] if place < len(epochs) else None


@dataclass(frozen=True)
class NewBest:
    """A real improvement over what was told before."""

    metric: str
    value: float
    epoch: int | None
    before: float


@dataclass
class _Known:
    metric: str
    told: float
    best: float
    epoch: int | None
    told_at: float | None = None


class BestTracker:
    """Watches the epochs of a run's jobs for improvements, and tells of them now and then.

    The first value is no improvement. One that comes too soon after the last message is told with a later epoch.
    """

    def __init__(self, memory: Path | None = None, every_s: float = NEW_BEST_EVERY_S) -> None:
        """Go on from what was told before.

        Args:
            memory: A file that remembers it over a restart, or None.
            every_s: A job's improvements are told at most so often.
        """
        self._memory, self._every_s = memory, every_s
        self._known: dict[str, _Known] = self._restored()

    def see(self, job: str, point: Mapping[str, Any], now: float) -> NewBest | None:
        """Take in an epoch; return what to tell, or None.

        Args:
            job: The job's name.
            point: A line of `metrics.jsonl`.
            now: The wall clock's seconds.
        """
        known = self._known.get(job)
        metric = known.metric if known else measure_of([name for name in point if finite(point[name]) is not None])
        value = finite(point.get(metric)) if metric else None
        if metric is None or value is None:
            return None
        epoch = point.get("epoch")
        if known is None:
            self._known[job] = _Known(metric, value, value, epoch)
            return None
        sign = 1.0 if lowest_is_best(metric) else -1.0
        if sign * value < sign * known.best:
            known.best, known.epoch = value, epoch
        if sign * (known.told - known.best) < MIN_DELTA:
            return None
        if known.told_at is not None and 0.0 <= now - known.told_at < self._every_s:
            return None
        found = NewBest(metric, known.best, known.epoch, known.told)
        known.told, known.told_at = known.best, now
        self._remember()
        return found

    def _restored(self) -> dict[str, _Known]:
        try:
            told = read_json(self._memory) if self._memory else None
            return {job: _known_of(known) for job, known in (told or {}).items()}
        except (StoreError, AttributeError, KeyError, TypeError, ValueError):
            return {}

    def _remember(self) -> None:
        if self._memory is None:
            return
        try:
            write_json(self._memory, {job: vars(known) for job, known in self._known.items() if known.told_at}, 0o600)
        except StoreError:
            self._memory = None  # the worst that comes of it is a message too many after a restart


def _known_of(told: Mapping[str, Any]) -> _Known:
    return _Known(str(told["metric"]), float(told["told"]), float(told["best"]), told["epoch"], finite(told["told_at"]))
