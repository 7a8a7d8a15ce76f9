"""The built-in training on tables: the pipeline of the images, with rows; in this process but for one."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from parallel_ml.training.failures import Place, Released, TrainingError
from parallel_ml.training.settings import read_settings
from parallel_ml.training.stopping import StopRequest
from tests.e2e.trainings import assert_same, final, history, run, start, train_here, weights

pytestmark = pytest.mark.tf


def table(path: Path, *, numbers: bool, rows: int = 96) -> Path:
    """Write a table whose target `y` follows from `a`, `b` and `kind`, with some values missing; return its path."""
    random = np.random.default_rng(3)
    lines = ["a,b,kind,noise,y"]
    for row in range(rows):
        a, b = random.normal(5, 2), random.normal(-100, 40)
        kind = ("low", "high")[row % 2]
        value = 30 * a + b + (200 if kind == "high" else 0)
        target = f"{value:.3f}" if numbers else ("small", "large")[value > 150]
        shown = "" if row % 17 == 0 else f"{random.normal():.4f}"
        lines.append(f"{a:.4f},{b:.4f},{kind},{shown},{target}")
    path.write_text("\n".join(lines) + "\n")
    return path


def resolve(job: Path, data: Path, batch_size: int = 16, every: int | str = "24h", **model_training: Any) -> Path:
    """Write the resolved configuration of a job and return its path."""
    job.mkdir(parents=True, exist_ok=True)
    checkpoint = {"filepath": str(job / "best.keras"), "every": every}
    model = {"hidden_units": [16], "epochs": 3, "learning_rate": 0.01, "checkpoint": checkpoint}
    tree = {
        "data_preprocessing": {"train_data_path": str(data), "target_column": "y", "batch_size": batch_size},
        "model_training": {**model, **model_training},
        "process": {"seed": 1, "cpus": 1, "checkpoint_dir": str(job / "checkpoints")},
    }
    path = job / "resolved.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def analyse_here(path: Path) -> dict[str, Any]:
    """Train in this process to `result.json` and return that."""
    from parallel_ml.training.pipeline import Pipeline  # noqa: PLC0415 - it imports the framework

    train_here(path)
    Pipeline(read_settings(path), StopRequest(), Place()).run()
    return dict(json.loads((path.parent / "result.json").read_text()))


@pytest.mark.parametrize("numbers", [False, True], ids=["classes", "numbers"])
def test_a_table_that_was_stopped_goes_on_exactly(tmp_path: Path, *, numbers: bool) -> None:
    """Within an epoch, after its last step, in its validation: each weight and each figure is the same to the bit."""
    data = table(tmp_path / "t.csv", numbers=numbers)
    keys: dict[str, Any] = {
        "learning_rate_scheduler": {"type": "plateau", "patience": 1},
        "early_stopping": {"patience": 2, "monitor": "val_r2" if numbers else "val_accuracy"},
    }
    whole = train_here(resolve(tmp_path / "whole", data, **keys))
    for look in (3, 3) if numbers else (8,):
        with pytest.raises(Released):
            train_here(resolve(tmp_path / "parts", data, **keys), stop_at=look)
    parts = train_here(resolve(tmp_path / "parts", data, **keys))
    assert_same(tmp_path / "whole", tmp_path / "parts")
    assert (parts.epochs, parts.best_epoch) == (whole.epochs, whole.best_epoch)


def test_a_smaller_batch_with_accumulation_trains_the_same(tmp_path: Path) -> None:
    """As the out-of-memory ladder needs it: 16, and 4 x 4, also where the rows are no multiple of 16."""
    data = table(tmp_path / "t.csv", numbers=True, rows=90)
    plain = train_here(resolve(tmp_path / "plain", data, dropout_rate=0.0))
    small = train_here(resolve(tmp_path / "small", data, batch_size=4, gradient_accumulation=4, dropout_rate=0.0))
    assert small.equivalence == plain.equivalence == "exact"
    for one, other in zip(weights(plain), weights(small), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_numbers_are_learned_in_their_unit(tmp_path: Path) -> None:
    """The result has errors in the unit of the target, and the model foretells new rows whatever their order."""
    data = table(tmp_path / "t.csv", numbers=True, rows=400)
    path = resolve(tmp_path / "job", data, epochs=16, dropout_rate=0.0, early_stopping={"monitor": "val_mae"})
    result = analyse_here(path)
    spread = np.std([float(line.split(",")[-1]) for line in data.read_text().splitlines()[1:]])
    assert result["r2"] > 0.95
    assert result["test_mae"] < result["test_rmse"] < 0.2 * spread
    assert not {"classes", "confusion_matrix", "test_accuracy"} & result.keys()
    last = history(tmp_path / "job")[-1]
    assert {"train_mae", "train_r2", "val_mae", "val_r2"} <= last.keys()
    assert last["val_mae"] == pytest.approx(result["test_mae"], rel=0.8)

    from parallel_ml.training.table_prediction import TablePredictor  # noqa: PLC0415

    new = tmp_path / "new.csv"
    new.write_text("noise;kind;b;a\n0;high;-100;5\n;low;-100;5\n0;unheard;-100;5\n")
    answers = TablePredictor(Path(result["model_path"])).predict(new)
    assert list(answers.values[:2]) == pytest.approx([250, 50], abs=40)
    assert answers.foreign == {"kind": 1}


def test_classes_are_learned_with_all_that_images_have(tmp_path: Path) -> None:
    """Accuracy, report by class, confusion matrix; and the model that stopped early is the best one."""
    data = table(tmp_path / "t.csv", numbers=False, rows=400)
    result = analyse_here(resolve(tmp_path / "job", data, epochs=12, early_stopping={"patience": 5}))
    assert result["test_accuracy"] > 0.9
    assert result["classes"] == ["large", "small"] == list(result["report"])
    assert np.sum(result["confusion_matrix"]) == 40
    assert result["best_epoch"] == final(tmp_path / "job")[1]["watchers"]["best"]["best_epoch"]


def test_the_mean_absolute_error_may_be_the_loss(tmp_path: Path) -> None:
    """Then the loss is the error in deviations of the target."""
    data = table(tmp_path / "t.csv", numbers=True)
    train_here(resolve(tmp_path / "job", data, epochs=1, loss="mae", dropout_rate=0.0))
    (told,) = history(tmp_path / "job")
    scale = json.loads((tmp_path / "job" / "best.table.json").read_text())["target"]["scale"]
    assert told["val_loss"] * scale == pytest.approx(told["val_mae"], rel=1e-5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": "cnn"}, "model cnn is for images; a table is learned by mlp"),
        ({"early_stopping": {"monitor": "val_accuracy"}}, "monitor val_accuracy: there is no such figure here"),
    ],
)
def test_what_does_not_fit_a_table_is_refused(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    """One sentence, before any training."""
    data = table(tmp_path / "t.csv", numbers=True)
    with pytest.raises(TrainingError, match=message):
        train_here(resolve(tmp_path / "job", data, **keys))


@pytest.mark.process
@pytest.mark.slow
def test_killed_in_the_middle_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """SIGKILL to the process, within training: every variable and the result are the same to the bit."""
    data = table(tmp_path / "t.csv", numbers=True)
    paths = [resolve(tmp_path / name, data, every=2, epochs=8) for name in ("whole", "killed")]
    code, out, err = run(paths[0])
    assert (code, err) == (0, "")
    assert "Epoch 8/8 - loss: " in out
    assert " - val_mae: " in out
    with start(paths[1]) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Epoch 3/"):
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    code, out, _ = run(paths[1])
    assert (code, "going on " in out) == (0, True)
    assert_same(tmp_path / "whole", tmp_path / "killed")
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "killed")]
    for result in results:
        del result["model_path"], result["table_path"]
    assert results[0] == results[1]
