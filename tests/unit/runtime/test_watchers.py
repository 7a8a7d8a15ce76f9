"""Telling those who watch a run."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

from parallel_ml.monitor.process_monitor import ProcessMonitor
from parallel_ml.runtime.watchers import Watchers


def test_a_look_that_took_long_is_not_taken_again_at_once(tmp_path: Path) -> None:
    """What many running jobs write takes a small part of the time; and it is not forgotten."""
    metrics = tmp_path / "jobs" / "a" / "metrics.jsonl"
    metrics.parent.mkdir(parents=True)
    monitor, epochs = ProcessMonitor(tmp_path), list[int]()
    monitor.subscribe(lambda event: epochs.append(event.data["epoch"]), "epoch")
    monitor.watch("a")
    watchers = Watchers(monitor)
    watchers.look(time.monotonic() - 10.0)  # as if it had begun then
    assert watchers.owed_s() == math.inf
    metrics.write_text(json.dumps({"epoch": 1}) + "\n")
    watchers.look(time.monotonic())
    assert epochs == []
    assert 0.0 < watchers.owed_s() <= 0.1
    watchers.look(time.monotonic() + 0.1)
    assert epochs == [1]
    assert watchers.owed_s() == math.inf
