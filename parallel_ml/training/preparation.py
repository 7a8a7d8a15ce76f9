"""The preprocessing, up to what a model can be trained on; how a table is read is in `tables`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from parallel_ml.training.console import log
from parallel_ml.training.dataset import ImageSource, RowSource
from parallel_ml.training.devices import worker_threads
from parallel_ml.training.images import read_folder
from parallel_ml.training.models import size_limits
from parallel_ml.training.shape import choose_shape
from parallel_ml.training.splits import Splits, refuse_empty, split
from parallel_ml.training.table_record import record_path
from parallel_ml.training.tables import keep_record, read_table
from parallel_ml.training.tasks import Classification

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from parallel_ml.training.dataset import Source
    from parallel_ml.training.images import ImageFolder
    from parallel_ml.training.settings import Settings, TableSettings
    from parallel_ml.training.tasks import Task

_NAMED = 5


@dataclass(frozen=True)
class Prepared:
    """What preprocessing hands on.

    Attributes:
        told: What `result.json` says of the data.
    """

    source: Source
    splits: Splits
    task: Task
    told: dict[str, Any] = field(default_factory=dict)


def prepare_images(settings: Settings, folder: Path, check: Callable[[], None]) -> Prepared:
    """Find and check the images, divide them, and make them ready to be read.

    Args:
        settings: The training.
        folder: Holds one folder per class.
        check: Called now and then; what it raises ends the work.

    Raises:
        TrainingError: They are no use.
    """
    data, workers = settings.data, worker_threads(settings.process)
    found = read_folder(folder, workers, check)
    _tell_folder(found)
    names, labels = [file.name for file in found.files], [file.label for file in found.files]
    splits = split(names, labels, data.split_ratios, data.split_seed)
    refuse_empty(splits, data.split_ratios, f"{len(found.files)} images are")
    shape = choose_shape(found.files, data.image_size, size_limits(settings.model.model), data.channels)
    source = ImageSource(found.files, shape, workers)
    source.hold_if_small(check)
    log.info(
        "data: %d images of %d classes as %dx%dx%d, %s; %d to train, %d to validate, %d to test",
        len(found.files),
        len(found.classes),
        *shape.as_tuple,
        "in memory" if source.in_memory else "streamed",
        *(len(part) for part in vars(splits).values()),
    )
    told = {"classes": list(found.classes), "skipped_files": [file.name for file in found.skipped]}
    return Prepared(source, splits, Classification(found.classes), told)


def prepare_table(settings: Settings, table: TableSettings, check: Callable[[], None]) -> Prepared:
    """Read a table, divide and encode it, and write beside the model how that was done.

    Args:
        settings: The training.
        table: Its table.
        check: Called now and then; what it raises ends the work.

    Raises:
        TrainingError: The table is no use.
    """
    read = read_table(settings, table, check)
    record, task = read.record, read.record.task
    keep_record(settings, record)
    log.info(
        "data: %d rows of %d columns as %d values, for %s; %d to train, %d to validate, %d to test",
        len(read.matrix),
        len(record.features),
        read.matrix.shape[1],
        f"{task.outputs} classes" if isinstance(task, Classification) else "a number",
        *(len(part) for part in vars(read.splits).values()),
    )
    told = {
        **({"classes": list(task.classes)} if isinstance(task, Classification) else {}),
        "skipped_files": [],
        "algorithm_type": "classification" if isinstance(task, Classification) else "regression",
        "target_column": record.target,
        "feature_columns": list(record.features),
        "table_path": str(record_path(settings.model.checkpoint)),
    }
    return Prepared(RowSource(read.matrix, read.labels, worker_threads(settings.process)), read.splits, task, told)


def _tell_folder(folder: ImageFolder) -> None:
    if folder.ignored_folders:
        log.warning("no images in the folders %s: they are no classes", ", ".join(folder.ignored_folders[:_NAMED]))
    if folder.skipped:
        named = "; ".join(f"{file.name} ({file.reason})" for file in folder.skipped[:_NAMED])
        more = f"; and {len(folder.skipped) - _NAMED} more, see result.json" if len(folder.skipped) > _NAMED else ""
        log.warning("skipped %d files: %s%s", len(folder.skipped), named, more)
