"""A rerun of a built-in training on the CPU gives the very weights and metrics of the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from parallel_ml import ParallelMLExecutor
from parallel_ml.adapters.cli.main import main
from parallel_ml.store.layout import RunLayout

Image = pytest.importorskip("PIL.Image")

pytestmark = [pytest.mark.tf, pytest.mark.slow]

MODEL = """
import keras

def build(input_shape, num_classes):
    return keras.Sequential([
        keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dropout(0.1),
        keras.layers.Dense(WIDTH, activation="relu"), keras.layers.Dense(num_classes, activation="softmax"),
    ])
"""


def draw(folder: Path, count: int = 12) -> None:
    """Fill two class folders with noise, one darker than the other."""
    noise = np.random.default_rng(1)
    for name, level in {"dark": 0, "bright": 90}.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = noise.integers(level, level + 160, (8, 8)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def told(layout: RunLayout, job: str) -> list[dict[str, Any]]:
    """Return a job's epochs without what depends on the machine's load."""
    lines = map(json.loads, layout.job(job).metrics.read_text().splitlines())
    return [{key: line[key] for key in ("epoch", "train_loss", "train_accuracy", "val_loss")} for line in lines]


def weights(path: str) -> list[Any]:
    """Return the arrays of a saved model."""
    import keras  # noqa: PLC0415 - it loads TensorFlow

    found: list[Any] = keras.models.load_model(path).get_weights()
    return found


def test_a_rerun_is_the_same_to_the_bit(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the second of two jobs, whose seed is that of its place, with a model of the user's that was edited since."""
    draw(tmp_path / "images")
    (tmp_path / "mine.py").write_text(f"WIDTH = 8\n{MODEL}")
    config = {
        "data_preprocessing": {"image_dir": "images", "batch_size": 4, "random_state": 7},
        "model_training": {"epochs": 2, "model": "mine:build", "checkpoint": {"filepath": "best.keras"}},
        "result_analysis": {"model_path": "best.keras"},
    }
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    run = ParallelMLExecutor(["a.yaml", "b.yaml"], gpus="none", max_parallel=1)
    results = run.run_parallel()
    assert [one.state for one in results] == ["completed", "completed"], results
    (tmp_path / "mine.py").write_text(f"WIDTH = 9\n{MODEL}")
    first = RunLayout(Path(run.get_status().dir))
    assert main(["rerun", f"{first.dir.name}/b", "--json"]) == 0
    (again,) = json.loads(capfd.readouterr().out)["jobs"]
    second = RunLayout(Path(again["paths"]["dir"]).parents[1])
    assert told(second, "b") == told(first, "b") != told(first, "a")
    old, new = weights(results[1].paths["model"] or ""), weights(again["paths"]["model"])
    assert len(old) == len(new)
    assert all(np.array_equal(one, other) for one, other in zip(old, new, strict=True))
