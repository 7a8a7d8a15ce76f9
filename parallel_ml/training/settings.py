"""What the built-in training is told: resolved.yaml as frozen dataclasses, with the defaults of every optional key.

The file was validated when it was written; what is checked here is only what a file written by hand could lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from parallel_ml.training.failures import TrainingError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class TableSettings:
    """A table to learn from.

    Attributes:
        train_path: A CSV file.
        target: The column that is foretold.
        features: The columns to tell it from; none named are all others.
        test_path: A CSV file whose rows are the test, or None to take them from the first.
        categories: Columns whose values are names, also where they look like numbers.
        algorithm_type: `classification`, `regression`, or None to follow from the target's values.
    """

    train_path: Path
    target: str
    features: tuple[str, ...] = ()
    test_path: Path | None = None
    categories: tuple[str, ...] = ()
    algorithm_type: str | None = None


@dataclass(frozen=True)
class DataSettings:
    """What is read and how it is divided: images or a table.

    Attributes:
        image_dir: The folder that holds one folder per class.
        table: The table, where it is one.
        batch_size: Samples at a time; what one update sees is this times the accumulation.
        split_ratios: Shares of train, validation and test.
        split_seed: Decides which image, or row, goes where.
        image_size: (height, width) in pixels, or None to choose it from the images.
        channels: 3 for colour, 1 for grey, or None to keep what the images have.
        evaluation_batch_size: Samples at a time in validation and test; None is `batch_size`.
    """

    image_dir: Path | None
    batch_size: int
    split_ratios: tuple[float, float, float]
    split_seed: int
    table: TableSettings | None = None
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    evaluation_batch_size: int | None = None

    @property
    def judged_at_a_time(self) -> int:
        """Samples at a time in validation and test."""
        return self.evaluation_batch_size or self.batch_size


@dataclass(frozen=True)
class EarlyStoppingSettings:
    """When to stop because nothing gets better. `mode` None follows from the name of what is watched."""

    monitor: str = "val_loss"
    mode: str | None = None
    patience: int = 10
    min_delta: float = 0.001
    restore_best: bool = True


@dataclass(frozen=True)
class ScheduleSettings:
    """How the learning rate changes from epoch to epoch; each kind reads its own keys.

    Attributes:
        kind: `step`, `plateau` or `cosine`.
        step_size: step: epochs between two cuts.
        gamma: step: what a cut multiplies by.
        factor: plateau: what a cut multiplies by.
        patience: plateau: epochs without progress before a cut.
        min_delta: plateau: the least change that is progress.
        monitor: plateau: what is watched.
        mode: plateau: `min`, `max`, or None to follow from the name.
        min_lr: plateau, cosine: the lowest rate.
        warmup_epochs: cosine: epochs of linear rise before it.
    """

    kind: str
    step_size: int = 30
    gamma: float = 0.1
    factor: float = 0.5
    patience: int = 5
    min_delta: float = 0.0001
    monitor: str = "val_loss"
    mode: str | None = None
    min_lr: float = 0.0
    warmup_epochs: int = 0


@dataclass(frozen=True)
class ModelSettings:
    """What is trained and how.

    Attributes:
        model: `cnn`, `mlp`, a name of keras.applications, or `module:function`.
        checkpoint: Where the best model goes.
        accumulation: Batches whose gradients make one update.
        loss: For a number, `mse` or `mae`; None is `mse`.
        hidden_units: Widths of the dense layers; None leaves them to the model.
        dropout_rate: None leaves it to the model.
        save_every_updates: Updates between two states saved within an epoch; None where a time decides.
        save_every_s: Seconds between two saved states.
        keep: How many states are kept.
    """

    epochs: int
    checkpoint: Path
    model: str = "cnn"
    optimizer: str = "adam"
    learning_rate: float = 0.001
    accumulation: int = 1
    hidden_units: tuple[int, ...] | None = None
    dropout_rate: float | None = None
    early_stopping: EarlyStoppingSettings | None = None
    schedule: ScheduleSettings | None = None
    mixed_precision: bool = False
    loss: str | None = None
    save_every_updates: int | None = None
    save_every_s: float = 600.0
    keep: int = 3


@dataclass(frozen=True)
class ProcessSettings:
    """This process's place in the run.

    Attributes:
        checkpoint_dir: Where the last full state is kept between attempts.
        result_file: Where the analysis goes.
        rates_file: What is ordered for the learning rate meanwhile, or None.
        cpus: Threads to use; None leaves the framework's default.
        device: `gpu` or `cpu` as it was granted; None where nothing was granted.
        memory_limit_mb: The grant on each card in MiB, or None.
        requested_batch: The batch size that the user asked for; None where that is the one of this attempt.
        metrics_file: Where the guard writes what `report` tells; None where there is none.
    """

    seed: int
    checkpoint_dir: Path
    result_file: Path
    rates_file: Path | None
    cpus: int | None = None
    device: str | None = None
    memory_limit_mb: int | None = None
    requested_batch: int | None = None
    metrics_file: Path | None = None


@dataclass(frozen=True)
class Settings:
    """All of it."""

    name: str
    data: DataSettings
    model: ModelSettings
    process: ProcessSettings
    log_level: str = "INFO"

    @property
    def effective_batch(self) -> int:
        """Samples that go into one update of the weights."""
        return self.data.batch_size * self.model.accumulation


def read_settings(path: Path) -> Settings:
    """Read a resolved configuration.

    Raises:
        TrainingError: It cannot be read, or a key is missing or of the wrong kind.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        return settings_from(tree, path)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise TrainingError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    except KeyError as error:
        raise TrainingError(f"{path}: the key {error.args[0]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path}: is no resolved configuration: {error}") from error


