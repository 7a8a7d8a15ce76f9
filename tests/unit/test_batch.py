"""Batch size and accumulation for a memory grant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.core.batch import BatchPlan, batch_cap, plan_batch

REQUESTED = st.integers(min_value=1, max_value=4096)
GRANT_MB = st.integers(min_value=0, max_value=200_000)


@pytest.mark.parametrize(
    ("memory_limit_mb", "cap"),
    [
        (None, None),
        (4096, 16),
        (8192, 32),
        (16_384, 64),
        (4000, 16),
        (7680, 32),
        (3583, 12),
        (3584, 16),
        (512, 4),
        (511, 1),
        (0, 1),
    ],
)
def test_the_cap_is_four_samples_for_each_gib(memory_limit_mb: int | None, cap: int | None) -> None:
    """A grant is rounded to the nearest GiB, half of a 15 GiB card is 8; a sample always fits; the CPU has no cap."""
    assert batch_cap(memory_limit_mb) == cap


@pytest.mark.parametrize(
    ("requested", "memory_limit_mb", "plan"),
    [
        (32, 4096, BatchPlan(16, 2)),
        (32, 8192, BatchPlan(32, 1)),
        (32, 16_384, BatchPlan(32, 1)),
        (64, 4096, BatchPlan(16, 4)),
        (8, 4096, BatchPlan(8, 1)),
        (24, 4096, BatchPlan(12, 2)),
        (30, 4096, BatchPlan(15, 2)),
        (31, 4096, BatchPlan(1, 31)),
        (1, 0, BatchPlan(1, 1)),
        (4096, None, BatchPlan(4096, 1)),
    ],
)
def test_a_batch_is_scaled_to_the_grant(requested: int, memory_limit_mb: int | None, plan: BatchPlan) -> None:
    """The largest divisor of what was requested that fits, with the accumulation that makes up for it."""
    assert plan_batch(requested, memory_limit_mb) == plan


def test_accumulation_of_the_user_is_multiplied() -> None:
    """A user's accumulation stays beside the one that the grant brings."""
    assert plan_batch(32, 4096, accumulation=3) == BatchPlan(16, 6)


@given(requested=REQUESTED, memory_limit_mb=GRANT_MB | st.none(), accumulation=st.integers(min_value=1, max_value=8))
def test_the_effective_batch_is_kept(requested: int, memory_limit_mb: int | None, accumulation: int) -> None:
    """No grant changes how many samples go into an update."""
    assert plan_batch(requested, memory_limit_mb, accumulation).effective == requested * accumulation


@given(requested=REQUESTED, memory_limit_mb=GRANT_MB)
def test_the_batch_is_the_largest_that_fits(requested: int, memory_limit_mb: int) -> None:
    """It is under the cap, divides what was requested, and no larger one does."""
    cap = batch_cap(memory_limit_mb)
    assert cap is not None
    size = plan_batch(requested, memory_limit_mb).batch_size
    assert 1 <= size <= min(cap, requested)
    assert all(requested % larger for larger in range(size + 1, min(cap, requested) + 1))


@given(requested=REQUESTED, small_mb=GRANT_MB, more_mb=GRANT_MB)
def test_more_memory_never_means_a_smaller_batch(requested: int, small_mb: int, more_mb: int) -> None:
    """The batch grows with the grant, up to what was requested."""
    small, large = plan_batch(requested, small_mb), plan_batch(requested, small_mb + more_mb)
    assert small.batch_size <= large.batch_size <= requested
