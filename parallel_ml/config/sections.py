"""The three sections of a training: data, model, analysis. Their keys and defaults are documented here.

`learning_rate_scheduler` is a word (`step`, `plateau`, `cosine`) or a mapping with `type` and keys of its own:

- step: `step_size` (30 epochs), `gamma` (0.1): the rate is multiplied by gamma every step_size epochs.
- plateau: `factor` (0.5), `patience` (5 epochs), `min_delta` (0.0001), `min_lr` (0), `monitor` (val_loss), `mode`.
- cosine: `min_lr` (0), `warmup_epochs` (0): down from the rate to min_lr over all epochs, after a linear warm-up.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from parallel_ml.config import fields
from parallel_ml.config.section import Section, own_program

MAX_BATCH = 65536 * 16
OPTIMIZERS = ("adam", "sgd", "rmsprop", "adamw", "adagrad", "adadelta", "adamax", "nadam", "ftrl", "lion")
FIGURES = ("loss", "accuracy", "mae", "r2")
MONITORS = tuple(f"{of}{figure}" for of in ("val_", "train_", "") for figure in FIGURES)
MODEL_SUFFIXES = (".keras", ".h5")
# What keras.applications offers in Keras 3.
APPLICATIONS = (
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    *(f"DenseNet{depth}" for depth in (121, 169, 201)),
    *(f"EfficientNetB{size}" for size in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"),
    *("NASNetLarge", "NASNetMobile"),
    *(f"ResNet{depth}{version}" for version in ("", "V2") for depth in (50, 101, 152)),
    *("VGG16", "VGG19", "Xception"),
)
_OWN_MODEL = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_LONGEST_STEM = 80


def _model(value: Any, info: ValidationInfo) -> str:
    """Read `cnn`, `mlp`, a name of keras.applications (in its own spelling), or `module:function`."""
    name = fields.text(value)
    if own_program(info) or _OWN_MODEL.fullmatch(name):
        return name
    known = {word.lower(): word for word in ("cnn", "mlp", *APPLICATIONS)}
    if name.lower() in known:
        return known[name.lower()]
    guess = fields.nearest(name, known.values())
    wanted = "cnn, mlp, a model of keras.applications such as MobileNetV2, or module:function"
    raise ValueError(f"must be {wanted}, not {fields.shown(value)}" + (f"; did you mean {guess}?" if guess else ""))


def _word_of(known: tuple[str, ...]) -> BeforeValidator:
    """Return a reader of one of some words; an own program may have others."""

    def read(value: Any, info: ValidationInfo) -> str:
        return fields.text(value) if own_program(info) else fields.one_of(value, known)

    return BeforeValidator(read)


def _file_path(value: Any, info: ValidationInfo) -> str:
    """Read the path of a model's file; it gets a unique name, in the job's folder unless it is absolute."""
    path = fields.text(value)
    parts = PurePosixPath(path)
    if ".." in parts.parts:
        raise ValueError("must not climb out with '..'; write an absolute path, or one inside the job's folder")
    if path.endswith("/") or not parts.name:
        raise ValueError(f"must name a file, not the folder {fields.shown(path)}")
    if len(parts.stem.encode()) > _LONGEST_STEM:
        raise ValueError(f"must have a file name of at most {_LONGEST_STEM} characters")
    if not own_program(info):
        if "{" in path:
            raise ValueError("must be one file's name without '{...}'; the best state of the model is kept there")
        if parts.suffix not in MODEL_SUFFIXES:
            raise ValueError(f"must end in {' or '.join(MODEL_SUFFIXES)}, not {fields.shown(parts.suffix)}")
    return path


def _every(value: Any) -> int | str:
    """Read a number of updates, or a time, which becomes seconds such as `600s`."""
    text = str(value).strip()
    if not isinstance(value, bool) and text.isdigit() and int(text) >= 1:
        return fields.whole(1, 10**9)(value)
    try:
        return f"{fields.duration(1, 30 * 86400)(None if isinstance(value, int | float) else value):g}s"
    except ValueError:
        wanted = "a number of updates such as 500, or a time such as 10m"
        raise ValueError(f"must be {wanted} (from 1s to 30d), not {fields.shown(value)}") from None


def _image_size(value: Any) -> list[int]:
    """Read [height, width], or one number for both."""
    read = fields.whole(8, 4096)
    if not isinstance(value, list):
        return [read(value)] * 2
    if len(value) != 2:
        raise ValueError(f"must be [height, width] or one number, not a list of {len(value)}")
    return [read(item) for item in value]


def _column_name(value: Any) -> str:
    """Read the name of a column; the table's own are seen without the spaces around them too."""
    return fields.text(value).strip()


