"""The whole configuration: its keys, their values and their defaults.

The sections of a training are in `sections`. Keys that the contract has and this version has not are in `NOT_YET`.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from parallel_ml.config import fields
from parallel_ml.config.section import Section, own_program
from parallel_ml.config.sections import MAX_BATCH, DataPreprocessing, ModelTraining, ResultAnalysis
from parallel_ml.core.units import GIB, MIB

NOT_YET: dict[tuple[str, ...], frozenset[str]] = {
    (): frozenset(("links", "on_supervisor_loss", "sweep", "tracking")),
    ("model_training",): frozenset(("distribute",)),
}
"""Keys that are planned and not built yet, by the section they stand in: refused, never ignored."""

LONGEST_NAME = 100
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ENV_NAME = re.compile(r"[^=\0\s]+")
_DAY_S = 86400.0
UNFORKABLE = frozenset(("flax", "jax", "jaxlib"))
"""Packages that say themselves that a fork after their import is not safe."""
_PAUSE_SIGNALS = ("USR1", "USR2")


@dataclass(frozen=True)
class GpuMemory:
    """A fixed number of bytes on each card, or a fraction of the whole card in (0, 1]; neither is an equal share."""

    size_bytes: int | None = None
    fraction: float | None = None


def job_name(value: Any) -> str:
    """Read the name of a job: it becomes a folder's name."""
    name = fields.text(value)
    if not _NAME.fullmatch(name) or name in {".", ".."} or len(name) > LONGEST_NAME:
        wanted = f"at most {LONGEST_NAME} letters, digits, '.', '_' or '-'"
        raise ValueError(f"must be {wanted}, not {fields.shown(value)}")
    return name


def _gpu_memory(value: Any) -> GpuMemory:
    if isinstance(value, str) and value.strip().lower() == "auto":
        return GpuMemory()
    wanted = "must be a size such as 4GiB, a fraction of a card such as 0.5, or auto"
    try:
        fraction = fields.number(0, 1, above=True)(value)
    except ValueError:
        try:
            return GpuMemory(size_bytes=fields.size(64 * MIB, 16384 * GIB)(value))
        except ValueError:
            raise ValueError(f"{wanted}, not {fields.shown(value)}") from None
    return GpuMemory(fraction=fraction)


def _signal(value: Any) -> int:
    """Read the name of a signal that a program can catch and that means nothing else here."""
    name = value.upper().removeprefix("SIG") if isinstance(value, str) else value
    if name not in _PAUSE_SIGNALS:
        raise ValueError(f"must be SIGUSR1 or SIGUSR2, not {fields.shown(value)}")
    return int(signal.Signals[f"SIG{name}"])


def _code(value: Any) -> list[str] | bool:
    """Read `false`, `true`, or the files and folders that are the job's code."""
    if isinstance(value, bool):
        return value
    try:
        return [fields.text(item) for item in fields.listed(at_most=1000)(value)]
    except ValueError:
        wanted = "must be the files and folders to run from, such as [src, train.py], or false"
        raise ValueError(f"{wanted}, not {fields.shown(value)}") from None


def _warm(value: Any) -> list[str] | bool:
    """Read `false`, or the packages that an own program is forked with."""
    if value is False:
        return value
    wanted = "must be the packages that the program imports, such as [torch], or false"
    try:
        names = [fields.text(item) for item in fields.listed(at_most=100)(value)]
    except ValueError:
        raise ValueError(f"{wanted}, not {fields.shown(value)}") from None
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"{wanted}; {fields.shown(name)} is no package")
        if name.split(".")[0] in UNFORKABLE:
            raise ValueError(f"{name} cannot be forked after its import; leave it out")
    return names


def _variable_name(value: Any) -> str:
    if not isinstance(value, str) or not _ENV_NAME.fullmatch(value):
        raise ValueError(f"{fields.shown(value)} cannot be the name of an environment variable")
    if value.startswith("PARALLEL_ML_") or value == "CUDA_VISIBLE_DEVICES":
        raise ValueError("is set for each process; use resources to choose what it gets")
    return value


def _variable_value(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"must be text, not {fields.shown(value)}")
    return value


