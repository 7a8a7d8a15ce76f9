"""What the built-in training tells its guard, and that it obeys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

Image = pytest.importorskip("PIL.Image")

pytestmark = [pytest.mark.tf, pytest.mark.process]

ROOT = Path(__file__).parents[3]


def train(folder: Path, epochs: int) -> int:
    """Train on two classes of a few plain images each; return the exit code."""
    for name, value in {"dark": 20, "light": 220}.items():
        (folder / "images" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("L", (8, 8), value + number).save(folder / "images" / name / f"{number}.png")
    tree = {
        "data_preprocessing": {"image_dir": str(folder / "images"), "batch_size": 4},
        "model_training": {"epochs": epochs, "model": "mlp", "checkpoint": {"filepath": str(folder / "best.keras")}},
        "process": {"cpus": 1},
    }
    path = folder / "resolved.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    command = [sys.executable, "-m", "parallel_ml.training", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode


def test_each_epoch_and_the_end_are_told(guard: Any, tmp_path: Path) -> None:
    """Every figure of the contract's line is there, and the last word is the outcome."""
    assert train(tmp_path, epochs=2) == 0
    lines = [message["data"] for message in guard.messages if message["type"] == "epoch"]
    assert [(line["epoch"], line["epochs"]) for line in lines] == [(1, 2), (2, 2)]
    known = set(lines[1].items()) - {("gpu_utilization", None)}
    assert {name for name, value in known if value is not None} == {
        *("epoch", "epochs", "learning_rate", "memory_usage", "time_per_epoch"),
        *("train_accuracy", "train_loss", "val_accuracy", "val_loss"),
    }
    assert guard.messages[-1] == {"type": "end", "outcome": "success", "error": None, "place": "evaluate"}


def test_a_stop_in_the_answer_is_obeyed(guard: Any, tmp_path: Path) -> None:
    """Without any signal: the training saves, says that it was released, and leaves with 75."""
    guard.answer = b'{"ok": true, "stop": "pause"}\n'
    assert train(tmp_path, epochs=100_000) == 75
    assert guard.messages[-1]["outcome"] == "released"
