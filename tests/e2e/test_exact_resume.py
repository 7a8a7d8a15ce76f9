"""A training that was killed, stopped, paused, or whose files were damaged, and that went on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parallel_ml.training import devices
from parallel_ml.training.console import start_log
from parallel_ml.training.failures import Place, Released, memory_outcome
from tests.e2e.trainings import (
    ROOT,
    assert_same,
    draw,
    final,
    history,
    newest,
    resolve,
    start,
    train_here,
    weights,
)

pytestmark = pytest.mark.tf

MORTAL = '''
import os, random, signal
import keras, numpy, tensorflow as tf
from keras import layers

steps = 0

def tick():
    """Count a step of this process, and be killed in the middle of one of them."""
    global steps
    steps += 1
    if steps == int(os.environ.get("DIES_IN_STEP", 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    return numpy.float32(random.random())

class Disturbance(layers.Layer):
    """Random numbers from everywhere, and a count of its own."""

    def __init__(self):
        super().__init__()
        self.generator = tf.random.Generator.from_seed(5)
        self.count = tf.Variable(0.0)

    def call(self, images, training=False):
        if not training:
            return images
        self.count.assign_add(1.0)
        drawn = tf.numpy_function(tick, [], tf.float32)
        drawn.set_shape(())
        noise = self.generator.normal(tf.shape(images)) + keras.random.normal((1,)) + drawn
        return images + 0.01 * noise + 0.0001 * self.count

def build(input_shape, num_classes):
    inputs = keras.Input(input_shape)
    x = Disturbance()(layers.RandomFlip()(inputs))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(x)))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(x))
'''

OFTEN: dict[str, Any] = {"every": 1}


def run_mortal(path: Path, dies_in_step: int = 0) -> int:
    """Train the model that lies beside the images; return the exit code."""
    command = [sys.executable, "-m", "parallel_ml.training", str(path)]
    environment = {**os.environ, "PYTHONPATH": f"{path.parents[1]}:{ROOT}", "DIES_IN_STEP": str(dies_in_step)}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def saved_weights(model: Path) -> list[np.ndarray]:
    """Return the weights in a model's file, whose classes only the user's module knows."""
    devices.load_framework(None)
    import h5py  # type: ignore[import-untyped]  # noqa: PLC0415

    found: list[np.ndarray] = []
    with h5py.File(model) as file:
        file.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found


def often(job: Path, **keys: Any) -> dict[str, Any]:
    """Return keys of a training that saves after each update."""
    return {"dropout_rate": 0.3, **keys, "checkpoint": {"filepath": str(job / "best.keras"), **OFTEN}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train without any disturbance; return the folder, with the images and the job."""
    folder = tmp_path_factory.mktemp("whole")
    train_here(resolve(folder / "whole", draw(folder / "images", 12), **often(folder / "whole")))
    return folder


@pytest.mark.process
@pytest.mark.slow
def test_killed_in_the_middle_of_steps_it_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """SIGKILL twice, within epochs: every variable, every figure, the best model and the result are the same.

    Also where the last attempt was granted two threads: they would give other bits, so it goes on with one.
    """
    images = draw(tmp_path / "images", 12)
    (tmp_path / "mortal.py").write_text(MORTAL)
    keys: dict[str, Any] = {
        "model": "mortal:build",
        "epochs": 3,
        "early_stopping": {"patience": 3},
        "learning_rate_scheduler": {"type": "plateau", "patience": 1},
    }
    jobs = {}
    for name in ("whole", "killed"):
        checkpoint = {"filepath": str(tmp_path / name / "best.h5"), "every": 2}
        jobs[name] = resolve(tmp_path / name, images, **keys, checkpoint=checkpoint)
    assert run_mortal(jobs["whole"]) == 0
    assert [run_mortal(jobs["killed"], step) for step in (4, 5)] == [-signal.SIGKILL] * 2
    jobs["killed"].write_text(jobs["killed"].read_text().replace("cpus: 1", "cpus: 2"))
    assert run_mortal(jobs["killed"]) == 0
    assert_same(tmp_path / "whole", tmp_path / "killed")
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in jobs]
    assert [result.pop("model_path") for result in results] == [str(tmp_path / name / "best.h5") for name in jobs]
    assert results[0] == results[1]
    models = [saved_weights(tmp_path / name / "best.h5") for name in jobs]
    assert [one.tobytes() for one in models[0]] == [other.tobytes() for other in models[1]]