def settings_from(tree: dict[str, Any], path: Path) -> Settings:
    """Return the settings that a parsed configuration stands for; `path` is where it lies."""
    data = _data(tree["data_preprocessing"])
    model = _model(tree["model_training"], "cnn" if data.table is None else "mlp")
    return Settings(
        name=str(tree.get("name", path.stem)),
        data=data,
        model=model,
        process=_process(tree, path),
        log_level=str((tree.get("logging") or {}).get("level", "INFO")),
    )


def _data(tree: dict[str, Any]) -> DataSettings:
    ratios = tree.get("split_ratios") or {"train": 0.8, "validation": 0.1, "test": 0.1}
    seed = int(tree.get("random_state", 42))
    size, judged = tree.get("image_size"), tree.get("evaluation_batch_size")
    table = _table(tree) if tree.get("train_data_path") else None
    return DataSettings(
        image_dir=None if table else Path(tree["image_dir"]),
        batch_size=int(tree.get("batch_size", 32)),
        split_ratios=(float(ratios["train"]), float(ratios.get("validation", 0)), float(ratios.get("test", 0))),
        split_seed=int(tree.get("split_random_state", seed)),
        image_size=_image_size(size),
        channels={"rgb": 3, "grayscale": 1, None: None}[tree.get("color_mode")],
        evaluation_batch_size=None if judged is None else int(judged),
        table=table,
    )


def _table(tree: dict[str, Any]) -> TableSettings:
    test = tree.get("test_data_path")
    return TableSettings(
        train_path=Path(tree["train_data_path"]),
        target=str(tree["target_column"]),
        features=_names(tree.get("feature_columns")),
        test_path=None if test is None else Path(test),
        categories=_names(tree.get("categorical_columns")),
        algorithm_type=tree.get("algorithm_type"),
    )


def _names(given: object) -> tuple[str, ...]:
    """Return a list of names; one may stand alone."""
    return tuple(str(name) for name in (given if isinstance(given, list) else [given] if given is not None else []))


def _image_size(size: object) -> tuple[int, int] | None:
    """Return (height, width) for one number (a square), for two, or for nothing."""
    if size is None:
        return None
    if isinstance(size, int):
        return size, size
    sides = [int(side) for side in size]  # type: ignore[attr-defined]
    return sides[0], sides[1]


