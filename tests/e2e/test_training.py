"""The built-in training on real images: in this process where its parts are looked at, else as its users start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parallel_ml.training import devices
from parallel_ml.training.failures import Diverged, Released, TrainingError
from parallel_ml.training.settings import read_settings
from parallel_ml.training.shape import Shape
from parallel_ml.training.tasks import Classification
from tests.e2e.trainings import ROOT, draw, history, resolve, run, start, train_here, weights

Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.tf


def output_shape(path: Path) -> tuple[int | None, ...]:
    """Load a model and return the shape of what it gives."""
    devices.load_framework(None)
    import keras  # noqa: PLC0415

    return tuple(keras.saving.load_model(path).output_shape)


def test_colour_images_of_any_size_are_learned(tmp_path: Path) -> None:
    """A few hundred images of three classes, in colour and 20 x 20 pixels, are told apart by the default model."""
    images = draw(tmp_path / "images", 80, side=20, colour=True)
    code, out, err = run(resolve(tmp_path / "job", images, model="cnn", hidden_units=[32], epochs=3))
    assert (code, err) == (0, "")
    assert "as 20x20x3" in out
    assert "Epoch 3/3 - loss: 0." in out
    result = json.loads((tmp_path / "job" / "result.json").read_text())
    assert result["test_accuracy"] > 0.95
    assert result["classes"] == ["lying", "plain", "upright"]
    assert np.sum(result["confusion_matrix"]) == sum(row["support"] for row in result["report"].values()) == 24


def test_broken_and_foreign_files_do_not_stop_a_training(tmp_path: Path) -> None:
    """They are counted in a line, named in the result, and the rest is trained on, whatever its format."""
    images = draw(tmp_path / "images", 12)
    for number, suffix in enumerate((".jpg", ".gif", ".bmp")):
        Image.new("RGB", (30, 20), (90, 90, number)).convert("P").convert("RGB").save(images / "plain" / f"x{suffix}")
    (images / "plain" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (images / "lying" / "empty.jpg").write_bytes(b"")
    code, out, err = run(resolve(tmp_path / "job", images, epochs=1))
    assert (code, err) == (0, "")
    assert "skipped 2 files: lying/empty.jpg (" in out
    assert "39 images of 3 classes" in out
    result = json.loads((tmp_path / "job" / "result.json").read_text())
    assert result["skipped_files"] == ["lying/empty.jpg", "plain/broken.png"]


def test_a_training_that_went_on_is_the_one_that_never_stopped(tmp_path: Path) -> None:
    """Stopped within an epoch and started again: the same weights to the bit, the same figures of every epoch."""
    images = draw(tmp_path / "images", 12)
    keys: dict[str, Any] = {
        "epochs": 4,
        "dropout_rate": 0.3,
        "learning_rate_scheduler": {"type": "plateau", "patience": 1},
    }
    whole = train_here(resolve(tmp_path / "whole", images, **keys))
    with pytest.raises(Released):
        train_here(resolve(tmp_path / "parts", images, **keys), stop_at=13)
    assert len(history(tmp_path / "parts")) == 2
    parts = train_here(resolve(tmp_path / "parts", images, **keys))
    assert all((one == other).all() for one, other in zip(weights(whole), weights(parts), strict=True))
    assert history(tmp_path / "whole") == history(tmp_path / "parts")


def test_a_smaller_batch_with_accumulation_trains_the_same(tmp_path: Path) -> None:
    """8 and 4 x 2 give one model, also where the images are no multiple of 8; the schedule runs no faster."""
    images = draw(tmp_path / "images", 12)
    keys: dict[str, Any] = {"dropout_rate": 0.0, "learning_rate_scheduler": "cosine"}
    plain = train_here(resolve(tmp_path / "plain", images, **keys))
    small = train_here(resolve(tmp_path / "small", images, batch_size=4, gradient_accumulation=2, **keys))
    for one, other in zip(weights(plain), weights(small), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    rates = [[epoch["learning_rate"] for epoch in history(tmp_path / job)] for job in ("plain", "small")]
    assert rates[0] == rates[1] == pytest.approx([0.001, 0.00075, 0.00025])


def test_a_training_goes_on_with_a_smaller_batch(tmp_path: Path) -> None:
    """After a lack of memory the next attempt halves the batch, accumulates two, and continues the same training."""
    images = draw(tmp_path / "images", 12)
    keys: dict[str, Any] = {"epochs": 4, "dropout_rate": 0.0}
    whole = train_here(resolve(tmp_path / "whole", images, **keys))
    with pytest.raises(Released):
        train_here(resolve(tmp_path / "parts", images, **keys), stop_at=13)
    parts = train_here(resolve(tmp_path / "parts", images, batch_size=4, gradient_accumulation=2, **keys))
    for one, other in zip(weights(whole), weights(parts), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_images_that_do_not_fit_into_memory_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read batch by batch they give the same model as held in memory."""
    images = draw(tmp_path / "images", 12)
    held = train_here(resolve(tmp_path / "held", images))
    monkeypatch.setattr("parallel_ml.training.dataset.MEMORY_LIMIT_BYTES", 0)
    streamed = train_here(resolve(tmp_path / "streamed", images))
    assert all((one == other).all() for one, other in zip(weights(held), weights(streamed), strict=True))


