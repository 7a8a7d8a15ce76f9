"""How soon a training that is asked to pause has saved and left, and how soon one that goes on makes its next step.

Measured by the times that the run's own files carry: the order's, the end of the process, the first epoch after it.
The epochs are of a few milliseconds, so that the first one told is hardly later than the first step.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

from benchmarks.measure import PATIENCE_S, ROOT, Figure, environment, product
from benchmarks.table import main
from parallel_ml.core.model import JobState
from parallel_ml.runtime.client import RunClient
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import RunView

ROUNDS = 5
JOB = "long"


def measure() -> list[Figure]:
    """Return seconds."""
    left, on = [], []
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        config = here / f"{JOB}.yaml"
        tree = {
            "data_preprocessing": {"image_dir": str(ROOT / "sample_data" / "images"), "batch_size": 32},
            "model_training": {"model": "mlp", "hidden_units": [16], "epochs": 10_000, "checkpoint": {"every": "1h"}},
        }
        config.write_text(yaml.safe_dump(tree), encoding="utf-8")
        argv = product("--runs-dir", here / "runs", "run", config, "--gpus", "none")
        with subprocess.Popen(argv, env=environment(), stdout=subprocess.DEVNULL) as run:
            try:
                layout = _layout(here / "runs", run)
                client = RunClient(layout.dir)
                _until(lambda: _epochs(layout) > 1, run)
                for _ in range(ROUNDS):
                    asked = time.time()
                    client.pause(JOB)
                    _until(lambda: _state(layout) is JobState.PAUSED, run)
                    left.append(_ended(layout) - asked)
                    told, asked = _epochs(layout), time.time()
                    client.resume(JOB)
                    _until(partial(_is_past, layout, told), run)
                    on.append(layout.job(JOB).metrics.stat().st_mtime - asked)
            finally:
                client.stop(at_once=True)
                run.wait(timeout=PATIENCE_S)
    return [
        Figure("pause: asked to the end of the process", statistics.median(left), "s", tuple(left), goal="0.15"),
        Figure("resume: asked to the first epoch told", statistics.median(on), "s", tuple(on), goal="1"),
    ]


def _layout(runs: Path, run: subprocess.Popen[bytes]) -> RunLayout:
    _until(lambda: runs.exists() and any(entry.name[0] != "." for entry in os.scandir(runs)), run)
    [found] = [Path(entry) for entry in os.scandir(runs) if entry.name[0] != "."]
    return RunLayout(found)


def _state(layout: RunLayout) -> JobState:
    return RunView(layout).state.jobs[JOB].state


def _ended(layout: RunLayout) -> float:
    """Return when the newest attempt's process ended, as its shim wrote it."""
    newest = max(layout.job(JOB).dir.glob("attempt-*/exit.json"))
    return float(json.loads(newest.read_text())["ended"])


def _epochs(layout: RunLayout) -> int:
    """Return the number of the newest epoch told; 0 before the first."""
    path = layout.job(JOB).metrics
    lines = path.read_bytes().splitlines() if path.exists() else []
    return int(json.loads(lines[-1])["epoch"]) if lines else 0


def _is_past(layout: RunLayout, epoch: int) -> bool:
    return _epochs(layout) > epoch


def _until(holds: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        if run.poll() is not None or time.monotonic() > give_up_at:
            message = "the training did not do what it was asked to"
            raise RuntimeError(message)
        time.sleep(0.1)  # the times come from files; looking more often would take the training its core


if __name__ == "__main__":
    sys.exit(main("pauses"))
