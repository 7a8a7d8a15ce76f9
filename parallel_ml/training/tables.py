"""A table from its file to a matrix: read, divided, encoded by what the rows to train on hold. No framework."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parallel_ml.training import table_target as target
from parallel_ml.training.console import log
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.files import remove_leftovers
from parallel_ml.training.splits import Splits, refuse_empty, split
from parallel_ml.training.table_columns import MOST_CATEGORIES, Columns, Numbers, Texts, read_columns
from parallel_ml.training.table_encoding import Encoding, encode, fit, mean_and_scale
from parallel_ml.training.table_record import TableRecord, fingerprint, read_record, record_path, write_record
from parallel_ml.training.table_text import open_table, shown
from parallel_ml.training.tasks import Classification, Regression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from parallel_ml.training.settings import Settings, TableSettings

_NAMED = 5
_FEW_ROWS = 20


@dataclass(frozen=True)
class TableData:
    """A table as a model takes it.

    Attributes:
        matrix: float32 (rows, values); those of a test file come last.
        labels: int32 (rows,) classes, or float32 (rows, 1) numbers.
        splits: Which rows are for what.
        record: How they were encoded.
    """

    matrix: np.ndarray
    labels: np.ndarray
    splits: Splits
    record: TableRecord


def read_table(settings: Settings, table: TableSettings, check: Callable[[], None] = lambda: None) -> TableData:
    """Read a table, divide its rows, and encode them by what those to train on hold.

    Args:
        settings: The training.
        table: Its table.
        check: Called now and then; what it raises ends the work.

    Raises:
        TrainingError: The table is no use; the text says where and why.
    """
    given = _read_training(table, check)
    classes = target.classes_of(given, table.target) if _is_classification(given, table) else ()
    targets = _targets(given, table.target, classes)
    splits = _split(settings, table, targets, classes)
    _tell_small_classes(given, table, splits, classes)
    rows = np.array(splits.train)
    encodings = tuple(fit(_usable(given, name), rows) for name in given.by_name if name != table.target)
    task = Classification(classes) if classes else _regression(targets[rows], settings.model.loss)
    matrix = _encoded(given, encodings)
    paths = [path for path in (table.train_path, table.test_path) if path is not None]
    record = TableRecord(table.target, task, encodings, fingerprint(paths))
    if table.test_path is not None:
        tested = _read_test(table.test_path, record, check)
        matrix = np.concatenate([matrix, _encoded(tested, encodings)])
        targets = np.concatenate([targets, _targets(tested, table.target, classes)])
        splits = Splits(splits.train, splits.validation, tuple(range(len(given.lines), len(matrix))))
    return TableData(matrix, task.labels(targets) if isinstance(task, Regression) else targets, splits, record)


def keep_record(settings: Settings, record: TableRecord) -> None:
    """Write the record beside the model; say where the data are not those that an earlier attempt learned from."""
    path = settings.model.checkpoint
    remove_leftovers(record_path(path))
    before = None
    with suppress(TrainingError):
        before = read_record(path)
    if before is not None and before.data != record.data and any(settings.process.checkpoint_dir.glob("state-*")):
        log.warning("the table is not what it was when this training began: it goes on, but not bit for bit")
    if before != record:
        write_record(path, record)


def _read_training(table: TableSettings, check: Callable[[], None]) -> Columns:
    file = open_table(table.train_path)
    file.place_of(table.target)
    features = table.features or tuple(name for name in file.names if name and name != table.target)
    if table.target in features:
        raise TrainingError(f"feature_columns holds the target {shown(table.target)}; a model would just copy it")
    if not features:
        raise TrainingError(f"{file.path}: has no column beside the target {shown(table.target)}")
    for name in table.categories:
        if name not in (*features, table.target):
            raise TrainingError(f"categorical_columns names {shown(name)}, which is not among the feature columns")
    return read_columns(file, [*features, table.target], texts={table.target, *table.categories}, check=check)


def _read_test(path: Path, record: TableRecord, check: Callable[[], None]) -> Columns:
    names, texts = [*record.features, record.target], record.texts | {record.target}
    return read_columns(open_table(path), names, texts=texts, numbers=record.numbers, check=check)


def _is_classification(columns: Columns, table: TableSettings) -> bool:
    if table.algorithm_type is not None:
        return table.algorithm_type == "classification"
    target.refuse_missing(columns, table.target)
    found = target.is_classification(columns, table.target)
    kind, other = ("classification", "regression") if found else ("regression", "classification")
    log.info("by the values of %s this is a %s; algorithm_type: %s would change that", table.target, kind, other)
    return found


def _targets(columns: Columns, name: str, classes: Sequence[str]) -> np.ndarray:
    """Return the place of each row's class, or the numbers of the target where there are no classes."""
    return target.class_labels(columns, name, classes) if classes else target.target_numbers(columns, name)


def _split(settings: Settings, table: TableSettings, targets: np.ndarray, classes: Sequence[str]) -> Splits:
    """Divide the rows, each class alike; with a file of test rows, among training and validation alone."""
    train, validation, test = settings.data.split_ratios
    ratios = (train, validation, 0.0 if table.test_path else test)
    names = [str(row) for row in range(len(targets))]
    splits = split(names, targets.tolist() if classes else [0] * len(targets), ratios, settings.data.split_seed)
    refuse_empty(splits, ratios, f"{table.train_path}: {len(targets)} rows are")
    return splits


def _regression(values: np.ndarray, loss: str | None) -> Regression:
    if (values == values[0]).all():
        raise TrainingError(f"the target is {values[0]:g} in every row to train on; there is nothing to learn")
    return Regression(*mean_and_scale(values), loss or "mse")


def _usable(columns: Columns, name: str) -> Numbers | Texts:
    """Return a feature column.

    Raises:
        TrainingError: Nothing can be learned from it.
    """
    column = columns.by_name[name]
    empty = not column.known if isinstance(column, Texts) else bool(np.isnan(column.values).all())
    where = f"{columns.file.path}: column {shown(name)}"
    if empty:
        raise TrainingError(f"{where} holds no value; leave it out of feature_columns")
    rows = len(columns.lines)
    if isinstance(column, Texts):
        count = len(column.known)
        if count > MOST_CATEGORIES or (2 * count > rows > _FEW_ROWS):
            raise TrainingError(
                f"{where} holds {count:,} different texts in {rows:,} rows, such as {shown(column.known[0])}: "
                "too many for categories; leave it out of feature_columns"
            )
    return column


def _encoded(columns: Columns, encodings: Sequence[Encoding]) -> np.ndarray:
    matrix, foreign = encode(columns, encodings)
    for name, count in foreign.items():
        log.warning("column %s: %d rows hold a text that no row to train on has; it is taken as none", name, count)
    return matrix


def _tell_small_classes(columns: Columns, table: TableSettings, splits: Splits, classes: Sequence[str]) -> None:
    parts = 1 + bool(splits.validation) + bool(splits.test)
    few = target.small_classes(columns, table.target, parts) if classes else []
    if few:
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        named = ", ".join(few[:_NAMED]) + more
        log.warning("classes with fewer than %d rows are not in every part of the data: %s", parts, named)