def _model(tree: dict[str, Any], default: str) -> ModelSettings:
    hidden = tree.get("hidden_units")
    if isinstance(hidden, int):
        hidden = [hidden]
    dropout = tree.get("dropout_rate")
    return ModelSettings(
        epochs=int(tree["epochs"]),
        checkpoint=Path(tree["checkpoint"]["filepath"]),
        model=str(tree.get("model") or tree.get("model_type") or default),
        optimizer=str(tree.get("optimizer") or "adam").lower(),
        learning_rate=float(tree.get("learning_rate", 0.001)),
        accumulation=int(tree.get("gradient_accumulation") or 1),
        hidden_units=None if hidden is None else tuple(int(width) for width in hidden),
        dropout_rate=None if dropout is None else float(dropout),
        early_stopping=_early_stopping(tree),
        schedule=_schedule(tree.get("learning_rate_scheduler")),
        mixed_precision=bool(tree.get("mixed_precision", False)),
        loss=tree.get("loss"),
        keep=int(tree["checkpoint"].get("keep") or 3),
        **_saved_every(tree["checkpoint"].get("every")),
    )


def _saved_every(given: object) -> dict[str, Any]:
    """Return what `checkpoint.every` asks for: a whole number is updates, a number with a unit is a time.

    >>> _saved_every(500), _saved_every("600s")
    ({'save_every_updates': 500}, {'save_every_s': 600.0})
    """
    if given is None:
        return {}
    text = str(given).strip()
    if text.isdigit():
        return {"save_every_updates": max(1, int(text))}
    return {"save_every_s": float(text[:-1]) * _SECONDS[text[-1]]}


def _early_stopping(tree: dict[str, Any]) -> EarlyStoppingSettings | None:
    """Return what `early_stopping` or the flat `early_stopping_patience` asks for; None where neither is given."""
    given, flat = tree.get("early_stopping"), tree.get("early_stopping_patience")
    if given is True:
        given = {}
    if isinstance(given, dict):
        given = {"patience": flat, **given} if flat is not None else given
        return EarlyStoppingSettings(**_known(EarlyStoppingSettings, given))
    return None if flat is None or given is False else EarlyStoppingSettings(patience=int(flat))


def _schedule(given: object) -> ScheduleSettings | None:
    """Return what `learning_rate_scheduler: step` or a mapping with `type:` asks for."""
    if given is None:
        return None
    tree = {"type": given} if isinstance(given, str) else dict(given)  # type: ignore[call-overload]
    return ScheduleSettings(kind=str(tree.pop("type")), **_known(ScheduleSettings, tree))


def _known(kind: type, tree: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that a dataclass has and that were given a value."""
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return {key: value for key, value in tree.items() if key in names and value is not None}


def _process(whole: dict[str, Any], path: Path) -> ProcessSettings:
    folder, data, tree = path.resolve().parent, whole["data_preprocessing"], whole.get("process") or {}
    requested, metrics = tree.get("requested_batch_size"), (whole.get("logging") or {}).get("metrics_file")
    allocation = tree.get("allocation") or {}
    cpus, limit = tree.get("cpus"), allocation.get("memory_limit")
    device = allocation.get("device") or ("gpu" if limit else None)
    return ProcessSettings(
        seed=int(tree.get("seed", data.get("random_state", 42))),
        checkpoint_dir=Path(tree.get("checkpoint_dir") or folder / "checkpoints"),
        result_file=Path(tree.get("result_file") or folder / "result.json"),
        rates_file=Path(tree["rates_file"]) if tree.get("rates_file") else None,
        cpus=None if cpus is None else int(cpus),
        device=device,
        memory_limit_mb=None if limit is None else int(limit),
        requested_batch=None if requested is None else int(requested),
        metrics_file=None if metrics is None else Path(metrics),
    )
