"""The copy of a configuration that one process reads, and the command that starts it."""

from __future__ import annotations

import copy
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.config.fields import located
from parallel_ml.config.loaded import LoadedConfig
from parallel_ml.config.placeholders import PLACEHOLDER
from parallel_ml.config.sections import DataPreprocessing, EarlyStopping, ModelTraining
from parallel_ml.config.yaml_text import dump
from parallel_ml.core.batch import BatchPlan
from parallel_ml.store.files import write_whole

_NOT_FOR_THE_PROCESS = frozenset({"alerts", "code", "env", "extends", "notifications"})


@dataclass(frozen=True)
class ProcessContext:
    """What one attempt of a job is given. All paths are absolute.

    Attributes:
        job: The job's name.
        process_id: The configuration's position in the run.
        batch: The batch and accumulation granted; None where the user's program names no batch.
        allocation: The grant as users read it, or None.
        cwd: The folder where the run was started.
        cpus: The cores for the attempt's threads, or None for the framework's default.
        rates_file: What is ordered for the learning rate while it trains, or None.
        evaluation_batch_size: Samples at a time in validation and test where that is less than in training, or None.
    """

    run_id: str
    job: str
    process_id: int
    attempt: int
    seed: int
    batch: BatchPlan | None
    allocation: dict[str, object] | None
    job_dir: Path
    attempt_dir: Path
    checkpoint_dir: Path
    cwd: Path
    cpus: int | None
    log_file: Path
    metrics_file: Path
    history_file: Path
    result_file: Path
    evaluation_batch_size: int | None = None
    rates_file: Path | None = None


def resolve(loaded: LoadedConfig, context: ProcessContext) -> dict[str, Any]:
    """Return the configuration of one process; the user's own is not touched.

    The built-in training gets every default written out and the flat spellings as the nested ones. An own program
    gets what its configuration says, in its own spelling.
    """
    config = loaded.config
    resolved = {key: copy.deepcopy(value) for key, value in loaded.values.items() if key not in _NOT_FOR_THE_PROCESS}
    resolved["name"] = context.job
    if config.built_in:
        data = config.data_preprocessing or DataPreprocessing()
        training = config.model_training or ModelTraining()
        resolved["data_preprocessing"] = data.model_dump(exclude_none=True)
        resolved["model_training"] = _nested_spelling(training)
        resolved["result_analysis"] = {"model_path": training.checkpoint.filepath}
    else:
        resolved |= config.model_dump(
            include={"data_preprocessing", "model_training", "result_analysis"}, exclude_unset=True, exclude_none=True
        )
    _set_data(resolved, loaded, context)
    _set_training(resolved, context)
    resolved["logging"] = {
        "level": config.logging.level,
        "log_file": str(context.log_file),
        "metrics_file": str(context.metrics_file),
        "history_file": str(context.history_file),
    }
    resolved["process"] = _process(loaded, context)
    return resolved


def _nested_spelling(training: ModelTraining) -> dict[str, Any]:
    told = training.model_dump(exclude_none=True)
    model = told.pop("model_type", None) or told.get("model")
    if model:
        told["model"] = model
    patience = told.pop("early_stopping_patience", None)
    if patience is not None:
        told["early_stopping"] = EarlyStopping(patience=patience).model_dump(exclude_none=True)
    for section in (told.get("early_stopping"), told.get("learning_rate_scheduler")):
        if section is not None and "monitor" in section:
            section.setdefault("mode", "max" if section["monitor"].endswith(("accuracy", "r2")) else "min")
    return told


def _set_data(resolved: dict[str, Any], loaded: LoadedConfig, context: ProcessContext) -> None:
    data = resolved.get("data_preprocessing")
    if data is None:
        return
    for key in ("image_dir", "train_data_path", "test_data_path"):
        if key in data:
            data[key] = str(located(data[key], context.cwd))
    if context.batch is not None:
        data["batch_size"] = context.batch.batch_size
    if context.evaluation_batch_size is not None:
        data["evaluation_batch_size"] = context.evaluation_batch_size
    data["random_state"] = context.seed
    data.setdefault("split_random_state", loaded.user_seed)


