"""A training as one request says it, and the configuration that it becomes: the built-in training, never a program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from parallel_ml.adapters.web.paths import inside
from parallel_ml.adapters.web.problems import Problem
from parallel_ml.adapters.web.runs import JOB_NAME
from parallel_ml.adapters.web.schemas import Asked, Flag, NotText

_MODEL_FILE = "best_model.keras"
_SUFFIXES = (".keras", ".h5")
_TABLES = (".csv", ".tsv", ".txt")
"""What is no table is not opened as one: what is wrong with it would quote from it."""
_MODELS = r"^[A-Za-z][A-Za-z0-9]{0,99}$"
"""A name of a model: `module:function` would be a program."""

Text = Annotated[str, Field(min_length=1, max_length=1000)]
Column = Annotated[str, Field(min_length=1, max_length=500)]


class AlgorithmParameters(Asked):
    """The model, and how it is trained."""

    model_type: Annotated[str, Field(pattern=_MODELS)] | None = Field(
        default=None, description="mlp for a table; cnn, mlp or a name of keras.applications for images"
    )
    hidden_units: (
        Annotated[list[Annotated[int, Field(ge=1, le=65536), NotText]], Field(min_length=1, max_length=64)] | None
    ) = Field(default=None, description="The widths of its layers")
    dropout_rate: Annotated[float, Field(ge=0, lt=1), NotText] | None = None
    optimizer: Annotated[str, Field(pattern=_MODELS)] | None = None
    early_stopping_patience: Annotated[int, Field(ge=0, le=1_000_000), NotText] | None = Field(
        default=None, description="Epochs"
    )
    learning_rate_scheduler: Literal["step", "plateau", "cosine"] | None = None
    mixed_precision: Flag = False


class EpochTraining(Asked):
    """A training of a table (`train_data_path` is a CSV file), or of images (it is a folder with one a class)."""

    name: Annotated[str, Field(pattern=JOB_NAME)] | None = Field(default=None, description="The task's name")
    algorithm_type: Literal["classification", "regression"] | None = Field(
        default=None, description="Of a table; without it it follows from the target"
    )
    epochs: Annotated[int, Field(ge=1, le=1_000_000), NotText]
    batch_size: Annotated[int, Field(ge=1, le=1_048_576), NotText] = Field(32, description="Samples an update")
    learning_rate: Annotated[float, Field(gt=0, le=10), NotText] | None = None
    train_data_path: Text = Field(description="Relative to the server's root")
    feature_columns: Annotated[list[Column], Field(min_length=1, max_length=10_000)] | None = Field(
        default=None, description="Of a table; without it all but the target"
    )
    target_column: Column | None = Field(default=None, description="Of a table: what is to be foretold")
    algorithm_params: AlgorithmParameters = AlgorithmParameters()
    output_path: Text | None = Field(
        default=None,
        description="Where the model goes, a folder or a file name, relative to the server's root; it gets a "
        "name of its own there. Without it, into the run's folder",
    )

    def config(self, root: Path) -> dict[str, Any]:
        """Return the configuration.

        Raises:
            Problem: A path leads out of the root, or there is nothing.
        """
        data = inside(root, self.train_data_path)
        if not data.exists():
            raise Problem(404, "not-found", f"there is no {self.train_data_path[:200]!r} under the server's root")
        if data.is_file() and data.suffix.lower() not in _TABLES:
            hint = f"a table's file ends in {', '.join(_TABLES)}"
            raise Problem(422, "no-table", f"{self.train_data_path[:200]!r} is no table", hint)
        wanted: dict[str, Any] = {"data_preprocessing": self._data(data), "model_training": self._training(root)}
        return {"name": self.name or "epoch-train", **wanted}

    def _data(self, path: Path) -> dict[str, Any]:
        table = {
            "feature_columns": self.feature_columns,
            "target_column": self.target_column,
            "algorithm_type": self.algorithm_type,
        }
        told = {"batch_size": self.batch_size, **{key: value for key, value in table.items() if value is not None}}
        return {"image_dir" if path.is_dir() else "train_data_path": str(path), **told}

    def _training(self, root: Path) -> dict[str, Any]:
        params = self.algorithm_params.model_dump(exclude_none=True, exclude_defaults=True)
        told: dict[str, Any] = {"epochs": self.epochs, **params}
        if self.learning_rate is not None:
            told["learning_rate"] = self.learning_rate
        if self.output_path is not None:
            told["checkpoint"] = {"filepath": str(_model_path(inside(root, self.output_path)))}
        return told


def _model_path(path: Path) -> Path:
    return path if path.suffix in _SUFFIXES and not path.is_dir() else path / _MODEL_FILE
