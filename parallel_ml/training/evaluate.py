"""The analysis: the saved model is loaded back and judged by the test images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from parallel_ml.training.console import log
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.modelfile import damage
from parallel_ml.training.scores import Scores, score

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from parallel_ml.training.dataset import ImageSource
    from parallel_ml.training.stopping import StopRequest


def evaluate(
    model: Any, source: ImageSource, positions: tuple[int, ...], batch_size: int, stop: StopRequest, *, logits: bool
) -> Scores:
    """Return how well a model tells the test images apart.

    Args:
        model: What to judge.
        source: All images.
        positions: Which of them are the test.
        batch_size: Images at a time.
        stop: Asked after each batch.
        logits: The model's output is before the softmax.
    """
    parts = []
    for images, _labels in source.batches(positions, batch_size):
        stop.check()
        parts.append(np.asarray(model.predict_on_batch(images), dtype=np.float64))
    outputs = np.concatenate(parts)
    return score(_softmax(outputs) if logits else outputs, source.labels[list(positions)])


def load_model(path: Path, rebuild: Callable[[], Any]) -> Any:
    """Load a saved model.

    A model with classes of the user's own that are not registered with Keras cannot be made from its file; then
    `rebuild` makes it and the file gives the weights.

    Raises:
        TrainingError: The file is not there or not whole.
    """
    problem = damage(path)
    if problem is not None:
        raise TrainingError(f"the saved model {path} {problem}; retry the job: it is written anew")
    try:
        return keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        log.info("%s: taking its weights alone (%s)", path.name, first)
        model = rebuild()
        model.load_weights(path)
        return model


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
