"""What the tests of the built-in training share: images, a configuration, and a training here or in its own process."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from parallel_ml.training import devices
from parallel_ml.training.failures import Place
from parallel_ml.training.settings import read_settings
from parallel_ml.training.stopping import StopRequest

Image = pytest.importorskip("PIL.Image")

ROOT = Path(__file__).parents[2]


def draw(folder: Path, count: int, side: int = 8, *, colour: bool = False) -> Path:
    """Fill three class folders with noisy images of stripes: upright, lying, or none."""
    noise = np.random.default_rng(1)
    stripes = np.tile(np.arange(side) // 2 % 2 * 120, (side, 1))
    for name, pattern in {"upright": stripes, "lying": stripes.T, "plain": np.full((side, side), 60)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = pattern + noise.integers(0, 100, (side, side))
            if colour:
                pixels = np.stack([pixels, pixels // 2, noise.integers(0, 255, (side, side))], axis=-1)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def resolve(
    job: Path, images: Path, batch_size: int = 8, seed: int = 1, requested: int | None = None, **model_training: Any
) -> Path:
    """Write the resolved configuration of a job and return its path."""
    job.mkdir(parents=True, exist_ok=True)
    model = {"model": "mlp", "hidden_units": [16], "epochs": 3, "checkpoint": {"filepath": str(job / "best.keras")}}
    tree = {
        "data_preprocessing": {"image_dir": str(images), "batch_size": batch_size, "split_random_state": 42},
        "model_training": {**model, **model_training},
        "result_analysis": {"model_path": str(job / "best.keras")},
        "process": {
            "seed": seed,
            "cpus": 1,
            "checkpoint_dir": str(job / "checkpoints"),
            "requested_batch_size": requested,
        },
    }
    path = job / "resolved.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def start(path: Path) -> subprocess.Popen[str]:
    """Start the training as the supervisor does."""
    command = [sys.executable, "-m", "parallel_ml.training", str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(path: Path) -> tuple[int, str, str]:
    """Train to the end; return the exit code, stdout and stderr."""
    with start(path) as process:
        out, err = process.communicate()
    return process.returncode, out, err


class StopAtLook:
    """Asks to stop at the n-th time that the training looks."""

    def __init__(self, number: float) -> None:
        """Count down from `number`."""
        self.left = number

    def wanted(self) -> bool:
        """Look, as the training does after each update and each batch of validation."""
        self.left -= 1
        return self.left <= 0


def train_here(path: Path, stop_at: float = math.inf, place: Place | None = None) -> Any:
    """Train in this process and return how it ended; `stop_at` counts updates and batches of validation."""
    devices.load_framework(None)
    import keras  # noqa: PLC0415 - only for those who run these tests
    import tensorflow as tf  # noqa: PLC0415

    from parallel_ml.training.pipeline import Pipeline  # noqa: PLC0415
    from parallel_ml.training.trainer import train  # noqa: PLC0415

    settings = read_settings(path)
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.process.seed)
    tf.config.experimental.enable_op_determinism()
    stop: Any = StopAtLook(stop_at)
    prepared = Pipeline(settings, StopRequest(), Place()).prepare()
    return train(settings, prepared.source, prepared.splits, prepared.task, stop, place or Place())


def newest(job: Path) -> Path:
    """Return the file of the state that was saved last."""
    return max((job / "checkpoints").glob("state-*.npz"))


def final(job: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return all that the last state holds, but for what depends on the clock."""
    with np.load(newest(job)) as state:
        arrays = {name: state[name] for name in state.files}
    meta = json.loads(arrays.pop("meta").tobytes())
    for name in ("sha256", "seconds"):
        arrays.pop(name, None)
        meta.pop(name, None)
    return arrays, meta


def assert_same(one: Path, other: Path) -> None:
    """Compare the last states of two jobs bit by bit."""
    (arrays, meta), (others, other_meta) = final(one), final(other)
    assert arrays.keys() == others.keys()
    different = [name for name, array in arrays.items() if array.tobytes() != others[name].tobytes()]
    assert different == []
    assert meta == other_meta


def history(job: Path) -> list[dict[str, float]]:
    """Return the figures of each epoch, as the saved state has them."""
    return list(final(job)[1]["history"])


def weights(trained: Any) -> list[np.ndarray]:
    """Return a model's weights after the last epoch."""
    return [np.asarray(weight) for weight in trained.built.model.weights]
