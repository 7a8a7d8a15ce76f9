"""A Keras script of four lines, watched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """\
import keras, numpy as np; from parallel_ml.training_monitor import TrainingMonitor
model = keras.Sequential([keras.layers.Dense(2, activation="softmax")]); x, y = np.eye(8), np.arange(8) % 2
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
TrainingMonitor().start_monitoring(model_name="four", training_func=lambda **k: model.fit(x, y, **k), epochs=3)
"""


@pytest.mark.tf
@pytest.mark.process
def test_a_keras_script_of_four_lines_has_its_report(folder: Path) -> None:
    """The History that `fit` returns is read, and the training is otherwise as it was."""
    (folder / "four.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "four.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [report] = (folder / "training_reports").glob("four-*.md")
    text = report.read_text(encoding="utf-8")
    for row in (
        "| epochs | 3 |",
        "| epochs asked for | 3 |",
        "| final loss |",
        "| best accuracy |",
        "| status | completed |",
    ):
        assert row in text
