"""`validate`: checks configurations and starts nothing."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallel_ml.adapters.cli import failures, screen
from parallel_ml.adapters.cli.arguments import add_json, examples
from parallel_ml.adapters.cli.text import safe, shorten
from parallel_ml.core.units import format_size
from parallel_ml.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from parallel_ml.config.manager import LoadedConfig

LONGEST_COMMAND = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument(
        "configs", nargs="*", metavar="CONFIG", help="files, folders or globs (default: config/config.yaml)"
    )
    add_json(parser, "what was found")
    examples(parser, "validate", "validate configs/ more.yaml")


def run(args: argparse.Namespace) -> int:
    """Check everything that `run` checks before it starts, and say what each good configuration means."""
    from parallel_ml.config.manager import ConfigManager  # noqa: PLC0415 - 100 ms that only this verb needs

    problem: ConfigError | None = None
    warnings: tuple[str, ...] = ()
    try:
        manager = ConfigManager(args.configs or None)
        warnings = manager.preflight(_runs_dir(args))
        good = list(manager.jobs)
    except ConfigError as error:
        good, problem = _good_ones(args, error), error
    if args.json:
        problems = [asdict(one) for one in problem.problems] if problem else []
        told = [_told(job, position) for position, job in enumerate(good)]
        screen.print_json({"ok": not problems, "configs": told, "problems": problems, "warnings": list(warnings)})
        return 2 if problem else 0
    for line in (*(f"{safe(job.source)}: ok: {meaning(job)}" for job in good), *_noted(warnings)):
        print(line)
    sys.stdout.flush()
    return failures.report(problem) if problem else 0


def meaning(job: LoadedConfig) -> str:
    """Return in a few words what a configuration asks for."""
    config, spec = job.config, job.spec(0)
    parts = [f"job {job.name}"]
    if config.command is not None:
        parts.append(f"runs {shorten(safe(' '.join(config.command)), LONGEST_COMMAND)}")
    elif config.model_training is not None and config.data_preprocessing is not None:
        table = config.data_preprocessing.train_data_path
        model = config.model_training.model or config.model_training.model_type or ("mlp" if table else "cnn")
        data = table or config.data_preprocessing.image_dir or ""
        parts += [f"{model} on {safe(data)}", f"{spec.epochs} epochs"]
    if spec.batch_size is not None:
        parts.append(f"batch {spec.batch_size}" + (f" x {spec.accumulation}" if spec.accumulation > 1 else ""))
    parts.append(_resources(job))
    if spec.depends_on:
        parts.append(f"after {', '.join(spec.depends_on)}")
    return ", ".join(parts)


def _resources(job: LoadedConfig) -> str:
    wanted = job.spec(0).resources
    if wanted.gpus == 0:
        return "on the CPU"
    if wanted.gpus is None:
        return "on a GPU if there is one"
    size = f" with {format_size(wanted.gpu_memory_bytes)}" if wanted.gpu_memory_bytes else ""
    return f"on {wanted.gpus} GPU{'s' if wanted.gpus > 1 else ''}{size}"


def _good_ones(args: argparse.Namespace, error: ConfigError) -> list[LoadedConfig]:
    """Return the configurations that nothing is wrong with, beside others."""
    from parallel_ml.config.loading import find_sources  # noqa: PLC0415
    from parallel_ml.config.manager import ConfigManager  # noqa: PLC0415

    bad = {problem.file for problem in error.problems}
    good: list[LoadedConfig] = []
    for source in find_sources(args.configs or None, Path.cwd()):
        if not isinstance(source, ConfigProblem) and source.shown not in bad:
            with contextlib.suppress(ConfigError):  # said already, of a file that it extends
                manager = ConfigManager([source.shown])
                manager.preflight(_runs_dir(args))
                good += manager.jobs
    return good


def _runs_dir(args: argparse.Namespace) -> Path | None:
    named = args.runs_dir or os.environ.get("PARALLEL_ML_RUNS")
    return Path(named).expanduser() if named else None


def _told(job: LoadedConfig, position: int) -> dict[str, Any]:
    spec = job.spec(position)
    return {
        "file": job.source,
        "name": job.name,
        "kind": spec.kind,
        "epochs": spec.epochs,
        "batch_size": spec.batch_size,
        "accumulation": spec.accumulation,
        "seed": spec.seed,
        "command": job.config.command,
        "depends_on": list(spec.depends_on),
    }


def _noted(warnings: tuple[str, ...]) -> list[str]:
    return failures.at_most([f"note: {safe(warning)}" for warning in warnings])
