"""A training whose saved files are lost meanwhile, or find no room."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from parallel_ml.training import devices
from parallel_ml.training.console import start_log
from parallel_ml.training.failures import Released, TrainingError
from parallel_ml.training.settings import ModelSettings
from parallel_ml.training.statefile import StateFolder
from tests.e2e.trainings import draw, final, resolve, train_here, weights

pytestmark = pytest.mark.tf

STATE = {"model/0": np.arange(3.0)}


def load(path: Path) -> list[np.ndarray]:
    """Return the weights of a saved model."""
    devices.load_framework(None)
    import keras  # noqa: PLC0415 - only for those who run these tests

    return [np.asarray(weight) for weight in keras.saving.load_model(path).weights]


def cut_short(path: Path) -> None:
    """Leave the first 9000 bytes."""
    path.write_bytes(path.read_bytes()[:9000])


def warned(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was said of a best model."""
    return [line for line in capsys.readouterr().out.splitlines() if "best" in line]


@pytest.mark.parametrize(("lose", "why"), [(cut_short, "is damaged ("), (Path.unlink, "is not there")])
def test_the_last_epoch_takes_the_place_of_a_lost_best_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lose: Any, why: str
) -> None:
    """Between two epochs its weights are those of the state: one line says so, and its model is there at once."""
    job, images = tmp_path / "job", draw(tmp_path / "images", 12)
    train_here(resolve(job, images, epochs=2))
    lose(job / "best.keras")
    start_log("INFO")
    capsys.readouterr()
    trained = train_here(resolve(job, images, epochs=2))
    (line,) = warned(capsys)
    assert f"is lost: {job / 'best.keras'} {why}" in line
    assert line.endswith("that of epoch 2 takes its place")
    assert trained.best_epoch == 2
    for one, other in zip(load(job / "best.keras"), weights(trained), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_best_model_that_is_lost_within_an_epoch_is_judged_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The end is a whole best model of an epoch from there on; the training itself is as it would have been."""
    images = draw(tmp_path / "images", 12)
    whole = train_here(resolve(tmp_path / "whole", images))
    path = resolve(tmp_path / "job", images)
    with pytest.raises(Released):
        train_here(path, stop_at=7)
    cut_short(tmp_path / "job" / "best.keras")
    start_log("INFO")
    capsys.readouterr()
    trained = train_here(path)
    (line,) = warned(capsys)
    assert line.endswith("which one is the best is judged anew from epoch 2 on")
    assert trained.best_epoch in {2, 3}
    assert load(tmp_path / "job" / "best.keras")
    for one, other in zip(weights(whole), weights(trained), strict=True):
        assert one.tobytes() == other.tobytes()
    assert final(tmp_path / "job")[1]["watchers"]["best"]["best_epoch"] == trained.best_epoch


def test_a_model_that_cannot_be_read_back_is_named(tmp_path: Path) -> None:
    """The analysis says which file it is, and what is wrong with it."""
    devices.load_framework(None)
    from parallel_ml.training.evaluate import load_model  # noqa: PLC0415 - it imports the framework

    path = tmp_path / "best.keras"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(TrainingError, match=r"best\.keras is damaged \(.*\); retry"):
        load_model(path, lambda: None)


@pytest.mark.parametrize(("epochs", "said"), [(2, True), (0, False)])
def test_a_training_that_starts_over_says_so(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    epochs: int,
    said: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Epochs are in the metrics, and their states are not there."""
    path = resolve(tmp_path / "job", draw(tmp_path / "images", 4), epochs=1)
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(f'{{"epoch": {epoch + 1}}}\n' for epoch in range(epochs)))
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "logging": {"metrics_file": str(metrics)}}))
    start_log("INFO")
    train_here(path)
    told = f"2 epochs were trained before, but no state of them is in {tmp_path / 'job' / 'checkpoints'}: starting over"
    assert (told in capsys.readouterr().out) is said


class SmallDisk:
    """In place of a Keras model: it can be saved where at most so many states are on the disk."""

    def __init__(self, folder: Path, states: int) -> None:
        """Have one weight."""
        import keras  # noqa: PLC0415 - only for those who run these tests

        self._folder, self._states, self.variables = folder, states, [keras.Variable(np.zeros(2))]

    def save(self, path: Path) -> None:
        """Write the model, or half of it; one that is there already takes the room of a state."""
        full = len([*self._folder.glob("state-*.npz"), *self._folder.glob("best.*")]) > self._states
        path.write_text("half" if full else "whole")
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")


def keeper_on(folder: Path, room_for: int) -> Any:
    """Return what saves a model, with three states of it on a disk that has room for so many beside the model."""
    devices.load_framework(None)
    from parallel_ml.training.saving import Keeper  # noqa: PLC0415 - it imports the framework

    states = StateFolder(folder, keep=3)
    for epoch in range(3):
        states.save(STATE, {"epoch": epoch})
    return Keeper(ModelSettings(epochs=1, checkpoint=folder / "best.keras"), states, SmallDisk(folder, room_for))


@pytest.mark.parametrize("room_for", [1, 2, 3])
def test_the_oldest_states_make_room_for_the_best_model(tmp_path: Path, room_for: int) -> None:
    """As many as it takes and no more."""
    keeper = keeper_on(tmp_path, room_for)
    keeper.keep_best()
    assert (tmp_path / "best.keras").read_text() == "whole"
    left = [f"state-{number:06}.npz" for number in (1, 2, 3)][-room_for:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.keras", *left]


def test_at_the_end_the_best_model_takes_the_room_of_the_one_before(tmp_path: Path) -> None:
    """Not sooner: until then the states speak of that one."""
    keeper, best = keeper_on(tmp_path, 1), tmp_path / "best.keras"
    best.write_text("an older one")
    keeper.keep_best()
    assert best.read_text() == "an older one"
    keeper.finish(with_last=False)
    assert best.read_text() == "whole"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["best.keras", "state-000003.npz"]


@pytest.mark.parametrize("with_last", [True, False])
def test_a_model_that_finds_no_room_at_the_end_is_named(tmp_path: Path, with_last: bool) -> None:  # noqa: FBT001
    """The newest state stays, and the error says where the model should have gone and what to do."""
    keeper = keeper_on(tmp_path, 0)
    keeper.keep_best()
    with pytest.raises(TrainingError, match=r"best\.keras: the model cannot be saved: No space left.*retry the job"):
        keeper.finish(with_last=with_last)
    assert [path.name for path in tmp_path.iterdir()] == ["state-000003.npz"]
