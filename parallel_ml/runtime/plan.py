"""Making a new run: its jobs, its plan (`run.json`), its directory."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from parallel_ml import __version__
from parallel_ml.config.manager import ConfigManager, LoadedConfig, unique_path
from parallel_ml.core.events import RunCreated
from parallel_ml.core.model import JobSpec
from parallel_ml.core.placement import check_fits
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import create_run, new_run_id
from parallel_ml.store.runs import RunsFolder, remember_run


def plan_run(
    configs: ConfigManager,
    gpus: GPUManager,
    folder: RunsFolder,
    *,
    name: str | None,
    max_parallel: int | None,
    cwd: Path,
    environ: Mapping[str, str],
) -> tuple[RunLayout, tuple[str, ...]]:
    """Check that the run can go, and make its directory; nothing is started.

    Returns:
        The run's files, and what everybody should know beforehand.

    Raises:
        ConfigError: Data, folders or programs that the configurations name are not there.
        PlacementError: A job can never fit on this machine.
        StoreError: The directory could not be made.
    """
    warnings = configs.preflight(folder.path)
    now, layout = _new_layout(folder)
    specs = tuple(_spec(loaded, position, layout) for position, loaded in enumerate(configs.jobs))
    check_fits(specs, gpus.snapshot())
    notes = (*gpus.notes, *warnings)
    plan = {
        "v": 1,
        "run": layout.dir.name,
        "name": name or "",
        "created": now,
        "cwd": str(cwd),
        "argv": sys.argv[1:],
        "gpus": gpus.spec,
        "max_parallel": max_parallel,
        "notes": list(notes),
        "versions": _versions(),
        "git_commit": _git_commit(cwd),
        "jobs": [
            {
                "name": spec.name,
                "source": spec.source,
                "sha256": hashlib.sha256(loaded.snapshot().encode()).hexdigest(),
                "seed": spec.seed,
                "model": spec.model_path,
            }
            for spec, loaded in zip(specs, configs.jobs, strict=True)
        ],
    }
    sources = {spec.name: loaded.snapshot() for spec, loaded in zip(specs, configs.jobs, strict=True)}
    create_run(layout, RunCreated(layout.dir.name, name or "", specs, max_parallel), plan, sources, now)
    remember_run(layout, environ)
    return layout, notes


def _new_layout(folder: RunsFolder) -> tuple[float, RunLayout]:
    """Return the time, and a run directory named after it that nobody has taken."""
    while True:
        now = time.time()
        layout = folder.layout(new_run_id(now))
        if not layout.dir.exists():
            return now, layout


def _spec(loaded: LoadedConfig, position: int, layout: RunLayout) -> JobSpec:
    """Return a job's spec, with the model path that only this run has."""
    spec, training = loaded.spec(position), loaded.config.model_training
    if not loaded.config.built_in or training is None:
        return spec
    job_dir = layout.job(spec.name).dir
    path = unique_path(training.checkpoint.filepath, run_id=layout.dir.name, job=spec.name, job_dir=job_dir)
    return replace(spec, model_path=str(path))


def _versions() -> dict[str, str]:
    return {"parallel_ml": __version__, "python": platform.python_version(), "platform": platform.platform()}


def _git_commit(cwd: Path) -> str | None:
    """Return the commit of the folder's git checkout, or None where there is none or no git."""
    command = ["git", "-C", str(cwd), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