def test_a_training_stops_early(tmp_path: Path) -> None:
    """With a rate of next to nothing nothing gets better: the first epoch and the patience, then the end."""
    images = draw(tmp_path / "images", 12)
    path = resolve(tmp_path / "job", images, epochs=50, learning_rate=1e-9, early_stopping={"patience": 2})
    ended = train_here(path)
    assert (ended.outcome, ended.epochs, ended.best_epoch) == ("early_stopped", 3, 1)


def test_a_training_that_diverges_says_so(tmp_path: Path) -> None:
    """Weights that are no numbers any more end it, with the epoch and what may help."""
    path = resolve(tmp_path / "job", draw(tmp_path / "images", 12), optimizer="sgd", learning_rate=1e30)
    with pytest.raises(Diverged, match="a lower learning_rate may help"):
        train_here(path)


def test_a_training_stopped_in_its_first_epoch_leaves_a_state_and_no_best_model(tmp_path: Path) -> None:
    """No epoch was judged: what is called the best must not be a guess."""
    path = resolve(tmp_path / "job", draw(tmp_path / "images", 12))
    with pytest.raises(Released):
        train_here(path, stop_at=1)
    assert not (tmp_path / "job" / "best.keras").exists()
    assert (tmp_path / "job" / "checkpoints" / "state-000002.npz").exists()


def test_a_model_of_the_users_own_is_trained_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`module:function` gets the shape and the number of classes; outputs before the softmax are understood."""
    (tmp_path / "my_net.py").write_text(
        "import keras\n"
        "def build(input_shape, num_classes):\n"
        "    layers = [keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)]\n"
        "    return keras.Sequential(layers)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ended = train_here(resolve(tmp_path / "job", draw(tmp_path / "images", 12), model="my_net:build"))
    assert (ended.built.gives_logits, ended.built.exact_accumulation) == (True, True)


def test_a_model_that_its_file_cannot_make_is_built_again(tmp_path: Path) -> None:
    """A layer that Keras does not know: the user's function makes the model, and the file gives its weights."""
    devices.load_framework(None)
    import keras  # noqa: PLC0415

    from parallel_ml.training.evaluate import load_model  # noqa: PLC0415

    def build() -> Any:
        return keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(3)])

    saved = build()
    saved.save(tmp_path / "best.keras")
    loaded = load_model(tmp_path / "best.keras", build)
    assert all((one == other).all() for one, other in zip(saved.get_weights(), loaded.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ResNot50", "no model is called ResNot50"),
        ("no_such_module:build", "there is no module no_such_module here"),
        ("json:loads_of", "has no attribute 'loads_of'"),
    ],
)
def test_a_model_that_is_not_there_is_named(tmp_path: Path, model: str, message: str) -> None:
    """One sentence, before any training."""
    with pytest.raises(TrainingError, match=message):
        train_here(resolve(tmp_path / "job", draw(tmp_path / "images", 3), model=model))


