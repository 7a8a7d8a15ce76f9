"""The seed of each process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.core.seeds import derive_seed

USER_SEED = st.integers(min_value=-(2**63), max_value=2**64)
POSITION = st.integers(min_value=0, max_value=10_000)


def test_the_seeds_stay_as_they_are() -> None:
    """The same configuration at the same place trains the same in every release: these numbers may never change."""
    assert [derive_seed(42, position) for position in range(3)] == [1154045808, 1887246911, 83697444]


def test_neighbouring_seeds_and_positions_do_not_meet() -> None:
    """43 at place 0 is another seed than 42 at place 1: seeds are hashed, not added."""
    assert derive_seed(43, 0) != derive_seed(42, 1)


def test_the_processes_of_many_runs_have_seeds_of_their_own() -> None:
    """A hundred user seeds at a hundred places give ten thousand seeds, but for the rare chance of 31 bits."""
    seeds = {derive_seed(user_seed, position) for user_seed in range(100) for position in range(100)}
    assert len(seeds) > 9_990


@given(user_seed=USER_SEED, position=POSITION)
def test_every_framework_accepts_a_seed(user_seed: int, position: int) -> None:
    """A seed lies in [0, 2**31), whatever the user's seed is."""
    assert 0 <= derive_seed(user_seed, position) < 2**31


@given(user_seed=USER_SEED, position=POSITION, other=POSITION)
def test_two_places_of_a_run_have_different_seeds(user_seed: int, position: int, other: int) -> None:
    """Jobs of one run with one user seed are seeded apart."""
    assert (derive_seed(user_seed, position) == derive_seed(user_seed, other)) == (position == other)
