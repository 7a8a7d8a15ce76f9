"""What a request for a training becomes: the configuration of the built-in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parallel_ml.adapters.web.epoch_training import EpochTraining
from parallel_ml.config.manager import load_snapshot
from parallel_ml.config.yaml_text import dump

WHOLE: dict[str, Any] = {
    "name": "buyers",
    "algorithm_type": "classification",
    "epochs": 5,
    "batch_size": 16,
    "learning_rate": 0.01,
    "train_data_path": "table.csv",
    "feature_columns": ["age", "city"],
    "target_column": "bought",
    "algorithm_params": {
        "model_type": "mlp",
        "hidden_units": [64, 32],
        "dropout_rate": 0.2,
        "early_stopping_patience": 3,
        "learning_rate_scheduler": "step",
    },
    "output_path": "models",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with a table and a folder of images."""
    (tmp_path / "table.csv").write_text("age,city,bought\n1,x,y\n", encoding="utf-8")
    (tmp_path / "images/cats").mkdir(parents=True)
    return tmp_path.resolve()


def test_every_field_of_the_contract_is_taken_over(root: Path) -> None:
    """And what comes out is a configuration that is right."""
    told = EpochTraining.model_validate(WHOLE).config(root)
    data, training = told["data_preprocessing"], told["model_training"]
    assert data == {
        "train_data_path": str(root / "table.csv"),
        "batch_size": 16,
        "feature_columns": ["age", "city"],
        "target_column": "bought",
        "algorithm_type": "classification",
    }
    assert {key: training[key] for key in WHOLE["algorithm_params"]} == WHOLE["algorithm_params"]
    assert (training["epochs"], training["learning_rate"]) == (5, 0.01)
    assert training["checkpoint"] == {"filepath": str(root / "models/best_model.keras")}
    loaded = load_snapshot(dump(told), source="request", cwd=root, environ={})
    assert (loaded.name, loaded.config.built_in, loaded.config.command) == ("buyers", True, None)


def test_a_folder_is_one_of_images(root: Path) -> None:
    """One folder a class in it."""
    told = EpochTraining.model_validate({"epochs": 1, "train_data_path": "images"}).config(root)
    assert told["data_preprocessing"] == {"image_dir": str(root / "images"), "batch_size": 32}
    assert "checkpoint" not in told["model_training"]


@pytest.mark.parametrize(("path", "goes"), [("a/b.keras", "a/b.keras"), ("m.h5", "m.h5"), ("a", "a/best_model.keras")])
def test_the_model_goes_to_a_file_or_into_a_folder(root: Path, path: str, goes: str) -> None:
    """By the ending of the name."""
    told = EpochTraining.model_validate({**WHOLE, "output_path": path}).config(root)
    assert told["model_training"]["checkpoint"]["filepath"] == str(root / goes)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"epochs": 0}, {"epochs": "5"}, {"epochs": True}, {"batch_size": 0}, {"learning_rate": "0.1"}),
        *({"name": "../x"}, {"algorithm_params": {"dropout_rate": 1.0}}, {"algorithm_type": "other"}),
        *({"command": ["sh"]}, {"env": {}}),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    """Numbers are numbers, and there are no other keys."""
    with pytest.raises(ValueError, match="validation error"):
        EpochTraining.model_validate({**WHOLE, **wrong})