def _set_training(resolved: dict[str, Any], context: ProcessContext) -> None:
    training, analysis = resolved.get("model_training"), resolved.get("result_analysis")
    named = analysis.get("model_path") if analysis else None
    if training is not None:
        if context.batch is not None and (context.batch.accumulation > 1 or "gradient_accumulation" in training):
            training["gradient_accumulation"] = context.batch.accumulation
        if "checkpoint" in training:
            named = training["checkpoint"].get("filepath", "best_model.keras")
            training["checkpoint"]["filepath"] = str(_unique(named, context))
    if analysis is not None and named is not None:
        analysis["model_path"] = str(_unique(named, context))


def _unique(filepath: str, context: ProcessContext) -> Path:
    return unique_path(filepath, run_id=context.run_id, job=context.job, job_dir=context.job_dir)


def _process(loaded: LoadedConfig, context: ProcessContext) -> dict[str, Any]:
    return {
        "run": context.run_id,
        "job": context.job,
        "process_id": context.process_id,
        "attempt": context.attempt,
        "seed": context.seed,
        "requested_batch_size": loaded.batch_size,
        "allocation": context.allocation,
        "job_dir": str(context.job_dir),
        "attempt_dir": str(context.attempt_dir),
        "checkpoint_dir": str(context.checkpoint_dir),
        "result_file": str(context.result_file),
        "rates_file": str(context.rates_file) if context.rates_file else None,
        "cpus": context.cpus,
    }


def unique_path(filepath: str, *, run_id: str, job: str, job_dir: Path) -> Path:
    """Return where a process's model goes, with the run (whose id holds the time) and the job in the file's name.

    >>> str(unique_path("best.keras", run_id="r1", job="a", job_dir=Path("/runs/r1/jobs/a")))
    '/runs/r1/jobs/a/checkpoints/best-r1-a.keras'

    Args:
        filepath: What the user wrote: an absolute path stays where it points, a relative one is in the job's folder.
        run_id: The run.
        job: The job's name.
        job_dir: The job's folder.
    """
    path = located(filepath, job_dir / "checkpoints")
    return path.with_name(f"{path.stem}-{run_id}-{job}{path.suffix}")


def write_process_config(loaded: LoadedConfig, context: ProcessContext) -> Path:
    """Write the configuration of one process, whole and readable by its owner alone, and return its path.

    Raises:
        StoreError: It could not be written; no part of it is left.
    """
    path = context.attempt_dir / "resolved.yaml"
    # The values may hold secrets. After a power loss nobody reads it: the next attempt has its own.
    write_whole(path, dump(resolve(loaded, context)).encode(), mode=0o600, durable=False)
    return path


def command_line(loaded: LoadedConfig, config_path: Path, context: ProcessContext) -> list[str]:
    """Return the command that starts a process: the built-in training, or the user's own program.

    In an own command `{config}`, `{checkpoint_dir}`, `{job_dir}`, `{seed}` and `{name}` are replaced, and where the
    configuration has a `batch_size` also `{batch_size}` and `{accumulation}`; any other brace stays as it is. `python`
    is the interpreter of this package where PATH has none.
    """
    if loaded.config.command is None:
        return [sys.executable, "-m", "parallel_ml.training", str(config_path)]
    values = {
        "config": str(config_path),
        "checkpoint_dir": str(context.checkpoint_dir),
        "job_dir": str(context.job_dir),
        "seed": str(context.seed),
        "name": context.job,
    }
    if context.batch is not None:
        values |= {"batch_size": str(context.batch.batch_size), "accumulation": str(context.batch.accumulation)}

    def filled(part: str) -> str:
        return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), part)

    program, *arguments = map(filled, loaded.config.command)
    return [find_program(program, loaded.config.env.get("PATH")) or program, *arguments]


def find_program(program: str, path: str | None) -> str | None:
    """Return what a program's name leads to, or None; a name with a '/' is not looked for.

    Args:
        program: The first part of a command.
        path: The PATH of the process; None is that of this one.
    """
    if "/" in program:
        return program
    found = shutil.which(program, path=path)
    return found or (sys.executable if program in {"python", "python3"} else None)
