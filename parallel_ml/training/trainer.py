"""Training: build or go on, fit, and leave the best model where it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from parallel_ml.training.callbacks import EpochCallback
from parallel_ml.training.checkpoint import load_state, rescale_iterations
from parallel_ml.training.circumstances import circumstances, differences
from parallel_ml.training.console import log
from parallel_ml.training.dataset import TrainingData
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.files import remove_leftovers
from parallel_ml.training.modelfile import damage
from parallel_ml.training.models import BuiltModel, build_model
from parallel_ml.training.optimizers import make_optimizer
from parallel_ml.training.progress import resolve_monitor
from parallel_ml.training.retelling import last_epoch, tell_missing
from parallel_ml.training.saving import Keeper
from parallel_ml.training.statefile import StateFolder
from parallel_ml.training.tasks import Regression

if TYPE_CHECKING:
    from pathlib import Path

    from parallel_ml.training.checkpoint import Progress
    from parallel_ml.training.dataset import Source
    from parallel_ml.training.failures import Place
    from parallel_ml.training.settings import ModelSettings, Settings
    from parallel_ml.training.splits import Splits
    from parallel_ml.training.stopping import StopRequest
    from parallel_ml.training.tasks import Task


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Attributes:
        outcome: `success` or `early_stopped`.
        built: The model as it is after the last epoch; the best one lies in the checkpoint file.
        best_epoch: From 1; None where no epoch had a figure to judge by.
        epochs: Epochs that were done.
        equivalence: `exact` where the updates were those of the batch that was asked for, else `approximate`.
    """

    outcome: str
    built: BuiltModel
    best_epoch: int | None
    epochs: int
    equivalence: str


def train(settings: Settings, source: Source, splits: Splits, task: Task, stop: StopRequest, place: Place) -> Trained:
    """Train to the end, from the last saved state where there is one.

    Raises:
        TrainingError: There is no such model, or a figure is watched that this task has not.
        Released: `stop` said so; the last full state is on the disk, and the best model once an epoch was judged.
        Diverged: The weights are no longer numbers.
    """
    _check_monitors(settings.model, task)
    built = build_model(settings.model, source.shape, task, len(splits.train))
    _compile(built, settings, task)
    data = TrainingData(
        source, splits.train, settings.data.batch_size, settings.model.accumulation, settings.process.seed
    )
    validation = source.batches(splits.validation, settings.data.judged_at_a_time) if splits.validation else None
    states = StateFolder(settings.process.checkpoint_dir, settings.model.keep)
    keeper = Keeper(settings.model, states, built.model)
    callback = EpochCallback(settings, data, keeper, stop, place, task, has_validation=validation is not None)
    callback.set_model(built.model)
    _begin(built, callback, states, data, settings)
    progress = callback.progress
    if progress.finished is None or (progress.finished == "success" and progress.epoch < settings.model.epochs):
        progress.finished = None
        _fit(built.model, callback, data, validation, settings.model.epochs)
    early = settings.model.early_stopping
    keeper.finish(with_last=callback.best.best is None or (early is not None and not early.restore_best))
    best_epoch = callback.best.best_epoch or None
    return Trained(progress.finished or "success", built, best_epoch, progress.epoch, progress.equivalence)


def _check_monitors(settings: ModelSettings, task: Task) -> None:
    """Raise where early stopping or the schedule watches a figure that there will never be."""
    figures = (*task.measures, *(f"val_{name}" for name in task.measures))
    known = task.in_units(dict.fromkeys(figures, 0.0))
    for given in (settings.early_stopping, settings.schedule):
        if given is not None and resolve_monitor(given.monitor, has_validation=True) not in known:
            raise TrainingError(f"monitor {given.monitor}: there is no such figure here; there are {', '.join(known)}")


def _compile(built: BuiltModel, settings: Settings, task: Task) -> None:
    model = built.model
    loss, metrics = _loss_and_metrics(built, task)
    model.compile(optimizer=make_optimizer(settings.model), loss=loss, weighted_metrics=metrics)
    # Built now, fit traces its step once instead of twice; and a saved state has variables to go to.
    model.optimizer.build(model.trainable_variables)


def _loss_and_metrics(built: BuiltModel, task: Task) -> tuple[Any, list[Any]]:
    """Return Keras's own for a task, so that the saved model loads anywhere."""
    if not isinstance(task, Regression):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=built.gives_logits), ["accuracy"]
    loss = keras.losses.MeanAbsoluteError() if task.loss == "mae" else keras.losses.MeanSquaredError()
    return loss, [keras.metrics.MeanAbsoluteError(name="mae"), keras.metrics.R2Score(name="r2")]


