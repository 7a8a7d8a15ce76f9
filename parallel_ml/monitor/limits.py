"""Whether an attempt's memory stood near its limit when it was last sampled: evidence for a crash that says nothing."""

from __future__ import annotations

from parallel_ml.core.model import Attempt
from parallel_ml.errors import StoreError
from parallel_ml.store.job_status import last_metrics
from parallel_ml.store.layout import AttemptLayout

NEAR = 0.9
"""Of the limit. TensorFlow may die of SIGSEGV, and print nothing, where an allocation fails outside its allocator."""


def near_limit(files: AttemptLayout, attempt: Attempt) -> bool:
    """Return whether the GPU memory, or the host memory that was asked for, was nearly all in use."""
    limits = {
        "gpu_memory_peak_mb": attempt.allocation.memory_limit_mb,
        "memory_peak_mb": (attempt.allocation.memory_bytes or 0) / 2**20 or None,
    }
    try:
        last = last_metrics(files.samples)
    except StoreError:
        return False
    return any(
        limit is not None and isinstance(last.get(name), (int, float)) and last[name] >= NEAR * limit
        for name, limit in limits.items()
    )
