"""What happens around each batch and each epoch, in one Keras callback."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from parallel_ml.training.checkpoint import Progress, save_model, save_state
from parallel_ml.training.console import log
from parallel_ml.training.failures import Diverged
from parallel_ml.training.progress import Watched, resolve_monitor
from parallel_ml.training.reporting import report
from parallel_ml.training.schedules import make_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parallel_ml.training.dataset import TrainingData
    from parallel_ml.training.settings import Settings
    from parallel_ml.training.stopping import StopRequest

_TOLD = ("loss", "accuracy", "val_loss", "val_accuracy")


class EpochCallback(keras.callbacks.Callback):
    """Sets order and rate before an epoch; judges, saves and reports after it; sees a stop request between batches.

    Keras's own callbacks are not used: their state is reset when training starts, so that they cannot go on exactly;
    and one that sees nan first never sees anything better.
    """

    def __init__(self, settings: Settings, data: TrainingData, stop: StopRequest, *, has_validation: bool) -> None:
        """Start before the first epoch."""
        super().__init__()
        self._settings, self._data, self._stop = settings, data, stop
        self.progress = Progress(accumulation=settings.model.accumulation)
        early = settings.model.early_stopping
        monitor = resolve_monitor(early.monitor if early else "val_loss", has_validation=has_validation)
        self.best = Watched(monitor, early.mode if early else None)
        self._patience = math.inf if early is None else max(1, early.patience)
        self._early = Watched(monitor, early.mode if early else None, early.min_delta if early else 0.0)
        self._schedule = make_schedule(
            settings.model.schedule, settings.model.learning_rate, settings.model.epochs, has_validation=has_validation
        )
        self._rate = self._started = 0.0

    def go_on(self, progress: Progress) -> None:
        """Go on from what an earlier attempt saved."""
        self.progress = progress
        self.progress.accumulation = self._settings.model.accumulation
        for name, watcher in self._watchers().items():
            watcher.restore(progress.watchers[name])

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's signature
        """Choose the order of the images and the learning rate."""
        self._started = time.monotonic()
        self._data.set_epoch(epoch)
        self._rate = self._schedule.rate(epoch)
        self.model.optimizer.learning_rate = self._rate

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Leave here if somebody wants that."""
        self._stop.check()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Leave here if somebody wants that."""
        self._stop.check()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Judge and save the model, tell the figures, save the state, and end the training where that is due."""
        figures = {name: float(value) for name, value in (logs or {}).items()}
        self._tell(epoch + 1, figures)
        self._refuse_lost_weights(epoch + 1, figures["loss"])
        if self.best.observe(figures):
            save_model(self.model, self._settings.model.checkpoint)
        self._early.observe(figures)
        self._schedule.observe(figures)
        self.progress.epoch = epoch + 1
        self.progress.history.append({**figures, "learning_rate": self._rate})
        if self._early.waited >= self._patience:
            self.progress.finished = "early_stopped"
            self.model.stop_training = True
            log.info("stopping early: %s has not got better for %d epochs", self._early.monitor, self._early.waited)
        elif epoch + 1 == self._settings.model.epochs:
            self.progress.finished = "success"
        self.save_state()

    def save_state(self) -> None:
        """Write the full state."""
        self.progress.watchers = {name: watcher.state() for name, watcher in self._watchers().items()}
        save_state(self._settings.process.checkpoint_dir, self.model, self.progress)

    def _watchers(self) -> dict[str, Any]:
        return {"best": self.best, "early": self._early, "schedule": self._schedule}

    def _tell(self, epoch: int, figures: dict[str, float]) -> None:
        epochs = self._settings.model.epochs
        text = " - ".join(f"{name}: {_short(figures[name])}" for name in _TOLD if name in figures)
        log.info("Epoch %d/%d - %s", epoch, epochs, text)
        duration = round(time.monotonic() - self._started, 3)
        report(epoch, epochs, **figures, learning_rate=self._rate, time_per_epoch=duration)

    def _refuse_lost_weights(self, epoch: int, loss: float) -> None:
        """Raise where the weights are no numbers any more; a loss that is none may still recover."""
        if math.isfinite(loss):
            return
        if not all(np.isfinite(np.asarray(weight)).all() for weight in self.model.trainable_variables):
            raise Diverged(epoch)
        log.warning("epoch %d: the loss is %s; the weights are still finite, so the training goes on", epoch, loss)


def _short(value: float) -> str:
    """Return a figure with four decimals, a huge one in powers of ten."""
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"
