"""When a training saves, and how it goes on when the disk takes nothing."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from parallel_ml.training.checkpoint import capture, save_model, save_state
from parallel_ml.training.console import log
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.files import is_full, not_writable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from parallel_ml.training.checkpoint import Arrays, Progress
    from parallel_ml.training.settings import ModelSettings
    from parallel_ml.training.statefile import StateFolder


class Keeper:
    """Writes the best model and the states to go on from; on a full disk the oldest states make room for it.

    What cannot be written is told once and tried again at the next occasion: a full disk ends no training, and a file
    server that is gone for a while neither. Until the best model is on the disk its weights are held, and no state is
    saved that would speak of it.
    """

    def __init__(self, settings: ModelSettings, states: StateFolder, model: Any) -> None:
        """Begin with nothing saved."""
        self._settings, self._states, self._model = settings, states, model
        self._held: list[np.ndarray] | None = None
        self._fails = self._worked = self._at_end = False
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
        if not self._attempt("the best model", self._save_model):
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

    def finish(self, *, with_last: bool) -> None:
        """Save the best model if that is still to do; or, `with_last`, the model as it is now in its place.

        Raises:
            TrainingError: That cannot be done, and it is what the training was for.
        """
        self._at_end = True
        try:
            if with_last:
                self._save_model()
            elif self._held is not None:
                self._save_held()
        except (OSError, RuntimeError) as error:
            reason = not_writable(error)
            if reason is None:
                raise
            raise TrainingError(
                f"{self._settings.checkpoint}: the model cannot be saved: {reason}; solve that (free some space, say) "
                "and retry the job: it goes on from its last saved state"
            ) from error
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
            self._save_model()
        finally:
            self._put(now)

    def _save_model(self) -> None:
        path = self._settings.checkpoint
        while True:
            try:
                save_model(self._model, path)
            except (OSError, RuntimeError) as error:
                if not self._make_room(path, not_writable(error) or ""):
                    raise
            else:
                return

    def _make_room(self, path: Path, reason: str) -> bool:
        """Remove what may go for the model; at the end that is also the one in its place, which is as large."""
        if not is_full(reason):
            return False
        if self._states.make_room(path):
            return True
        replaceable = self._at_end and path.exists() and reason != os.strerror(errno.EFBIG)
        if replaceable:
            path.unlink()
        return replaceable

    def _weights(self) -> list[np.ndarray]:
        return [np.array(variable) for variable in self._model.variables]

    def _put(self, weights: list[np.ndarray]) -> None:
        for variable, value in zip(self._model.variables, weights, strict=True):
            variable.assign(value)
