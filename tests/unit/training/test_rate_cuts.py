"""Orders for the learning rate: each obeyed once, and the same when an epoch is trained again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from parallel_ml.training.rate_cuts import RateCuts

if TYPE_CHECKING:
    from pathlib import Path


def order(path: Path, *cuts: tuple[int, int, float, float]) -> Path:
    """Write orders as the supervisor does: number, first epoch, factor, least rate."""
    names = ("number", "from_epoch", "factor", "least")
    path.write_text(json.dumps({"v": 1, "cuts": [dict(zip(names, cut, strict=True)) for cut in cuts]}))
    return path


def test_a_cut_holds_from_its_epoch_on(tmp_path: Path) -> None:
    """And the next one comes on top, down to its floor."""
    cuts = RateCuts(order(tmp_path / "rates.json", (1, 3, 0.5, 0.0), (2, 4, 0.1, 0.2)), tmp_path)
    assert [cuts.rate(1.0, epoch) for epoch in (1, 2, 3, 4)] == [1.0, 1.0, 0.5, 0.2]


def test_a_cut_that_came_late_holds_from_then_on_also_when_the_epochs_are_trained_again(tmp_path: Path) -> None:
    """Epoch 3 had begun without it; after a crash it begins without it again."""
    orders = tmp_path / "rates.json"
    first = RateCuts(orders, tmp_path)
    assert [first.rate(1.0, epoch) for epoch in (2, 3)] == [1.0, 1.0]
    order(orders, (1, 3, 0.5, 0.0))
    assert first.rate(1.0, 4) == 0.5
    again = RateCuts(orders, tmp_path)
    assert [again.rate(1.0, epoch) for epoch in (3, 4, 5)] == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_file_that_is_none_orders_nothing(tmp_path: Path, text: str) -> None:
    """It may be damaged, or not there at all."""
    path = tmp_path / "rates.json"
    path.write_text(text)
    assert RateCuts(path, tmp_path).rate(1.0, 1) == 1.0
    assert RateCuts(None, tmp_path).rate(1.0, 1) == 1.0


def test_a_rate_below_the_floor_is_not_raised(tmp_path: Path) -> None:
    """The floor is for what the cut does, not for what the schedule says."""
    cuts = RateCuts(order(tmp_path / "rates.json", (1, 1, 0.5, 0.1)), tmp_path)
    assert cuts.rate(0.01, 1) == 0.01
