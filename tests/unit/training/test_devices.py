"""What of a grant of memory becomes TensorFlow's pool."""

from __future__ import annotations

from parallel_ml.training.devices import pool_mb


def test_the_memory_pool_leaves_room_for_the_context() -> None:
    """A grant is more than TensorFlow's pool; a small one keeps at least half."""
    assert pool_mb(8000, (7, 5)) == 6950
    assert pool_mb(2000, (9, 0)) == 1000
