"""Epochs that the guard missed are told again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from parallel_ml.training.retelling import last_epoch, tell_missing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "epoch"),
    [("", 0), ('{"epoch": 1}\n{"epoch": 2}\n', 2), ('{"epoch": 1}\n{"epoch": 2', 1), ('{"epoch": 3}\nnonsense\n', 3)],
)
def test_the_last_whole_line_counts(tmp_path: Path, content: str, epoch: int) -> None:
    """What a crash cut short was not told."""
    (tmp_path / "metrics.jsonl").write_text(content)
    assert last_epoch(tmp_path / "metrics.jsonl") == epoch


def test_only_what_is_missing_is_told(tmp_path: Path, guard: Any) -> None:
    """Of three epochs the file has one."""
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n')
    tell_missing(tmp_path / "metrics.jsonl", [{"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0}], 5)
    told = [(line["data"]["epoch"], line["data"]["epochs"], line["data"]["train_loss"]) for line in guard.messages]
    assert told == [(2, 5, 2.0), (3, 5, 1.0)]


def test_without_a_file_nothing_is_told(guard: Any) -> None:
    """A training outside of a run has no guard that could have missed something."""
    tell_missing(None, [{"loss": 3.0}], 5)
    assert guard.messages == []
