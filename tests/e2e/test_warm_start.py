"""The built-in training forked from an image: the same bits as in an interpreter of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_ml import ParallelMLExecutor
from parallel_ml.store.layout import RunLayout
from tests.e2e.trainings import assert_same, draw

pytestmark = pytest.mark.tf


def configuration(folder: Path, name: str, **more: Any) -> Path:
    """Write a small training with everything random in it."""
    path = folder / f"{name}.yaml"
    told = {
        "name": name,
        "data_preprocessing": {"image_dir": str(folder / "images"), "batch_size": 8, "random_state": 3},
        "model_training": {"epochs": 2, "model": "cnn", "dropout_rate": 0.3},
        "resources": {"cpus": 1},
        **more,
    }
    path.write_text(yaml.safe_dump(told))
    return path


def run_of(folder: Path, *names: str, warm: bool, **more: Any) -> RunLayout:
    """Run trainings to their end, all with the same seed."""
    configs = [configuration(folder, name, **more) for name in names]
    run = ParallelMLExecutor(configs, runs_dir=folder / f"runs-{warm}", cwd=folder, gpus="none", warm=warm)
    assert [result.state for result in run.run_parallel()] == ["completed"] * len(names)
    return RunLayout(Path(run.get_status().dir))


def log_of(layout: RunLayout, job: str) -> str:
    """Return what a job's log says."""
    return "\n".join(json.loads(line)["message"] for line in layout.job(job).log.read_text().splitlines())


def test_a_forked_training_is_the_cold_one_bit_by_bit(tmp_path: Path) -> None:
    """Its last state - weights, optimizer, random state, figures - and its result; dropout and shuffling included."""
    draw(tmp_path / "images", 12)
    cold, warm = run_of(tmp_path, "a", warm=False), run_of(tmp_path, "a", "b", warm=True)
    assert "started warm" not in log_of(cold, "a")
    assert all("started warm" in log_of(warm, name) for name in "ab")
    assert_same(cold.job("a").dir, warm.job("a").dir)
    results = [json.loads(layout.job("a").result.read_text()) for layout in (cold, warm)]
    for result in results:
        del result["model_path"]
    assert results[0] == results[1]