def test_a_model_of_keras_applications_is_built_without_weights(tmp_path: Path) -> None:
    """Small images are made large enough for it, and its BatchNormalization makes accumulation approximate."""
    devices.load_framework(None)
    from parallel_ml.training.models import build_model, size_limits  # noqa: PLC0415

    settings = read_settings(resolve(tmp_path, tmp_path, model="MobileNetV2", hidden_units=None)).model
    side = size_limits("MobileNetV2")[0]
    built = build_model(settings, Shape(side, side, 1), Classification(("a", "b", "c")), 100)
    assert (built.model.output_shape, built.exact_accumulation) == ((None, 3), False)
    nested = [inner for layer in built.model.layers for inner in getattr(layer, "layers", [layer])]
    momenta = {layer.momentum for layer in nested if type(layer).__name__ == "BatchNormalization"}
    assert momenta == {0.9}, "with the 0.999 of its makers it guesses at the test after a few hundred steps"


@pytest.mark.process
def test_sigterm_leaves_whole_checkpoints_and_nothing_else(tmp_path: Path) -> None:
    """Exit code 75, a best model that loads, a state to go on from, no temporary file, nothing on stderr."""
    job = tmp_path / "job"
    path = resolve(job, draw(tmp_path / "images", 12), epochs=100_000)
    with start(path) as process:
        assert process.stdout is not None
        assert any(line.startswith("Epoch 2/") for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert (process.returncode, err) == (75, "")
    found = {str(file.relative_to(job)) for file in job.rglob("*") if file.is_file()}
    states = {name for name in found if name.startswith("checkpoints/state-")}
    assert found - states == {"resolved.yaml", "best.keras"}
    assert len(states) == 3
    assert len(history(job)) >= 2
    assert output_shape(job / "best.keras") == (None, 3)


@pytest.mark.process
def test_a_missing_framework_is_one_line_with_the_command(tmp_path: Path) -> None:
    """Exit code 1 and what to install."""
    (tmp_path / "keras.py").write_text("raise ModuleNotFoundError(\"No module named 'keras'\", name='keras')")
    path = resolve(tmp_path / "job", tmp_path / "images")
    command = [sys.executable, "-m", "parallel_ml.training", str(path)]
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    expected = "error: the built-in training needs keras; run: pip install 'parallel-ml[tensorflow]'\n"
    assert (ended.returncode, ended.stderr) == (1, expected)


@pytest.mark.process
@pytest.mark.slow  # TensorFlow waits for ten seconds whether somebody frees some
def test_a_lack_of_memory_is_told_as_such(tmp_path: Path) -> None:
    """A real one, in a training step: with a smaller batch, and as many of them accumulated, it fits."""
    (tmp_path / "large_net.py").write_text(
        "import keras, resource\n"
        "def build(input_shape, num_classes):\n"
        "    limit = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 3 * 2**29\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "    inputs = keras.Input(input_shape)\n"
        "    x = keras.layers.RepeatVector(640)(keras.layers.Flatten()(inputs))\n"
        "    for width in (512, 2048, 2048):\n"
        "        x = keras.layers.Dense(width, activation='relu')(x)\n"
        "    return keras.Model(inputs, keras.layers.Dense(num_classes)(keras.layers.GlobalAveragePooling1D()(x)))\n"
    )
    images = draw(tmp_path / "images", 30)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    keys: dict[str, Any] = {"model": "large_net:build", "epochs": 1}
    told = []
    for batch, accumulation in ((72, 1), (4, 18)):
        path = resolve(tmp_path / "job", images, batch_size=batch, gradient_accumulation=accumulation, **keys)
        command = [sys.executable, "-m", "parallel_ml.training", str(path)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        told.append((ended.returncode, "error: out of memory: " in ended.stderr))
    assert told == [(1, True), (0, False)]
