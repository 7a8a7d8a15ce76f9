"""Batch size and gradient accumulation for a memory grant."""

from __future__ import annotations

from parallel_ml.core.units import GIB, MIB
from parallel_ml.records import dataclass

SAMPLES_PER_GIB = 4
"""The rule without a measurement: 16 samples at 4 GiB, 32 at 8, 64 at 16."""


@dataclass(frozen=True)
class BatchPlan:
    """How a requested batch is computed: `batch_size` samples at a time, `accumulation` times an update."""

    batch_size: int
    accumulation: int

    @property
    def effective(self) -> int:
        """Samples that go into one update of the weights."""
        return self.batch_size * self.accumulation


def batch_cap(memory_limit_mb: int | None) -> int | None:
    """Return the most samples that a grant of `memory_limit_mb` MiB starts with; None is no cap (the CPU).

    The grant is rounded to the nearest GiB (a half upwards), and at least one sample is always allowed.
    """
    if memory_limit_mb is None:
        return None
    gib = (memory_limit_mb * MIB + GIB // 2) // GIB
    return max(1, gib * SAMPLES_PER_GIB)


def plan_batch(requested: int, memory_limit_mb: int | None, accumulation: int = 1) -> BatchPlan:
    """Return the largest batch that divides `requested` and fits the grant, with the accumulation that keeps it.

    >>> plan_batch(32, 4096), plan_batch(32, None)
    (BatchPlan(batch_size=16, accumulation=2), BatchPlan(batch_size=32, accumulation=1))

    Args:
        requested: Samples of the batch that the user asked for, at least 1.
        memory_limit_mb: The grant in MiB; None on the CPU.
        accumulation: The accumulation that the user asked for on top.
    """
    cap = batch_cap(memory_limit_mb)
    if cap is None or requested <= cap:
        return BatchPlan(requested, accumulation)
    size = next(size for size in range(cap, 0, -1) if requested % size == 0)
    return BatchPlan(size, accumulation * (requested // size))
