"""Reading a resolved configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_ml.training.failures import TrainingError
from parallel_ml.training.settings import (
    EarlyStoppingSettings,
    ScheduleSettings,
    Settings,
    TableSettings,
    read_settings,
)


def tree(**model_training: Any) -> dict[str, Any]:
    """Return the least configuration, with some keys of `model_training`."""
    return {
        "data_preprocessing": {"image_dir": "/data", "batch_size": 16, "random_state": 7, "split_random_state": 42},
        "model_training": {"epochs": 4, "checkpoint": {"filepath": "/job/best.keras"}, **model_training},
        "result_analysis": {"model_path": "/job/best.keras"},
    }


def read(folder: Path, content: Any) -> Settings:
    """Write a configuration and read it back."""
    path = folder / "resolved.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return read_settings(path)


def test_what_is_not_given_has_its_default(tmp_path: Path) -> None:
    """The three sections alone are enough, and results land beside the file."""
    found = read(tmp_path, tree())
    assert found.data.split_ratios == (0.8, 0.1, 0.1)
    assert (found.model.model, found.model.optimizer, found.model.learning_rate) == ("cnn", "adam", 0.001)
    assert (found.model.early_stopping, found.model.schedule, found.model.accumulation) == (None, None, 1)
    assert found.process.result_file == tmp_path / "result.json"


def test_the_split_has_a_seed_of_its_own(tmp_path: Path) -> None:
    """All jobs of a run are tested on the same images, each with its own seed of training."""
    found = read(tmp_path, {**tree(), "process": {"seed": 9}})
    assert (found.data.split_seed, found.process.seed) == (42, 9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"early_stopping": {}}, EarlyStoppingSettings()),
        ({"early_stopping": {"patience": 3, "mode": None}}, EarlyStoppingSettings(patience=3)),
        ({"early_stopping_patience": 5}, EarlyStoppingSettings(patience=5)),
        ({"early_stopping": None, "early_stopping_patience": None}, None),
    ],
)
def test_early_stopping_in_each_spelling(tmp_path: Path, given: dict[str, Any], expected: Any) -> None:
    """A mapping, or the flat key; without either there is none."""
    assert read(tmp_path, tree(**given)).model.early_stopping == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("step", ScheduleSettings("step")),
        ({"type": "plateau", "factor": 0.2}, ScheduleSettings("plateau", factor=0.2)),
        (None, None),
    ],
)
def test_schedules_in_each_spelling(tmp_path: Path, given: Any, expected: Any) -> None:
    """A word, or a mapping with `type` and keys of its own."""
    assert read(tmp_path, tree(learning_rate_scheduler=given)).model.schedule == expected


def test_the_flat_spelling_of_the_model(tmp_path: Path) -> None:
    """`model_type: mlp` is `model: mlp`."""
    assert read(tmp_path, tree(model_type="mlp")).model.model == "mlp"


@pytest.mark.parametrize(
    ("allocation", "device", "limit"),
    [
        (None, None, None),
        ({"device": "cpu", "memory_limit": None}, "cpu", None),
        ({"gpu_index": 0, "memory_limit": 4000}, "gpu", 4000),
    ],
)
def test_the_grant(tmp_path: Path, allocation: Any, device: str | None, limit: int | None) -> None:
    """Where the process runs, and how much memory it may take there."""
    found = read(tmp_path, {**tree(), "process": {"allocation": allocation}}).process
    assert (found.device, found.memory_limit_mb) == (device, limit)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_training": {}}, "the key data_preprocessing is missing"),
        ("a: [1", "is not YAML"),
        ("just text", "is no resolved configuration"),
    ],
)
def test_a_file_of_no_use_is_named(tmp_path: Path, content: Any, message: str) -> None:
    """One line that says which file and what is wrong with it."""
    with pytest.raises(TrainingError, match=message):
        read(tmp_path, content)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The path stands in the error."""
    with pytest.raises(TrainingError, match=r"none\.yaml: cannot be read: No such file"):
        read_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("given", "updates", "seconds", "keep"),
    [({}, None, 600.0, 3), ({"every": 500, "keep": 5}, 500, 600.0, 5), ({"every": "90s"}, None, 90.0, 3)],
)
def test_when_a_state_is_saved(
    tmp_path: Path, given: dict[str, Any], updates: int | None, seconds: float, keep: int
) -> None:
    """A whole number counts updates, a time is a time."""
    model = read(tmp_path, tree(checkpoint={"filepath": "/job/best.keras", **given})).model
    assert (model.save_every_updates, model.save_every_s, model.keep) == (updates, seconds, keep)


@pytest.mark.parametrize(("given", "expected"), [({}, 16), ({"evaluation_batch_size": 4}, 4)])
def test_validation_and_test_may_have_a_batch_of_their_own(
    tmp_path: Path, given: dict[str, int], expected: int
) -> None:
    """A lack of memory there need not touch the training."""
    whole = tree()
    whole["data_preprocessing"] |= given
    assert read(tmp_path, whole).data.judged_at_a_time == expected


def test_a_table_is_learned_by_mlp(tmp_path: Path) -> None:
    """A single column may stand alone; there are no images."""
    data = {
        "train_data_path": "/a.csv",
        "target_column": "y",
        "feature_columns": "size",
        "categorical_columns": ["zip"],
    }
    found = read(tmp_path, {**tree(), "data_preprocessing": data})
    assert found.data.table == TableSettings(Path("/a.csv"), "y", ("size",), categories=("zip",))
    assert (found.data.image_dir, found.model.model, found.model.loss) == (None, "mlp", None)
