"""What a training is made of at one moment, so that it can go on from there as if it had never stopped.

That is every variable of the model (those of its random generators too, which no file format of Keras has), of the
optimizer and of the metrics, the generators of Python and numpy, and what the callbacks know.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from parallel_ml.training.console import log
from parallel_ml.training.files import replacing
from parallel_ml.training.statefile import UnusableState, read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from parallel_ml.training.statefile import StateFolder

    Arrays = dict[str, np.ndarray]


@dataclass
class Progress:
    """How far a training is, and what its callbacks know; JSON values only.

    Attributes:
        epoch: Epochs that are done.
        finished: `success` or `early_stopped` once no epoch is left, else None.
        accumulation: Batches that made one update.
        history: Each figure's value, one an epoch.
        watchers: The states of the best model, of early stopping and of the schedule.
        updates: Updates done in the epoch under way.
        samples: Samples that went into those.
        figures: What the training steps of the epoch under way gave, once all are done; else None.
        seconds: Time spent in the epoch under way.
        batches: Each [batch size, accumulation] that was trained with, in the order of their first use.
        equivalence: Whether those made the same updates as the batch that was asked for: `exact` or `approximate`.
        circumstances: What else the last bit depends on: versions, threads, device.
    """

    epoch: int = 0
    finished: str | None = None
    accumulation: int = 1
    history: list[dict[str, float]] = field(default_factory=list)
    watchers: dict[str, Any] = field(default_factory=dict)
    updates: int = 0
    samples: int = 0
    figures: dict[str, float] | None = None
    seconds: float = 0.0
    batches: list[list[int]] = field(default_factory=list)
    equivalence: str = "exact"
    circumstances: dict[str, Any] = field(default_factory=dict)

    def close_epoch(self) -> None:
        """Count the epoch under way as done."""
        self.epoch += 1
        self.updates = self.samples = 0
        self.figures, self.seconds = None, 0.0


def save_model(model: Any, path: Path) -> None:
    """Write a model to `path` whole, in place of what was there; the suffix chooses Keras's format."""
    with replacing(path) as temporary:
        model.save(temporary)


def capture(model: Any) -> Arrays:
    """Return every variable of a training by `group/number`."""
    return {
        f"{group}/{number}": np.array(variable)
        for group, variables in _groups(model).items()
        for number, variable in enumerate(variables)
    }


def capture_metrics(model: Any) -> Arrays:
    """Return the variables of the metrics alone, as `capture` names them."""
    return {f"metric/{number}": np.array(variable) for number, variable in enumerate(model.metrics_variables)}


def assign_metrics(model: Any, arrays: Arrays) -> None:
    """Put back what `capture_metrics` returned."""
    for number, variable in enumerate(model.metrics_variables):
        variable.assign(_like(arrays[f"metric/{number}"], variable))


def save_state(states: StateFolder, arrays: Arrays, progress: Progress) -> Path:
    """Write a state and return its path."""
    version, numbers, spare = random.getstate()
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - the user's code may draw from it
    generators = {"python": [version, list(numbers), spare], "numpy": [kind, np.asarray(keys).tolist(), *rest]}
    return states.save(arrays, {**asdict(progress), "generators": generators})


def load_state(states: StateFolder, model: Any, build_metrics: Callable[[], None]) -> tuple[Progress, Arrays] | None:
    """Put the newest saved state that is whole into a model whose optimizer is built.

    Args:
        states: Where to look. A file that is no use is put aside, with a warning.
        model: Left as it is where there is no state.
        build_metrics: Makes the metrics have their variables.

    Returns:
        How far the training was, and the variables of the metrics, which Keras resets when it begins an epoch.
    """
    found = states.newest_first()
    for path in found:
        try:
            arrays, meta = read_state(path)
            return _restore(model, arrays, meta, build_metrics)
        except UnusableState as error:
            aside = states.put_aside(path)
            log.warning("%s is not used, %s; it is now %s", path, error, aside.name)
    if found:
        log.warning("no saved state can be used: starting from the first epoch")
    return None


def rescale_iterations(optimizer: Any, before: int, now: int) -> None:
    """Keep the number of updates that an optimizer counts, where `now` batches make one instead of `before`.

    Keras counts batches and divides.
    """
    for variable in optimizer.variables:
        if variable.name == "iteration" and before != now:
            variable.assign(variable // before * now)


def _restore(
    model: Any, arrays: Arrays, meta: dict[str, Any], build_metrics: Callable[[], None]
) -> tuple[Progress, Arrays]:
    generators = meta.pop("generators", None)
    try:
        progress = Progress(**meta)
    except TypeError as error:
        raise UnusableState(f"it was written by another version of this program ({error})") from error
    if progress.updates:
        build_metrics()
    metrics = {name: array for name, array in arrays.items() if name.startswith("metric/")}
    others = {name: array for name, array in arrays.items() if name not in metrics}
    wanted = {
        f"{group}/{number}": variable
        for group, variables in _groups(model).items()
        # A state between two epochs needs no metrics, and the first version had no variables outside of Keras's.
        if (group != "metric" or progress.updates) and (group != "own" or generators)
        for number, variable in enumerate(variables)
    }
    given = {**others, **metrics} if progress.updates else others
    if given.keys() != wanted.keys():
        raise UnusableState("it is of another model or optimizer")
    ready = {name: _like(array, wanted[name]) for name, array in given.items()}
    for name, array in ready.items():
        wanted[name].assign(array)
    if generators:
        _restore_generators(generators)
    return progress, metrics


def _restore_generators(told: dict[str, Any]) -> None:
    version, numbers, spare = told["python"]
    random.setstate((version, tuple(numbers), spare))
    kind, keys, *rest = told["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002


def _groups(model: Any) -> dict[str, list[Any]]:
    """Return all variables, in an order that a model built again has too.

    The optimizer's gradient accumulators are left out: they are empty after each update, and without them a state also
    fits where another number of batches makes one.
    """
    optimizer = [
        variable for variable in model.optimizer.variables if not variable.name.endswith("gradient_accumulator")
    ]
    return {
        "model": list(model.variables),
        "optimizer": optimizer,
        "own": [*_global_generator(), *_own_variables(model)],
        "metric": list(model.metrics_variables),
    }


def _global_generator() -> Iterator[Any]:
    """Give the state of the generator that keras.random uses where no seed is named."""
    try:
        from keras.src.random.seed_generator import global_seed_generator  # noqa: PLC0415 - has no public name
    except ImportError:
        return
    yield global_seed_generator().state


def _own_variables(model: Any) -> Iterator[Any]:
    """Give the plain TensorFlow variables and generators that the user's layers hold; Keras does not list them."""
    seen: set[int] = set()
    for layer in model._flatten_layers():  # noqa: SLF001 - the only way to the inner layers of inner layers
        for _, value in sorted(vars(layer).items()):
            variable = value.state if isinstance(value, tf.random.Generator) else value
            if isinstance(variable, tf.Variable) and id(variable) not in seen:
                seen.add(id(variable))
                yield variable


def _like(array: np.ndarray, variable: Any) -> np.ndarray:
    """Return an array as its variable's kind of number.

    Raises:
        UnusableState: It has another shape or size of number.
    """
    now = np.asarray(variable)
    if array.shape != now.shape or array.dtype.itemsize != now.dtype.itemsize:
        raise UnusableState("it is of another model or optimizer")
    return array if array.dtype == now.dtype else array.view(now.dtype)
