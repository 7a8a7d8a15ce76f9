"""Recognising a lack of memory."""

from __future__ import annotations

import pytest

from parallel_ml.training.failures import TrainingError, memory_outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (MemoryError("Unable to allocate 8 GiB"), "oom_host"),
        (RuntimeError("OOM when allocating tensor with shape[9] on /device:GPU:0 by allocator GPU_0_bfc"), "oom_gpu"),
        (RuntimeError("OOM when allocating tensor with shape[9] on /device:CPU:0 by allocator cpu"), "oom_host"),
        (RuntimeError("Dst tensor is not initialized."), "oom_gpu"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), "oom_gpu"),
        (TrainingError("no images"), None),
        (ValueError("shapes do not fit"), None),
    ],
)
def test_a_lack_of_memory_is_recognised(error: Exception, outcome: str | None) -> None:
    """By the class or by what TensorFlow says, and whose memory it was."""
    assert memory_outcome(error) == outcome


def test_a_lack_of_memory_is_seen_through_a_wrapper() -> None:
    """What an error was raised from counts."""
    error = TrainingError("could not read")
    error.__cause__ = MemoryError()
    assert memory_outcome(error) == "oom_host"
