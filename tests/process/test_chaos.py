"""Chaos, in short: random jobs, kill -9 and orders. `scripts/chaos` does the same for as long as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.storm import storm

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_job_is_lost_doubled_or_wrong_whatever_is_killed(tmp_path: Path, seed: int) -> None:
    """Every job ends as its attempts say, each unit of work is done once, and nothing is left behind."""
    report = storm(tmp_path / "storm", seed, jobs=5, seconds=4.0)
    assert not report.faults, f"{report}\nagain: scripts/chaos --seed {seed} --rounds 1 --jobs 5 --seconds 4"
