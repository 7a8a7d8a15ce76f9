"""Training: build or go on, fit, and leave the best model where it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parallel_ml.training.callbacks import EpochCallback
from parallel_ml.training.checkpoint import (
    UnusableState,
    load_state,
    remove_leftovers,
    rescale_iterations,
    save_model,
)
from parallel_ml.training.console import log
from parallel_ml.training.dataset import TrainingData
from parallel_ml.training.models import BuiltModel, build_model
from parallel_ml.training.optimizers import make_optimizer

if TYPE_CHECKING:
    from parallel_ml.training.dataset import ImageSource
    from parallel_ml.training.settings import Settings
    from parallel_ml.training.splits import Splits
    from parallel_ml.training.stopping import StopRequest


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Attributes:
        outcome: `success` or `early_stopped`.
        built: The model as it is after the last epoch; the best one lies in the checkpoint file.
        best_epoch: From 1; None where no epoch had a figure to judge by.
        epochs: Epochs that were done.
    """

    outcome: str
    built: BuiltModel
    best_epoch: int | None
    epochs: int


def train(settings: Settings, source: ImageSource, splits: Splits, classes: int, stop: StopRequest) -> Trained:
    """Train to the end, from the last saved state where there is one.

    Raises:
        Released: `stop` said so; the last full state is on the disk, and the best model once an epoch was judged.
        Diverged: The weights are no longer numbers.
    """
    built = build_model(settings.model, source.shape, classes, len(splits.train))
    _compile(built, settings)
    _tell_model(built, settings)
    data = TrainingData(
        source, splits.train, settings.data.batch_size, settings.model.accumulation, settings.process.seed
    )
    validation = source.batches(splits.validation, settings.data.batch_size) if splits.validation else None
    callback = EpochCallback(settings, data, stop, has_validation=validation is not None)
    callback.set_model(built.model)
    _go_on(built, callback, settings)
    progress = callback.progress
    if progress.finished is None or (progress.finished == "success" and progress.epoch < settings.model.epochs):
        _fit(built, callback, data, validation, settings)
    early = settings.model.early_stopping
    if callback.best.best is None or (early is not None and not early.restore_best):
        save_model(built.model, settings.model.checkpoint)
    return Trained(progress.finished or "success", built, callback.best.best_epoch or None, progress.epoch)


def _compile(built: BuiltModel, settings: Settings) -> None:
    import keras  # noqa: PLC0415

    model = built.model
    model.compile(
        optimizer=make_optimizer(settings.model),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=built.gives_logits),
        weighted_metrics=["accuracy"],
    )
    # Built now, fit traces its step once instead of twice; and a saved state has variables to go to.
    model.optimizer.build(model.trainable_variables)


def _tell_model(built: BuiltModel, settings: Settings) -> None:
    model, batch, k = built.model, settings.data.batch_size, settings.model.accumulation
    log.info("model: %s with %s parameters", settings.model.model, f"{model.count_params():,}")
    if k > 1:
        likeness = "exact" if built.exact_accumulation else "approximate, because of its BatchNormalization"
        log.info("batch: %d x %d accumulated = %d (%s)", batch, k, batch * k, likeness)
    if log.isEnabledFor(10):
        model.summary(print_fn=log.debug)


def _go_on(built: BuiltModel, callback: EpochCallback, settings: Settings) -> None:
    """Put an earlier attempt's state back; else save the first one, so that there always is one."""
    folder = settings.process.checkpoint_dir
    for path in (settings.model.checkpoint, folder / "last_state.npz"):
        remove_leftovers(path)
    try:
        found = load_state(folder, built.model)
    except UnusableState as error:
        log.warning("starting from the first epoch: %s", error)
        found = None
    if found is None:
        callback.save_state()
        return
    rescale_iterations(built.model.optimizer, found.accumulation, settings.model.accumulation)
    callback.go_on(found)
    log.info("going on after epoch %d of %d", found.epoch, settings.model.epochs)


def _fit(built: BuiltModel, callback: EpochCallback, data: TrainingData, validation: Any, settings: Settings) -> None:
    built.model.fit(
        data.dataset,
        validation_data=validation,
        epochs=settings.model.epochs,
        initial_epoch=callback.progress.epoch,
        callbacks=[callback],
        verbose=0,
    )
