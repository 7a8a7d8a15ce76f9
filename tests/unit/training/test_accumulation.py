"""The weights of accumulated batches."""

from __future__ import annotations

import numpy as np
import pytest

from parallel_ml.training.accumulation import update_weights


@pytest.mark.parametrize(("count", "batch", "accumulation"), [(20, 8, 2), (32, 8, 4), (5, 4, 3), (100, 7, 5)])
def test_each_update_weighs_its_samples_alike(count: int, batch: int, accumulation: int) -> None:
    """An epoch is whole updates, all weights of an update add up to its batch, and the filling has none."""
    effective = batch * accumulation
    weights = update_weights(count, batch, accumulation)
    assert len(weights) % effective == 0
    assert np.count_nonzero(weights) == count
    for update in weights.reshape(-1, effective):
        assert update.sum() == pytest.approx(effective, rel=1e-6)
        assert len(set(update[update > 0].tolist())) == 1
