"""metrics.jsonl: each epoch once."""

from __future__ import annotations

import json
from pathlib import Path

from parallel_ml.runtime.shim.metrics import MetricsWriter


def epochs(path: Path) -> list[tuple[int | None, float]]:
    """Return the epochs and losses of a file."""
    return [(line["epoch"], line["loss"]) for line in map(json.loads, path.read_text().splitlines())]


def test_an_epoch_that_is_reported_again_replaces_itself_and_all_later_ones(tmp_path: Path) -> None:
    """A resumed training starts again from its last checkpoint; the file tells one story."""
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(str(path))
    for epoch in (1, 2, 3):
        assert writer.write({"epoch": epoch, "loss": 0.1})
    resumed = MetricsWriter(str(path))
    for epoch in (2, 3, 4):
        assert resumed.write({"epoch": epoch, "loss": 0.2})
    assert epochs(path) == [(1, 0.1), (2, 0.2), (3, 0.2), (4, 0.2)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_torn_line_is_cut(tmp_path: Path) -> None:
    """A line that was never whole was never reported."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1, "loss": 0.1}\n{"epoch": 2, "lo')
    MetricsWriter(str(path)).write({"epoch": 2, "loss": 0.3})
    assert epochs(path) == [(1, 0.1), (2, 0.3)]


def test_reports_without_an_epoch_are_kept_as_they_come(tmp_path: Path) -> None:
    """A script need not count epochs."""
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(str(path))
    for loss in (0.3, 0.2):
        writer.write({"epoch": None, "loss": loss})
    assert epochs(path) == [(None, 0.3), (None, 0.2)]
