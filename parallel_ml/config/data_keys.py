"""Whether the keys of a training fit together: some are for images alone, some for a table, some for a regression."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_ml.config.schema import Config
from parallel_ml.config.sections import DataPreprocessing, ModelTraining
from parallel_ml.config.tree import Node, Path, find
from parallel_ml.errors import ConfigProblem

Required = tuple[tuple[str, str, str], ...]

_IMAGE_KEYS = ("image_dir", "image_size", "color_mode")
_TABLE_KEYS = (
    *("train_data_path", "test_data_path", "feature_columns", "target_column"),
    *("categorical_columns", "algorithm_type"),
)
_OF_IMAGES: Required = (("data_preprocessing", "image_dir", "the folder of the images, one folder per class in it"),)
_OF_A_TABLE: Required = (
    ("data_preprocessing", "train_data_path", "the CSV file with the rows to learn from"),
    ("data_preprocessing", "target_column", "the column that is to be foretold"),
)
_OF_ANY: Required = (("model_training", "epochs", "how many times the data are gone through"),)


def required(root: Node) -> Required:
    """Return section, key and meaning of what a training must have: of a table where a key of one is there."""
    data = root.child("data_preprocessing")
    keys = data.value if data is not None and isinstance(data.value, dict) else {}
    is_table = "image_dir" not in keys and any(key in keys for key in _TABLE_KEYS)
    return (*(_OF_A_TABLE if is_table else _OF_IMAGES), *_OF_ANY)


def data_problems(config: Config, root: Node) -> Iterator[ConfigProblem]:
    """Yield the keys of a built-in training that contradict one another, as the document `root` has them."""
    data, training = config.data_preprocessing, config.model_training
    if data is None or training is None:
        return
    for path, message, hint in (*_of_the_data(data), *_of_the_model(data, training)):
        if isinstance(path[-1], int) and not isinstance(find(root, path[:-1]).value, list):
            path = path[:-1]  # noqa: PLW2901 - a single value that is read as a list of one
        yield find(root, path).problem(path, message, hint)


def _of_the_data(data: DataPreprocessing) -> Iterator[tuple[Path, str, str]]:
    given = data.model_fields_set
    foreign, own, here = (_TABLE_KEYS, "image_dir", "images") if data.image_dir else (_IMAGE_KEYS, "", "a table")
    for key in foreign:
        if key in given and getattr(data, key) is not None:
            what = "a table" if data.image_dir else "images"
            hint = f"write {own}, or the keys of a table" if own else "remove it"
            yield ("data_preprocessing", key), f"is for {what}, and the data are {here}", hint
            break
    features = data.feature_columns or []
    for place, name in enumerate(features):
        where: Path = ("data_preprocessing", "feature_columns", place)
        if name in features[:place]:
            yield where, f"names {name} a second time", "name it once"
        elif name == data.target_column:
            yield where, f"names the target {name}, which a model would just copy", "leave it out"
    for place, name in enumerate(data.categorical_columns or []):
        if features and name not in features:
            where = ("data_preprocessing", "categorical_columns", place)
            yield where, f"names {name}, which is not among feature_columns", "add it there, or leave it out here"


def _of_the_model(data: DataPreprocessing, training: ModelTraining) -> Iterator[tuple[Path, str, str]]:
    is_table = data.train_data_path is not None
    key = "model_type" if training.model_type else "model"
    model = training.model_type or training.model or ""
    if is_table and model and model != "mlp" and ":" not in model:
        yield ("model_training", key), f"{model} is for images", "a table is learned by mlp, or by module:function"
    kind = data.algorithm_type if is_table else "classification"
    if kind == "classification" and training.loss is not None:
        yield ("model_training", "loss"), "is for a regression", "remove it; classes have a loss of their own"
    for section in ("early_stopping", "learning_rate_scheduler"):
        monitor = getattr(getattr(training, section), "monitor", "")
        wrong = ("mae", "r2") if kind == "classification" else ("accuracy",) if kind == "regression" else ()
        if monitor.endswith(wrong) if wrong else False:
            there = "loss and accuracy" if kind == "classification" else "loss, mae and r2"
            what = f"a {kind} has no {monitor}"
            yield ("model_training", section, "monitor"), what, f"there are {there}, each also with val_"