@pytest.mark.parametrize("every", ["24h", "0s"])
def test_saving_by_the_clock_changes_nothing(whole: Path, tmp_path: Path, every: str) -> None:
    """A training that saves between epochs alone, or whenever it looks, is the one that saves after each update."""
    keys = often(tmp_path / "job")
    keys["checkpoint"]["every"] = every
    train_here(resolve(tmp_path / "job", whole / "images", **keys))
    assert_same(whole / "whole", tmp_path / "job")
    states = 1 + 3 if every == "24h" else 1 + 3 * (4 + 1)  # the first; after each epoch; and each of its four updates
    assert newest(tmp_path / "job").name == f"state-{states:06}.npz"


@pytest.mark.parametrize("look", [2, 4, 5, 6])
def test_stopped_anywhere_no_step_is_lost_or_repeated(whole: Path, tmp_path: Path, look: int) -> None:
    """Within an epoch, after its last step, in its validation, in the next one: it goes on from right there."""
    path = resolve(tmp_path / "parts", whole / "images", **often(tmp_path / "parts"))
    with pytest.raises(Released):
        train_here(path, stop_at=look)
    optimizer_steps = final(tmp_path / "parts")[0]["optimizer/0"]
    train_here(path)
    assert_same(whole / "whole", tmp_path / "parts")
    assert optimizer_steps == min(look, 4) + max(0, look - 5), "four steps and one batch of validation an epoch"