def _switched(value: Any) -> Any:
    """Read `true` as a section with its defaults, and `false` as none."""
    if isinstance(value, bool):
        return {} if value else None
    return value


FilePath = Annotated[str, BeforeValidator(_file_path)]
Seed = Annotated[int, BeforeValidator(fields.whole(0, 2**32 - 1))]
Width = Annotated[int, BeforeValidator(fields.whole(1, 65536))]
Patience = Annotated[int, BeforeValidator(fields.whole(0, 1_000_000))]
MinDelta = Annotated[float, BeforeValidator(fields.number(0, 1e6))]
Share = Annotated[float, BeforeValidator(fields.number(0, 1, below=True))]
Fraction = Annotated[float, BeforeValidator(fields.number(0, 1, above=True, below=True))]
MinRate = Annotated[float, BeforeValidator(fields.number(0, 10))]
Monitor = Annotated[str, _word_of(MONITORS)]
Mode = Annotated[str, BeforeValidator(fields.choice("min", "max"))]
ColumnName = Annotated[str, BeforeValidator(_column_name)]
ColumnNames = Annotated[list[ColumnName], BeforeValidator(fields.listed(at_most=100_000))]


class SplitRatios(Section):
    """The shares of the images or rows that are trained on, watched during training, and kept for the end.

    Where some are given, those left out are 0: there may be no validation and no test.
    """

    train: Annotated[float, BeforeValidator(fields.number(0, 1, above=True))] = 0.8
    validation: Share = 0.1
    test: Share = 0.1

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not value:
            return value
        if "train" not in value:
            raise ValueError("must name train; write such as {train: 0.8, validation: 0.1, test: 0.1}")
        return {"validation": 0.0, "test": 0.0, **value}

    @model_validator(mode="after")
    def _add_up(self) -> SplitRatios:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"must add up to 1, not to {total:g}")
        return self


class DataPreprocessing(Section):
    """The images: one folder per class in `image_dir`. Or a table: the CSV file `train_data_path`.

    `random_state` is the seed of everything that is random; `split_random_state` that of the splits alone. Without
    `image_size` and `color_mode` they follow from the images.

    Of a table `target_column` is foretold from `feature_columns`, or from all others. The rows of `test_data_path` are
    the test; without it they come from the first file. What stands in `categorical_columns` is a name also where it is
    a number. `algorithm_type` follows from the target where it is not given: numbers are a regression, but for whole
    ones with at most 20 different values.
    """

    image_dir: Annotated[str, BeforeValidator(fields.text)] | None = None
    batch_size: Annotated[int, BeforeValidator(fields.whole(1, MAX_BATCH))] = 32
    split_ratios: SplitRatios = Field(default_factory=SplitRatios)
    random_state: Seed = 42
    split_random_state: Seed | None = None
    image_size: Annotated[list[int], BeforeValidator(_image_size)] | None = None
    color_mode: Annotated[str, BeforeValidator(fields.choice("rgb", "grayscale"))] | None = None
    train_data_path: Annotated[str, BeforeValidator(fields.text)] | None = None
    test_data_path: Annotated[str, BeforeValidator(fields.text)] | None = None
    feature_columns: ColumnNames | None = None
    target_column: ColumnName | None = None
    categorical_columns: ColumnNames | None = None
    algorithm_type: Annotated[str, BeforeValidator(fields.choice("classification", "regression"))] | None = None


class Checkpoint(Section):
    """Where the best state of the model goes; the file's name is made unique for each process.

    Beside it the full state is saved, to go on from: after each epoch, and within one `every` so many updates (a whole
    number) or so much time. The newest `keep` of those states are kept.
    """

    filepath: FilePath = "best_model.keras"
    every: Annotated[int | str, BeforeValidator(_every)] = "10m"
    keep: Annotated[int, BeforeValidator(fields.whole(1, 100))] = 3


