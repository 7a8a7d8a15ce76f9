"""How several small batches make the update of one large batch. No framework."""

from __future__ import annotations

import numpy as np


def update_weights(count: int, batch_size: int, accumulation: int) -> np.ndarray:
    """Return the weight of each sample of an epoch, float32; its length is what the epoch has with the filling.

    With a batch of b and an accumulation of k the gradient of an update is the sum over its samples of weight x
    gradient / (b k). A last update with r < b k true samples gives them b k / r each, and the filling 0.

    >>> update_weights(5, 2, 2).tolist()
    [1.0, 1.0, 1.0, 1.0, 4.0, 0.0, 0.0, 0.0]
    >>> update_weights(5, 2, 1).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    effective = batch_size * accumulation
    rest = count % effective
    if accumulation == 1 or rest == 0:
        return np.ones(count, dtype=np.float32)
    full = np.ones(count - rest, dtype=np.float32)
    last = np.full(rest, effective / rest, dtype=np.float32)
    return np.concatenate([full, last, np.zeros(effective - rest, dtype=np.float32)])