def test_a_damaged_state_gives_way_to_the_one_before(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the file and why, the file is kept under another name, and the end is the same."""
    path = resolve(tmp_path / "parts", whole / "images", **often(tmp_path / "parts"))
    with pytest.raises(Released):
        train_here(path, stop_at=7)
    state = newest(tmp_path / "parts")
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 0xFF
    state.write_bytes(content)
    start_log("INFO")
    capsys.readouterr()
    train_here(path)
    warned = [line for line in capsys.readouterr().out.splitlines() if "is not used" in line]
    assert len(warned) == 1
    assert f"{state} is not used, it is damaged (" in warned[0]
    assert state.with_name(f"{state.name}.bad").read_bytes() == bytes(content)
    assert_same(whole / "whole", tmp_path / "parts")


def test_where_no_state_is_whole_the_training_begins_anew(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut short, each of them: that is said, and the end is that of a training that never stopped."""
    path = resolve(tmp_path / "parts", whole / "images", **often(tmp_path / "parts"))
    with pytest.raises(Released):
        train_here(path, stop_at=7)
    for number, state in enumerate((tmp_path / "parts" / "checkpoints").iterdir()):
        state.write_bytes(state.read_bytes()[: number * 500])
    start_log("INFO")
    train_here(path)
    assert "no saved state can be used: starting from the first epoch" in capsys.readouterr().out
    assert_same(whole / "whole", tmp_path / "parts")


def test_a_state_of_the_first_version_is_gone_on_from(tmp_path: Path) -> None:
    """Recorded after the first of four epochs; the two that follow are those of a training of today."""
    images = draw(tmp_path / "images", 12)
    keys: dict[str, Any] = {"hidden_units": [2], "epochs": 4}
    whole = train_here(resolve(tmp_path / "whole", images, **keys))
    folder = tmp_path / "old" / "checkpoints"
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).parents[1] / "data" / "state_of_version_1.npz", folder / "last_state.npz")
    old = train_here(resolve(tmp_path / "old", images, **keys))
    for one, other in zip(weights(whole), weights(old), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert [epoch["loss"] for epoch in history(tmp_path / "old")] == pytest.approx(
        [epoch["loss"] for epoch in history(tmp_path / "whole")], abs=1e-5
    )


def test_a_smaller_batch_takes_over_within_an_epoch(tmp_path: Path) -> None:
    """8, then 4 x 2 from the third update on: the same updates, and back again."""
    images = draw(tmp_path / "images", 13)
    job = tmp_path / "parts"
    whole = train_here(resolve(tmp_path / "whole", images, **{**often(tmp_path / "whole"), "dropout_rate": 0.0}))
    keys = {**often(job), "dropout_rate": 0.0}
    with pytest.raises(Released):
        train_here(resolve(job, images, **keys), stop_at=2)
    with pytest.raises(Released):
        train_here(resolve(job, images, batch_size=4, gradient_accumulation=2, **keys), stop_at=5)
    parts = train_here(resolve(job, images, **keys))
    for one, other in zip(weights(whole), weights(parts), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert (final(job)[1]["batches"], parts.equivalence) == ([[8, 1], [4, 2]], "exact")


def test_a_smaller_batch_with_batch_normalization_is_called_approximate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is inside of a user's own layers; with the batch that was asked for it is exact."""
    (tmp_path / "nested_net.py").write_text(
        "import keras\n"
        "def build(input_shape, num_classes):\n"
        "    inner = keras.Sequential([keras.layers.BatchNormalization(), keras.layers.Flatten()])\n"
        "    return keras.Sequential([keras.Input(input_shape), inner, keras.layers.Dense(num_classes)])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    images = draw(tmp_path / "images", 4)
    keys: dict[str, Any] = {"model": "nested_net:build", "epochs": 1}
    asked = train_here(resolve(tmp_path / "asked", images, **keys))
    halved = train_here(
        resolve(tmp_path / "halved", images, batch_size=4, requested=8, gradient_accumulation=2, **keys)
    )
    assert (asked.equivalence, halved.equivalence) == ("exact", "approximate")


def test_a_full_disk_does_not_end_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told once, and once that it is over; what was saved stays, nothing half written does."""
    (tmp_path / "full_disk.py").write_text(
        "import keras, resource\n"
        "class Net(keras.Model):\n"
        "    epochs = 0\n"
        "    def reset_metrics(self):\n"
        "        super().reset_metrics()\n"
        "        self.epochs += 1\n"
        "        limit = 1024 if self.epochs in (3, 4, 5, 6) else resource.RLIM_INFINITY\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "def build(input_shape, num_classes):\n"
        "    inputs = keras.Input(input_shape)\n"
        "    dense = keras.layers.Dense(num_classes)\n"
        "    return Net(inputs, dense(keras.layers.Flatten()(inputs)))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    images = draw(tmp_path / "images", 12)
    start_log("INFO")
    path = resolve(tmp_path / "job", images, model="full_disk:build", epochs=5, learning_rate=0.003)
    assert train_here(path).epochs == 5
    told = [line for line in capsys.readouterr().out.splitlines() if "save" in line]
    assert [line.partition(": ")[0] for line in told] == [
        "cannot save the best model",
        "the training can be saved again",
    ]
    assert "the training goes on, and what was saved before stays" in told[0]
    found = {file.name for file in (tmp_path / "job").rglob("*.*") if file.is_file()}
    states = {name for name in found if name.startswith("state-")}
    assert found - states == {"resolved.yaml", "best.keras"}
    assert final(tmp_path / "job")[1]["epoch"] == 5


def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    """Not after hours of training: nothing was ever saved there."""
    path = resolve(tmp_path / "job", draw(tmp_path / "images", 4))
    (tmp_path / "job" / "checkpoints").write_text("a file in its place")
    with pytest.raises(OSError, match="checkpoints"):
        train_here(path)


def test_a_lack_of_memory_in_validation_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is `validate`, so that training need not be touched."""
    (tmp_path / "greedy.py").write_text(
        "import keras\n"
        "class Greedy(keras.Sequential):\n"
        "    def test_step(self, data):\n"
        "        raise MemoryError('Unable to allocate 8.00 GiB for an array')\n"
        "def build(input_shape, num_classes):\n"
        "    return Greedy([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(num_classes)])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    place = Place()
    with pytest.raises(MemoryError) as caught:
        train_here(resolve(tmp_path / "job", draw(tmp_path / "images", 4), model="greedy:build"), place=place)
    assert (place.name, memory_outcome(caught.value)) == ("validate", "oom_host")


@pytest.mark.process
def test_a_pause_signal_saves_the_step_and_leaves(tmp_path: Path) -> None:
    """SIGUSR1: exit code 75, nothing on stderr, and the state of this very update."""
    job = tmp_path / "job"
    path = resolve(job, draw(tmp_path / "images", 40), epochs=100_000, batch_size=1)
    with start(path) as process:
        assert process.stdout is not None
        assert any(line.startswith("Epoch 1/") for line in process.stdout)
        process.send_signal(signal.SIGUSR1)
        _, err = process.communicate()
    assert (process.returncode, err) == (75, "")
    arrays, meta = final(job)
    assert arrays["optimizer/0"] == meta["epoch"] * 96 + meta["updates"]