JobName = Annotated[str, BeforeValidator(job_name)]
Environment = Annotated[
    dict[Annotated[str, BeforeValidator(_variable_name)], Annotated[str, BeforeValidator(_variable_value)]],
    BeforeValidator(fields.mapping),
]


class Retry(Section):
    """How often an attempt may fail before the job does, and the wait before the first new one."""

    max_attempts: Annotated[int, BeforeValidator(fields.whole(1, 100))] = 3
    backoff: Annotated[float, BeforeValidator(fields.duration(0, _DAY_S))] = 10.0


class ResourcesSection(Section):
    """What each attempt asks for."""

    gpus: Annotated[int, BeforeValidator(fields.whole(0, 64))] | None = None
    jobs_per_gpu: Annotated[int, BeforeValidator(fields.whole(1, 64))] = 2
    gpu_memory: Annotated[GpuMemory, BeforeValidator(_gpu_memory)] = GpuMemory()
    exclusive: Annotated[bool, BeforeValidator(fields.flag)] = False
    cpus: Annotated[int, BeforeValidator(fields.whole(1, 4096))] | None = None
    memory: Annotated[int, BeforeValidator(fields.size(64 * MIB, 16384 * GIB))] | None = None
    allow_cpu: Annotated[bool, BeforeValidator(fields.flag)] = True
    min_batch_size: Annotated[int, BeforeValidator(fields.whole(1, MAX_BATCH))] = 1

    @field_validator("allow_cpu", mode="after")
    @classmethod
    def _somewhere(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature
        if not value and info.data.get("gpus") == 0:
            raise ValueError("is false, but gpus: 0 asks for the CPU")
        return value


class LoggingSection(Section):
    """How much the built-in training says."""

    level: Annotated[str, BeforeValidator(fields.choice("DEBUG", "INFO", "WARNING", "ERROR"))] = "INFO"


class LogSection(Section):
    """The job's log. With `max_size` the oldest lines go when it is full; without, it grows as it must."""

    max_size: Annotated[int, BeforeValidator(fields.size(MIB, 16384 * GIB))] | None = None


class Config(Section):
    """A configuration. The three sections of a training alone are a complete one."""

    name: JobName | None = None
    depends_on: Annotated[list[JobName], BeforeValidator(fields.listed(at_most=1000))] | None = None
    priority: Annotated[int, BeforeValidator(fields.whole(-1_000_000, 1_000_000))] = 0
    timeout: Annotated[float, BeforeValidator(fields.duration(0.1, 3650 * _DAY_S))] | None = None
    retry: Retry | None = None
    params: Annotated[dict[str, Any], BeforeValidator(fields.mapping)] = Field(default_factory=dict)
    resources: ResourcesSection = Field(default_factory=ResourcesSection)
    command: Annotated[list[str], BeforeValidator(fields.command)] | None = None
    env: Environment = Field(default_factory=dict)
    cwd: Annotated[str, BeforeValidator(fields.text)] | None = None
    code: Annotated[list[str] | bool, BeforeValidator(_code)] = True
    pause_signal: Annotated[int, BeforeValidator(_signal)] | None = None
    warm: Annotated[list[str] | bool, BeforeValidator(_warm)] | None = None
    metrics_from_output: Annotated[bool, BeforeValidator(fields.flag)] | None = None
    grace: Annotated[float, BeforeValidator(fields.duration(0, 3600))] = 10.0
    log: LogSection = Field(default_factory=LogSection)
    logging: LoggingSection = Field(default_factory=LoggingSection)
    data_preprocessing: DataPreprocessing | None = None
    model_training: ModelTraining | None = None
    result_analysis: ResultAnalysis | None = None
    # Read in full by `alerts` and `notifications`, which say more than a schema could.
    alerts: Any = None
    notifications: Any = None

    @field_validator("cwd", "metrics_from_output", "pause_signal", mode="after")
    @classmethod
    def _of_a_command(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and not own_program(info):
            raise ValueError("is for an own program; there is no command")
        return value

    @field_validator("warm", mode="after")
    @classmethod
    def _packages_of_a_command(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, list) and not own_program(info):
            raise ValueError("lists packages for an own program; there is no command")
        return value

    @property
    def built_in(self) -> bool:
        """Whether this is the built-in training, rather than the user's own program."""
        return self.command is None