def _begin(
    built: BuiltModel, callback: EpochCallback, states: StateFolder, data: TrainingData, settings: Settings
) -> None:
    """Put an earlier attempt's state back; else save the first one, so that there always is one."""
    for file in (settings.model.checkpoint, settings.process.result_file):
        remove_leftovers(file)
    states.remove_leftovers()
    had_states = bool(states.newest_first())
    found = load_state(states, built.model, lambda: _build_metrics(built.model, data.dataset))
    if found is not None:
        progress, metrics = found
        rescale_iterations(built.model.optimizer, progress.accumulation, settings.model.accumulation)
        callback.go_on(progress, metrics)
        _tell_resumed(progress, settings.model.epochs)
        tell_missing(settings.process.metrics_file, progress.history, settings.model.epochs)
    _note_attempt(built, callback.progress, settings)
    if found is None:
        _tell_lost_states(settings, had_states=had_states)
        callback.save()
    else:
        _check_best(callback, settings.model.checkpoint)


def _tell_lost_states(settings: Settings, *, had_states: bool) -> None:
    """Say that epochs are trained again; where states were there, it has been said already."""
    metrics = settings.process.metrics_file
    epochs = 0 if metrics is None or had_states else last_epoch(metrics)
    if epochs:
        folder = settings.process.checkpoint_dir
        log.warning("%d epochs were trained before, but no state of them is in %s: starting over", epochs, folder)


def _check_best(callback: EpochCallback, path: Path) -> None:
    """Notice now, not at the end, that the best model so far is lost."""
    best_epoch = callback.best.best_epoch
    problem = damage(path) if callback.best.best is not None else None
    if problem is None:
        return
    if callback.replace_best():
        instead = f"that of epoch {callback.progress.epoch} takes its place"
    else:
        instead = f"which one is the best is judged anew from epoch {callback.progress.epoch + 1} on"
    log.warning("the best model so far, of epoch %d, is lost: %s %s; %s", best_epoch, path, problem, instead)


def _tell_resumed(progress: Progress, epochs: int) -> None:
    if progress.updates:
        log.info("going on in epoch %d of %d, after update %d", progress.epoch + 1, epochs, progress.updates)
    else:
        log.info("going on after epoch %d of %d", progress.epoch, epochs)
    if progress.circumstances:
        changed = differences(progress.circumstances, circumstances())
        if changed:
            log.warning("resumed, but not bit for bit: %s", changed)


def _note_attempt(built: BuiltModel, progress: Progress, settings: Settings) -> None:
    """Write down, and say, how this attempt computes its updates."""
    model, batch, k = built.model, settings.data.batch_size, settings.model.accumulation
    progress.accumulation = k
    progress.circumstances = circumstances()
    if [batch, k] not in progress.batches:
        progress.batches.append([batch, k])
    alike = built.exact_accumulation and len({size * times for size, times in progress.batches}) == 1
    as_asked = progress.batches == [[settings.process.requested_batch or batch, k]]
    progress.equivalence = "exact" if alike or as_asked else "approximate"
    log.info("model: %s with %s parameters", settings.model.model, f"{model.count_params():,}")
    if k > 1 or progress.equivalence != "exact":
        why = "" if progress.equivalence == "exact" else _why_not_exact(built)
        log.info("batch: %d x %d accumulated = %d (%s%s)", batch, k, batch * k, progress.equivalence, why)
    if log.isEnabledFor(10):
        model.summary(print_fn=log.debug)


def _why_not_exact(built: BuiltModel) -> str:
    if built.exact_accumulation:
        return ", because updates of another size were made before"
    return ", because of its BatchNormalization"


def _build_metrics(model: Any, dataset: Any) -> None:
    """Make the metrics have their variables, which Keras does not before the first step."""

    def symbol(spec: Any) -> Any:
        return keras.KerasTensor(spec.shape, spec.dtype.name)

    try:
        model._symbolic_build(data_batch=keras.tree.map_structure(symbol, dataset.element_spec))  # noqa: SLF001
    except Exception as error:  # noqa: BLE001 - whatever a model of the user's own does not bear; this always works
        log.debug("the metrics are built by a batch: %s", error)
        model.test_on_batch(*next(iter(dataset.take(1))))


def _fit(model: Any, callback: EpochCallback, data: TrainingData, validation: Any, epochs: int) -> None:
    """Train what is left of an epoch that had begun, then the others."""
    progress = callback.progress
    if progress.updates:
        _fit_rest(model, callback, data, validation)
    if progress.finished is None:
        model.fit(
            data.dataset,
            validation_data=validation,
            epochs=epochs,
            initial_epoch=progress.epoch,
            callbacks=[callback],
            verbose=0,
        )


def _fit_rest(model: Any, callback: EpochCallback, data: TrainingData, validation: Any) -> None:
    progress = callback.progress
    epoch = progress.epoch
    if data.steps_after(progress.samples):
        rest = data.rest(progress.samples)
        model.fit(
            rest,
            validation_data=validation,
            epochs=epoch + 1,
            initial_epoch=epoch,
            callbacks=[callback],
            verbose=0,
        )
        return
    callback.on_epoch_begin(epoch)
    figures = dict(progress.figures or {})
    if validation is not None:
        judged = model.evaluate(validation, callbacks=[callback], return_dict=True, verbose=0)
        figures |= {f"val_{name}": value for name, value in judged.items()}
    callback.on_epoch_end(epoch, figures)
