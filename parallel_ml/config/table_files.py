"""A look at the header of each table before any training: the file is there, and it has the columns that are named.

It is read as the training reads it; rows are left to the training.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from parallel_ml.config.fields import located
from parallel_ml.config.loaded import LoadedConfig
from parallel_ml.config.sections import DataPreprocessing
from parallel_ml.errors import ConfigProblem
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.table_text import TableFile, missing_column, open_table


def table_problems(job: LoadedConfig) -> Iterator[ConfigProblem]:
    """Yield what is wrong with the tables of a built-in training; nothing where it learns images."""
    data = job.config.data_preprocessing
    if data is None or data.train_data_path is None:
        return
    for key in ("train_data_path", "test_data_path"):
        named = getattr(data, key)
        if named is None:
            continue
        path = located(named, job.cwd)
        try:
            file = open_table(path)
        except TrainingError as error:
            text, _, hint = str(error).partition("; ")
            yield job.problem(("data_preprocessing", key), text, hint or _about_paths(path))
        else:
            yield from _missing_columns(job, data, file)


def _about_paths(path: Path) -> str:
    return "" if path.exists() else "paths are relative to the folder where run is typed"


def _missing_columns(job: LoadedConfig, data: DataPreprocessing, file: TableFile) -> Iterator[ConfigProblem]:
    wanted: list[tuple[str, int | None, str | None]] = [("target_column", None, data.target_column)]
    for key in ("feature_columns", "categorical_columns"):
        wanted += [(key, place, name) for place, name in enumerate(getattr(data, key) or [])]
    for key, place, name in wanted:
        if name is not None and name not in file.names:
            written = isinstance(job.values["data_preprocessing"].get(key), list)
            at = () if place is None or not written else (place,)
            text, _, hint = missing_column(file.names, name).partition("; ")
            yield job.problem(("data_preprocessing", key, *at), f"{file.path}: {text}", hint)
