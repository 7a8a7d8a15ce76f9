"""How the learning rate changes from epoch to epoch. Pure: no framework.

The rate is set once an epoch. A schedule inside the optimizer would count batches, and gradient accumulation would make
it run as many times too fast as batches make one update.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from parallel_ml.training.failures import TrainingError
from parallel_ml.training.progress import Watched, resolve_monitor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parallel_ml.training.settings import ScheduleSettings

KINDS = ("step", "plateau", "cosine")


class Schedule(Protocol):
    """Gives the rate of each epoch."""

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch; 0 is the first."""

    def observe(self, figures: Mapping[str, float]) -> None:
        """Take note of what an epoch ended with."""

    def state(self) -> dict[str, Any]:
        """Return what must survive a restart, as JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""


class ByEpoch:
    """A rate that follows from the epoch's number alone."""

    def __init__(self, base: float) -> None:
        """Keep the rate to start from."""
        self.base = base

    def rate(self, _epoch: int) -> float:
        """Return the constant rate."""
        return self.base

    def observe(self, figures: Mapping[str, float]) -> None:
        """Ignore the figures."""

    def state(self) -> dict[str, Any]:
        """Return nothing: the epoch says it all."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Need nothing."""


class Step(ByEpoch):
    """Multiplies by `gamma` every `step_size` epochs."""

    def __init__(self, base: float, step_size: int, gamma: float) -> None:
        """Keep the keys."""
        super().__init__(base)
        self.step_size, self.gamma = step_size, gamma

    def rate(self, epoch: int) -> float:
        """Return the rate after the cuts so far.

        >>> schedule = Step(0.1, 30, 0.1)
        >>> [round(schedule.rate(epoch), 6) for epoch in (0, 29, 30, 60)]
        [0.1, 0.1, 0.01, 0.001]
        """
        return float(self.base * self.gamma ** (epoch // self.step_size))


class Cosine(ByEpoch):
    """Falls along half a cosine (Loshchilov & Hutter 2017, SGDR, without restarts), after a linear warm-up."""

    def __init__(self, base: float, epochs: int, min_lr: float, warmup_epochs: int) -> None:
        """Keep the keys; the floor is reached where epoch `epochs` would begin."""
        super().__init__(base)
        self.epochs, self.min_lr, self.warmup = epochs, min_lr, warmup_epochs

    def rate(self, epoch: int) -> float:
        """Return the rate of an epoch.

        >>> [round(Cosine(0.1, 4, 0.0, 0).rate(epoch), 4) for epoch in range(4)]
        [0.1, 0.0854, 0.05, 0.0146]
        """
        if epoch < self.warmup:
            return self.base * (epoch + 1) / self.warmup
        share = min(1.0, (epoch - self.warmup) / max(1, self.epochs - self.warmup))
        return self.min_lr + (self.base - self.min_lr) * (1 + math.cos(math.pi * share)) / 2


class Plateau:
    """Multiplies by `factor` when what is watched has not got better for `patience` epochs."""

    def __init__(self, base: float, settings: ScheduleSettings, monitor: str) -> None:
        """Start at `base` and watch `monitor`."""
        self._rate, self._settings = base, settings
        self._watched = Watched(monitor, settings.mode, settings.min_delta)

    def rate(self, _epoch: int) -> float:
        """Return the rate as it stands."""
        return self._rate

    def observe(self, figures: Mapping[str, float]) -> None:
        """Cut the rate where patience has run out."""
        self._watched.observe(figures)
        if self._watched.waited >= max(1, self._settings.patience):
            self._rate = min(self._rate, max(self._rate * self._settings.factor, self._settings.min_lr))
            self._watched.waited = 0

    def state(self) -> dict[str, Any]:
        """Return the rate and what was seen."""
        return {"rate": self._rate, "watched": self._watched.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._rate = state["rate"]
        self._watched.restore(state["watched"])


def make_schedule(
    settings: ScheduleSettings | None, base: float, epochs: int, *, has_validation: bool = True
) -> Schedule:
    """Return the schedule that is asked for, starting from the rate `base`.

    Raises:
        TrainingError: No schedule has this name.
    """
    if settings is None:
        return ByEpoch(base)
    if settings.kind == "step":
        return Step(base, settings.step_size, settings.gamma)
    if settings.kind == "cosine":
        return Cosine(base, epochs, settings.min_lr, settings.warmup_epochs)
    if settings.kind == "plateau":
        return Plateau(base, settings, resolve_monitor(settings.monitor, has_validation=has_validation))
    raise TrainingError(f"no learning_rate_scheduler is called {settings.kind}; there are {', '.join(KINDS)}")
