"""When a training saves, and how it goes on when the disk takes nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from parallel_ml.training.checkpoint import capture, save_model, save_state
from parallel_ml.training.console import log
from parallel_ml.training.files import is_full, not_writable

if TYPE_CHECKING:
    from collections.abc import Callable

    from parallel_ml.training.checkpoint import Arrays, Progress
    from parallel_ml.training.settings import ModelSettings
    from parallel_ml.training.statefile import StateFolder


class Keeper:
    """Writes the best model and the states to go on from.

    What cannot be written is told once and tried again at the next occasion: a full disk ends no training, and a file
    server that is gone for a while neither. Until the best model is on the disk its weights are held, and no state is
    saved that would speak of it.
    """

    def __init__(self, settings: ModelSettings, states: StateFolder, model: Any) -> None:
        """Begin with nothing saved."""
        self._settings, self._states, self._model = settings, states, model
        self._held: list[np.ndarray] | None = None
        self._fails = self._worked = False
        self._last = time.monotonic()

    def is_due(self, updates: int) -> bool:
        """Return whether a state should be saved within an epoch, after so many of its updates."""
        every = self._settings.save_every_updates
        if every is not None:
            return updates % every == 0
        return time.monotonic() - self._last >= self._settings.save_every_s

    def keep_best(self) -> None:
        """Save the model as it is now as the best one."""
        self._held = None
        if not self._attempt("the best model", lambda: save_model(self._model, self._settings.checkpoint)):
            self._held = self._weights()

    def save(self, progress: Progress, metrics: Arrays | None = None) -> None:
        """Save a state.

        Args:
            progress: How far the training is.
            metrics: The variables of the metrics, where they are not as they should be saved.
        """
        self._last = time.monotonic()
        if self._held is not None and self._attempt("the best model", self._save_held):
            self._held = None
        if self._held is not None:
            return
        arrays = {**capture(self._model), **(metrics or {})}
        if self._attempt("its state", lambda: save_state(self._states, arrays, progress)) and self._fails:
            self._fails = False
            log.info("the training can be saved again")

    def finish(self) -> None:
        """Save the best model if that is still to do.

        Raises:
            OSError: That cannot be done, and it is what the training was for.
        """
        if self._held is not None:
            self._save_held()
            self._held = None

    def _attempt(self, what: str, save: Callable[[], object]) -> bool:
        try:
            save()
        except (OSError, RuntimeError) as error:
            reason = not_writable(error)
            # Where nothing could ever be written the path is wrong, and the training would be for nothing.
            if reason is None or not (self._worked or is_full(reason)):
                raise
            if not self._fails:
                log.warning("cannot save %s: %s; the training goes on, and what was saved before stays", what, reason)
            self._fails = True
            return False
        self._worked = True
        return True

    def _save_held(self) -> None:
        assert self._held is not None  # noqa: S101 - both callers look
        now = self._weights()
        self._put(self._held)
        try:
            save_model(self._model, self._settings.checkpoint)
        finally:
            self._put(now)

    def _weights(self) -> list[np.ndarray]:
        return [np.array(variable) for variable in self._model.variables]

    def _put(self, weights: list[np.ndarray]) -> None:
        for variable, value in zip(self._model.variables, weights, strict=True):
            variable.assign(value)
