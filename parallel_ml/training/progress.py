"""Whether a figure gets better from epoch to epoch: asked for the best model, early stopping, the plateau schedule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SAME = {
    "train_loss": "loss",
    "train_accuracy": "accuracy",
    "acc": "accuracy",
    "val_acc": "val_accuracy",
    "mae": "train_mae",
    "r2": "train_r2",
}


def resolve_monitor(name: str, *, has_validation: bool) -> str:
    """Return the figure that a `monitor` means: `train_loss` is `loss`, and without validation data `val_loss` is too.

    >>> resolve_monitor("val_acc", has_validation=True), resolve_monitor("val_loss", has_validation=False)
    ('val_accuracy', 'loss')
    """
    same = _SAME.get(name, name)
    if has_validation:
        return same
    own = same.removeprefix("val_")
    return _SAME.get(own, own)


class Watched:
    """One figure over the epochs.

    A value that is not a number is no progress and never becomes the best one, so that one bad first epoch does not
    make every later one look worse.

    Attributes:
        best: The best value so far, or None.
        best_epoch: Its epoch, from 1.
        waited: Epochs since then.
    """

    def __init__(self, monitor: str, mode: str | None = None, min_delta: float = 0.0) -> None:
        """Watch `monitor`; without a mode (`min`, `max`) an accuracy and r2 should rise and anything else fall."""
        self.monitor, self.min_delta = monitor, abs(min_delta)
        rises = "acc" in monitor or monitor.endswith("r2") if mode in (None, "auto") else mode == "max"
        self._sign = 1.0 if rises else -1.0
        self.best: float | None = None
        self.best_epoch = 0
        self.waited = 0
        self._seen = 0

    def observe(self, figures: Mapping[str, float]) -> bool:
        """Take the figures of the next epoch; return whether it is the best so far."""
        self._seen += 1
        value = figures.get(self.monitor, math.nan)
        better = math.isfinite(value) and (self.best is None or self._sign * (value - self.best) > self.min_delta)
        if better:
            self.best, self.best_epoch, self.waited = value, self._seen, 0
        else:
            self.waited += 1
        return better

    def judge_anew(self, last: Mapping[str, float]) -> bool:
        """Forget the best value; return whether that of the last epoch, whose figures are `last`, takes its place."""
        value = last.get(self.monitor, math.nan)
        found = math.isfinite(value)
        self.best, self.best_epoch, self.waited = (value, self._seen, 0) if found else (None, 0, self._seen)
        return found

    def state(self) -> dict[str, Any]:
        """Return what must survive a restart, as JSON values."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited, "seen": self._seen}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.waited, self._seen = state["waited"], state["seen"]
