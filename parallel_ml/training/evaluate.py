"""The analysis: the saved model is loaded back and asked about the test samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from parallel_ml.training.console import log
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.modelfile import damage
from parallel_ml.training.scores import softmax

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from parallel_ml.training.dataset import Source
    from parallel_ml.training.stopping import StopRequest


def outputs_of(
    model: Any, source: Source, positions: tuple[int, ...], batch_size: int, stop: StopRequest, *, logits: bool
) -> np.ndarray:
    """Return what a model gives for the test samples, float64 (samples, outputs).

    Args:
        model: What to judge.
        source: All samples.
        positions: Which of them are the test.
        batch_size: Samples at a time.
        stop: Asked after each batch.
        logits: The model's output is before the softmax, which is applied then.
    """
    parts = []
    for samples, _labels in source.batches(positions, batch_size):
        stop.check()
        parts.append(np.asarray(model.predict_on_batch(samples), dtype=np.float64))
    outputs = np.concatenate(parts)
    return softmax(outputs) if logits else outputs


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
