"""An alert that lowers the learning rate of a built-in training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from parallel_ml import ParallelMLExecutor
from tests.e2e.trainings import draw

EPOCHS = 120  # the order has to reach the training before its end
pytestmark = [pytest.mark.tf, pytest.mark.process]


def test_reduce_lr_holds_from_the_epoch_after_the_next(tmp_path: Path) -> None:
    """The rate is halved once, written down, and told with the epochs."""
    config = {
        "data_preprocessing": {"image_dir": str(draw(tmp_path / "images", 40)), "batch_size": 8},
        "model_training": {"model": "mlp", "epochs": EPOCHS, "learning_rate": 0.01},
        "result_analysis": {},
        "alerts": [{"alert": "cool", "expr": "epoch() >= 2", "action": "reduce_lr", "factor": 0.5}],
    }
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(config))
    run = ParallelMLExecutor([path], runs_dir=tmp_path / "runs", cwd=tmp_path, gpus="none")
    (result,) = run.run_parallel()
    assert result.state == "completed", result.error
    rates = [round(rate, 6) for rate in result.history["learning_rate"]]
    begun = json.loads((Path(result.paths["dir"] or "") / "checkpoints" / "rates-begun.json").read_text())
    first = begun["1"]
    assert first >= 4
    assert rates == [0.01] * (first - 1) + [0.005] * (EPOCHS - first + 1)
