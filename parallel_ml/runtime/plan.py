"""Making a new run: its jobs, its plan (`run.json`), the code that they run from, its directory."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parallel_ml.config.alerts import check_for_jobs, load_alerts
from parallel_ml.config.fields import located
from parallel_ml.config.manager import ConfigManager, LoadedConfig, unique_path
from parallel_ml.config.resolve import find_program
from parallel_ml.core.events import RunCreated
from parallel_ml.core.model import JobSpec
from parallel_ml.core.placement import check_fits
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.runtime.checkout import describe, find_checkout
from parallel_ml.runtime.messages import routes_of, settings_of
from parallel_ml.runtime.provenance import hardware, interpreter_of, packages_of, versions
from parallel_ml.runtime.snapshots import CodeTaker
from parallel_ml.store.files import make_dir, store_errors, write_whole
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import create_run, new_run_id, stage_run
from parallel_ml.store.runs import RunsFolder, remember_run


@dataclass(frozen=True)
class Code:
    """What the jobs of a run run from.

    Attributes:
        entries: The snapshots, as `run.json` lists them.
        numbers: Each job's snapshot, by the job's name; None is the code as it will be.
        notes: What a user should know.
        git: What git says of the folder of the run, None where it is no checkout.
    """

    entries: Sequence[Mapping[str, Any]] = ()
    numbers: Mapping[str, int | None] | None = None
    notes: Sequence[str] = ()
    git: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class NewRun:
    """What a run is made of.

    Attributes:
        specs: The jobs, without the paths that only this run has.
        configs: Their configurations, in the same order.
        more: Further keys of `run.json`.
    """

    specs: Sequence[JobSpec]
    configs: Sequence[LoadedConfig]
    name: str
    max_parallel: int | None
    cwd: Path
    notes: Sequence[str]
    more: Mapping[str, Any]


def plan_run(  # noqa: PLR0913 - what can be said of a run
    configs: ConfigManager,
    gpus: GPUManager,
    folder: RunsFolder,
    *,
    name: str | None,
    max_parallel: int | None,
    cwd: Path,
    environ: Mapping[str, str],
    snapshot: bool = True,
    notify: Path | None = None,
    alerts: Path | None = None,
    warm: bool | float = True,
) -> tuple[RunLayout, tuple[str, ...]]:
    """Check that the run can go, and make its directory; nothing is started.

    Args:
        configs: The jobs.
        gpus: What they are placed on.
        folder: Where the run goes.
        name: A name for it.
        max_parallel: The most jobs at once.
        cwd: What relative paths are relative to.
        environ: The environment of the jobs.
        snapshot: Whether jobs run the user's code as it is now; else as it is when each starts.
        notify: A file with the settings for messages, in place of those of the configurations.
        alerts: A file with alert rules for all jobs.
        warm: Whether jobs are forked from images; a number is how long those are kept, in seconds.

    Returns:
        The run's files, and what everybody should know beforehand.

    Raises:
        ConfigError: Data, folders or programs that the configurations name are not there.
        PlacementError: A job can never fit on this machine.
        StoreError: The directory could not be made.
    """
    warnings = configs.preflight(folder.path)
    specs = tuple(loaded.spec(position) for position, loaded in enumerate(configs.jobs))
    sources = _channel_sources(configs.jobs, cwd, notify)
    settings = settings_of(sources, cwd, environ)
    missing: list[str] = []
    routes_of(settings, missing.append)
    warnings = (*warnings, *settings.warnings, *missing)
    if alerts is not None:
        rules = load_alerts(alerts, environ, cwd=cwd)
        warnings = (*warnings, *check_for_jobs(rules, {job.name: job.config.built_in for job in configs.jobs}))
    more = {"notify": sources, "warm": warm}
    new = NewRun(specs, configs.jobs, name or "", max_parallel, cwd, (*gpus.notes, *warnings), more)

    def take(staged: RunLayout) -> Code:
        if alerts is not None:
            make_dir(staged.dir)
            with store_errors(alerts, "copying"):
                shutil.copyfile(located(str(alerts), cwd), staged.alert_rules)
        named = [job.source for job in configs.jobs if job.notifies] + ([str(notify)] if notify else [])
        named += settings.secret_files
        private = frozenset(os.path.realpath(located(one, cwd)) for one in named)
        return _take_code(configs.jobs if snapshot else (), cwd, staged, folder.path, private)

    return make_run(new, gpus, folder, environ, take)


def _channel_sources(jobs: Sequence[LoadedConfig], cwd: Path, notify: Path | str | None) -> dict[str, Any]:
    """Return where the settings for messages are, and of which jobs each configuration's channels hear."""
    mine: dict[str, list[str]] = {}
    for job in jobs:
        if job.notifies:
            mine.setdefault(str(located(job.source, cwd)), []).append(job.name)
    others = [job.name for job in jobs if not job.notifies]
    told = {path: [*names, *others] for path, names in mine.items()} if len(mine) > 1 else {}
    return {"file": str(notify) if notify else None, "configs": list(mine), "jobs": told}


