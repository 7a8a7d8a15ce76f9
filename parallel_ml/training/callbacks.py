"""What happens around each batch and each epoch, in one Keras callback."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from parallel_ml.training.checkpoint import Progress, assign_metrics, capture_metrics
from parallel_ml.training.console import log
from parallel_ml.training.failures import Diverged, Released
from parallel_ml.training.progress import Watched, resolve_monitor
from parallel_ml.training.rate_cuts import RateCuts
from parallel_ml.training.reporting import report
from parallel_ml.training.schedules import make_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parallel_ml.training.checkpoint import Arrays
    from parallel_ml.training.dataset import TrainingData
    from parallel_ml.training.failures import Place
    from parallel_ml.training.saving import Keeper
    from parallel_ml.training.settings import Settings
    from parallel_ml.training.stopping import StopRequest
    from parallel_ml.training.tasks import Task

_TOLD = ("loss", "accuracy", "train_mae", "train_r2", "val_loss", "val_accuracy", "val_mae", "val_r2")


class EpochCallback(keras.callbacks.Callback):
    """Sets order and rate before an epoch; judges, saves and reports after it; saves and leaves between updates.

    Keras's own callbacks are not used: their state is reset when training starts, so that they cannot go on exactly;
    and one that sees nan first never sees anything better.

    Attributes:
        progress: How far the training is.
        best: What is known of the best model.
    """

    def __init__(
        self,
        settings: Settings,
        data: TrainingData,
        keeper: Keeper,
        stop: StopRequest,
        place: Place,
        task: Task,
        *,
        has_validation: bool,
    ) -> None:
        """Start before the first epoch."""
        super().__init__()
        self._settings, self._data, self._keeper, self._stop, self._place = settings, data, keeper, stop, place
        self._task = task
        self.progress = Progress()
        early = settings.model.early_stopping
        monitor = resolve_monitor(early.monitor if early else "val_loss", has_validation=has_validation)
        self.best = Watched(monitor, early.mode if early else None)
        self._patience = math.inf if early is None else max(1, early.patience)
        self._early = Watched(monitor, early.mode if early else None, early.min_delta if early else 0.0)
        self._schedule = make_schedule(
            settings.model.schedule, settings.model.learning_rate, settings.model.epochs, has_validation=has_validation
        )
        self._cuts = RateCuts(settings.process.rates_file, settings.process.checkpoint_dir)
        self._rate = self._started = 0.0
        self._batches_left = 0
        self._metrics: Arrays | None = None

    def go_on(self, progress: Progress, metrics: Arrays) -> None:
        """Go on from what an earlier attempt saved."""
        self.progress = progress
        self._metrics = metrics if progress.updates else None
        for name, watcher in self._watchers().items():
            watcher.restore(progress.watchers[name])

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002 - Keras's signature
        """Choose the order of the samples and the learning rate; put back the figures of an epoch that had begun."""
        self._place.name = "train"
        self._started = time.monotonic() - self.progress.seconds
        self._data.set_epoch(epoch)
        self._batches_left = self._data.steps_after(self.progress.samples)
        self._rate = self._cuts.rate(self._schedule.rate(epoch), epoch + 1)
        self.model.optimizer.learning_rate = self._rate
        if self._metrics is not None:
            assign_metrics(self.model, self._metrics)
            self._metrics = None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """After an update: save if that is due, and leave here if somebody wants that."""
        if (batch + 1) % self._settings.model.accumulation:
            return
        self._batches_left -= self._settings.model.accumulation
        self.progress.updates += 1
        self.progress.samples += self._data.effective
        if self._batches_left <= 0:
            self.progress.figures = _numbers(logs)
        wanted = self._stop.wanted()
        if wanted or self._keeper.is_due(self.progress.updates):
            self.save()
        if wanted:
            raise Released

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Note what the training steps gave: validation takes the same variables for its own figures."""
        self._place.name = "validate"
        self._metrics = capture_metrics(self.model)

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Leave here if somebody wants that; validation is begun again then, the training steps are not."""
        if self._stop.wanted():
            self.save(self._metrics)
            raise Released

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Forget the note."""
        self._place.name = "train"
        self._metrics = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Judge and save the model, tell the figures, save the state, and end the training where that is due."""
        figures = self._task.in_units(_numbers(logs))
        progress = self.progress
        self._tell(epoch + 1, figures)
        self._refuse_lost_weights(epoch + 1, figures["loss"])
        if self.best.observe(figures):
            self._keeper.keep_best()
        self._early.observe(figures)
        self._schedule.observe(figures)
        progress.close_epoch()
        progress.history.append({**figures, "learning_rate": self._rate})
        if self._early.waited >= self._patience:
            progress.finished = "early_stopped"
            self.model.stop_training = True
            log.info("stopping early: %s has not got better for %d epochs", self._early.monitor, self._early.waited)
        elif epoch + 1 == self._settings.model.epochs:
            progress.finished = "success"
        self.save()

    def replace_best(self) -> bool:
        """Go on without the best model so far, whose file is lost; return whether the last epoch's took its place.

        Within an epoch the last one's weights are gone, and the next one to end is the best.
        """
        progress = self.progress
        self.best.judge_anew({})
        self.save()  # first, so that no state ever speaks of another model than the one in the file
        if progress.updates or not progress.history or not self.best.judge_anew(progress.history[-1]):
            return False
        self._keeper.keep_best()
        self.save()
        return True

    def save(self, metrics: Arrays | None = None) -> None:
        """Save the state; `metrics` replaces the variables of the metrics."""
        if self.progress.updates:
            self.progress.seconds = round(time.monotonic() - self._started, 3)
        self.progress.watchers = {name: watcher.state() for name, watcher in self._watchers().items()}
        self._keeper.save(self.progress, metrics)

    def _watchers(self) -> dict[str, Any]:
        return {"best": self.best, "early": self._early, "schedule": self._schedule}

    def _tell(self, epoch: int, figures: dict[str, float]) -> None:
        epochs = self._settings.model.epochs
        told = [name for name in _TOLD if name in figures]
        text = " - ".join(f"{name.removeprefix('train_')}: {_short(figures[name])}" for name in told)
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


def _numbers(logs: Mapping[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (logs or {}).items()}


def _short(value: float) -> str:
    """Return a figure with four decimals, a huge one in powers of ten."""
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"
