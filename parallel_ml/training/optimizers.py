"""The optimizers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from parallel_ml.training.failures import TrainingError

if TYPE_CHECKING:
    from parallel_ml.training.settings import ModelSettings

_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "adadelta": ("Adadelta", {}),
    "adagrad": ("Adagrad", {}),
    "adam": ("Adam", {}),
    "adamax": ("Adamax", {}),
    "adamw": ("AdamW", {}),
    "ftrl": ("Ftrl", {}),
    "lion": ("Lion", {}),
    "nadam": ("Nadam", {}),
    "rmsprop": ("RMSprop", {}),
    "sgd": ("SGD", {"momentum": 0.9}),
}
"""Keras's class and what is set apart from its own defaults."""


def make_optimizer(settings: ModelSettings) -> Any:
    """Return the optimizer that is asked for; with accumulation it updates once in so many batches.

    Raises:
        TrainingError: No optimizer has this name.
    """
    if settings.optimizer not in _CLASSES:
        raise TrainingError(f"no optimizer is called {settings.optimizer}; there are {', '.join(_CLASSES)}")
    name, keys = _CLASSES[settings.optimizer]
    # Keras takes no accumulation of 1, only none.
    steps = settings.accumulation if settings.accumulation > 1 else None
    make = getattr(keras.optimizers, name)
    return make(learning_rate=settings.learning_rate, gradient_accumulation_steps=steps, **keys)