class EarlyStopping(Section):
    """Ends a training that no longer gets better; `mode` follows from `monitor` where it is not given."""

    monitor: Monitor = "val_loss"
    mode: Mode | None = None
    patience: Patience = 10
    min_delta: MinDelta = 0.001
    restore_best: Annotated[bool, BeforeValidator(fields.flag)] = True


class StepSchedule(Section):
    """The rate times `gamma` every `step_size` epochs."""

    type: Literal["step"] = "step"
    step_size: Annotated[int, BeforeValidator(fields.whole(1, 1_000_000))] = 30
    gamma: Annotated[float, BeforeValidator(fields.number(0, 1, above=True))] = 0.1


class PlateauSchedule(Section):
    """The rate times `factor` when `monitor` has not improved by `min_delta` for `patience` epochs."""

    type: Literal["plateau"] = "plateau"
    factor: Fraction = 0.5
    patience: Patience = 5
    min_delta: MinDelta = 0.0001
    min_lr: MinRate = 0.0
    monitor: Monitor = "val_loss"
    mode: Mode | None = None


class CosineSchedule(Section):
    """The rate along half a cosine to `min_lr`, after `warmup_epochs` of linear growth."""

    type: Literal["cosine"] = "cosine"
    min_lr: MinRate = 0.0
    warmup_epochs: Annotated[int, BeforeValidator(fields.whole(0, 1_000_000))] = 0


SCHEDULES: dict[str, type[Section]] = {"step": StepSchedule, "plateau": PlateauSchedule, "cosine": CosineSchedule}


def _schedule(value: Any) -> Any:
    """Read a word as a mapping of that type."""
    found = {"type": value} if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError(f"must be one of {', '.join(SCHEDULES)}, or a mapping with type, not {fields.shown(value)}")  # noqa: TRY004
    if "type" not in found:
        raise ValueError(f"must have a type, one of {', '.join(SCHEDULES)}")
    return {**found, "type": fields.one_of(found["type"], SCHEDULES)}


Schedule = Annotated[
    Annotated[StepSchedule | PlateauSchedule | CosineSchedule, Field(discriminator="type")],
    BeforeValidator(_schedule),
]


class ModelTraining(Section):
    """The model and how it is trained; `model_type` and `early_stopping_patience` are flat spellings.

    `loss` is for a regression, which has `mse` without it.
    """

    epochs: Annotated[int, BeforeValidator(fields.whole(1, 1_000_000))] | None = None
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    model: Annotated[str, BeforeValidator(_model)] | None = None
    model_type: Annotated[str, BeforeValidator(_model)] | None = None
    optimizer: Annotated[str, _word_of(OPTIMIZERS)] | None = None
    learning_rate: Annotated[float, BeforeValidator(fields.number(0, 10, above=True))] | None = None
    hidden_units: Annotated[list[Width], BeforeValidator(fields.listed())] | None = None
    dropout_rate: Annotated[float, BeforeValidator(fields.number(0, 1, below=True))] | None = None
    early_stopping: Annotated[EarlyStopping | None, BeforeValidator(_switched)] = None
    early_stopping_patience: Patience | None = None
    learning_rate_scheduler: Schedule | None = None
    loss: Annotated[str, _word_of(("mse", "mae"))] | None = None
    mixed_precision: Annotated[bool, BeforeValidator(fields.flag)] = False
    gradient_accumulation: Annotated[int, BeforeValidator(fields.whole(1, 4096))] = 1

    @field_validator("model_type", mode="after")
    @classmethod
    def _one_model(cls, value: str | None, info: ValidationInfo) -> str | None:
        other = info.data.get("model")
        if None not in (value, other) and value != other:
            raise ValueError(f"says {value}, but model says {other}; write one of the two")
        return value

    @field_validator("early_stopping_patience", mode="after")
    @classmethod
    def _one_patience(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("early_stopping") is not None:
            raise ValueError("is a flat spelling of early_stopping.patience; write one of the two")
        return value


class ResultAnalysis(Section):
    """What is analysed at the end: the model of `model_path`, which follows the checkpoint."""

    model_path: FilePath | None = None