def make_run(
    new: NewRun, gpus: GPUManager, folder: RunsFolder, environ: Mapping[str, str], take: Callable[[RunLayout], Code]
) -> tuple[RunLayout, tuple[str, ...]]:
    """Make the directory of a run: its code first, all of it under a hidden name until it is whole.

    Args:
        new: What it is made of.
        gpus: What the jobs are placed on.
        folder: Where the run goes.
        environ: The environment of the jobs.
        take: Puts the code into the run that is being made.

    Raises:
        PlacementError: A job can never fit on this machine.
        StoreError: The directory could not be made.
    """
    now, layout = _new_layout(folder)
    specs = tuple(_with_model(spec, loaded, layout) for spec, loaded in zip(new.specs, new.configs, strict=True))
    machine = gpus.snapshot()
    check_fits(specs, machine)
    staged = stage_run(layout)
    try:
        code = take(staged)
        notes = (*new.notes, *code.notes)
        numbers = code.numbers or {}
        interpreters = {
            spec.name: _interpreter(loaded, environ) for spec, loaded in zip(specs, new.configs, strict=True)
        }
        sources = {spec.name: loaded.snapshot() for spec, loaded in zip(specs, new.configs, strict=True)}
        plan = {
            "v": 1,
            "run": layout.dir.name,
            "name": new.name,
            "created": now,
            "cwd": str(new.cwd),
            "argv": sys.argv[1:],
            "gpus": gpus.spec,
            "max_parallel": new.max_parallel,
            "notes": list(notes),
            "versions": versions(),
            "git_commit": code.git["commit"] if code.git else None,
            "git": code.git,
            "hardware": hardware(machine),
            "packages": {path: packages_of(path) for path in dict.fromkeys(interpreters.values()) if path},
            "code": list(code.entries),
            **new.more,
            "jobs": [
                {
                    "name": spec.name,
                    "source": spec.source,
                    "sha256": hashlib.sha256(sources[spec.name].encode()).hexdigest(),
                    "seed": spec.seed,
                    "model": spec.model_path,
                    "code": numbers.get(spec.name),
                    "interpreter": interpreters[spec.name],
                }
                for spec in specs
            ],
        }
        created = RunCreated(layout.dir.name, new.name, specs, new.max_parallel)
        create_run(layout, created, plan, sources, now, staged)
    except BaseException:
        shutil.rmtree(staged.dir, ignore_errors=True)
        raise
    remember_run(layout, environ)
    return layout, notes


def _take_code(
    jobs: Sequence[LoadedConfig], cwd: Path, staged: RunLayout, runs: Path, private: Collection[str]
) -> Code:
    """Take the code of the jobs, and meanwhile ask git about the folder of the run."""
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(_git, cwd, private)
        taker = CodeTaker(staged.code, apart=runs, private=private)
        numbers = {job.name: taker.take(job) for job in jobs}
        told = asked.result()
    known = {} if told is None else {told[0]["top"]: told}
    entries = []
    for number, entry in enumerate(taker.entries):
        top = entry["top"]
        if top is not None and top not in known:
            known[top] = describe(Path(top), private)
        git = None if top is None else _with_diff(known[top], staged, str(number))
        entries.append({**entry, "git": git})
    mine = next((one["git"] for one in entries if told and one["top"] == told[0]["top"]), None)
    if told is not None and mine is None:
        mine = _with_diff(told, staged, "run")
    return Code(entries, numbers, taker.notes, mine)


def _with_diff(told: tuple[dict[str, Any], bytes], staged: RunLayout, name: str) -> dict[str, Any]:
    """Write what was not committed beside the snapshot; return what git says, with that file's name in the run."""
    git, diff = told
    if not diff:
        return {**git, "diff": None}
    make_dir(staged.code, mode=0o700)
    write_whole(staged.code / f"{name}.diff", diff, mode=0o600)
    return {**git, "diff": f"code/{name}.diff"}


def _git(cwd: Path, private: Collection[str]) -> tuple[dict[str, Any], bytes] | None:
    top = find_checkout(cwd)
    return None if top is None else describe(top, private)


def _new_layout(folder: RunsFolder) -> tuple[float, RunLayout]:
    """Return the time, and a run directory named after it that nobody has taken."""
    while True:
        now = time.time()
        layout = folder.layout(new_run_id(now))
        if not layout.dir.exists():
            return now, layout


def _with_model(spec: JobSpec, loaded: LoadedConfig, layout: RunLayout) -> JobSpec:
    """Return a job's spec with the model path that only this run has."""
    training = loaded.config.model_training
    if not loaded.config.built_in or training is None:
        return spec
    job_dir = layout.job(spec.name).dir
    path = unique_path(training.checkpoint.filepath, run_id=layout.dir.name, job=spec.name, job_dir=job_dir)
    return replace(spec, model_path=str(path))


def _interpreter(loaded: LoadedConfig, environ: Mapping[str, str]) -> str:
    """Return the Python of a job, or ""."""
    command, env = loaded.config.command, {**environ, **loaded.config.env}
    if command is None:
        return sys.executable
    program = find_program(command[0], env.get("PATH")) or command[0]
    if "/" in program:
        program = os.path.join(located(loaded.config.cwd or ".", loaded.cwd), program)
    return interpreter_of([program, *command[1:]], env)
