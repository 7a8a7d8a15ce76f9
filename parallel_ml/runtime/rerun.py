"""Making a run that repeats one job of another: its configuration, its seed, its code, and its part of the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parallel_ml.config.manager import LoadedConfig, load_snapshot
from parallel_ml.config.preflight import look_at
from parallel_ml.core.model import Attempt, Job, JobSpec
from parallel_ml.errors import ConfigError, StoreError, UsageError
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.runtime.checkout import describe, find_checkout
from parallel_ml.runtime.plan import Code, NewRun, make_run
from parallel_ml.runtime.provenance import differences, hardware, packages_of, versions
from parallel_ml.runtime.snapshot import copy_snapshot
from parallel_ml.runtime.snapshots import entry
from parallel_ml.store.files import make_dir, read_json, read_whole, store_errors, write_whole
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import RunView
from parallel_ml.store.runs import RunsFolder

_NEWEST_FORMAT = 1
_ABOUT_PROGRAMS = ("command", "model_training.model", "model_training.model_type")


@dataclass(frozen=True)
class OldJob:
    """A job that is to be repeated.

    Attributes:
        plan: The `run.json` of its run.
        attempt: The attempt whose CPU cores are taken, None where it has had none.
        exactly: Whether that attempt's batch is taken too, rather than the one that was asked for.
    """

    layout: RunLayout
    plan: Mapping[str, Any]
    job: Job
    attempt: Attempt | None
    exactly: bool

    @property
    def label(self) -> str:
        """How it is called in messages."""
        return f"{self.layout.dir.name}/{self.job.name}"

    @property
    def planned(self) -> Mapping[str, Any]:
        """What the plan says of it."""
        jobs: list[Mapping[str, Any]] = self.plan.get("jobs", [])
        return next((one for one in jobs if one.get("name") == self.job.name), {})


def find_job(layout: RunLayout, name: str | None, attempt: int | None = None) -> OldJob:
    """Return a job of a run.

    Args:
        layout: The run.
        name: The job; None is the only one.
        attempt: The number of the attempt that is repeated; None is the newest, with the batch that was asked for.

    Raises:
        UsageError: There is no such job or attempt, or the run is of a newer version.
        StoreError: The run cannot be read.
    """
    plan = read_json(layout.plan)
    if not isinstance(plan, dict):
        raise StoreError(layout.plan, "reading", "it is not there, or torn")
    if plan.get("v") != _NEWEST_FORMAT:
        newer = f"run {layout.dir.name} is of format {plan.get('v')}, which this version does not know"
        raise UsageError(newer, "repeat it with the version that made it")
    if not isinstance(plan.get("cwd"), str):
        raise StoreError(layout.plan, "reading", "it does not say where the run was started")
    jobs = RunView(layout).state.jobs
    if name is None and len(jobs) > 1:
        raise UsageError(f"run {layout.dir.name} has {len(jobs)} jobs", f"name one: {_some(list(jobs))}")
    job = next(iter(jobs.values()), None) if name is None else jobs.get(name)
    if job is None:
        raise UsageError(f"run {layout.dir.name} has no job {name}", f"its jobs: {_some(list(jobs))}")
    wanted = job.attempt
    if attempt is not None:
        wanted = next((one for one in job.attempts if one.number == attempt), None)
        if wanted is None:
            raise UsageError(f"{job.name} has no attempt {attempt}", f"it has had {len(job.attempts)}")
    return OldJob(layout, plan, job, wanted, exactly=attempt is not None)


def plan_rerun(
    old: OldJob, gpus: GPUManager, folder: RunsFolder, *, name: str | None, environ: Mapping[str, str]
) -> RunLayout:
    """Make the directory of a run that repeats a job; nothing is started. `ParallelMLExecutor.resume` drives it.

    Args:
        old: The job.
        gpus: What the new one is placed on.
        folder: Where the new run goes.
        name: A name for it.
        environ: The environment of the job, of now.

    Raises:
        ConfigError: What it needs is not there any more.
        PlacementError: It does not fit on this machine.
        StoreError: The old run cannot be read, or the new one not written.
    """
    files, cwd = old.layout.job(old.job.name), Path(old.plan["cwd"])
    with store_errors(files.source, "reading"):
        text = read_whole(files.source).decode("utf-8")
    loaded = load_snapshot(text, source=old.job.spec.source, cwd=cwd, environ=environ)
    entry_of = _entry(old)
    if not cwd.is_dir():
        raise UsageError(f"the folder where run {old.layout.dir.name} was started is gone: {cwd}")
    findings = look_at([loaded], folder.path)
    problems = [one for one in findings.problems if entry_of is None or one.key not in _ABOUT_PROGRAMS]
    if problems:
        raise ConfigError(problems)
    notes = (*gpus.notes, f"repeats {old.label}", *findings.warnings, *_differences(old, gpus, entry_of, cwd))
    spec = _spec(old, gpus)
    more = {"rerun_of": {"run": old.layout.dir.name, "job": old.job.name, "dir": str(old.layout.dir)}}
    new = NewRun((spec,), (loaded,), name or "", None, cwd, notes, more)
    layout, _ = make_run(new, gpus, folder, environ, lambda staged: _copy_code(old, loaded, entry_of, staged))
    return layout


def _spec(old: OldJob, gpus: GPUManager) -> JobSpec:
    """Return the job as it was, alone in its run; on as many cores as it had, since sums depend on their number."""
    spec, attempt = old.job.spec, old.attempt
    resources = spec.resources
    if attempt is not None and attempt.allocation.cpus is not None:
        resources = replace(resources, cpus=min(attempt.allocation.cpus, gpus.snapshot().cores))
    spec = replace(spec, position=0, depends_on=(), model_path=None, resources=resources)
    if attempt is not None and old.exactly:
        spec = replace(spec, batch_size=attempt.batch_size, accumulation=attempt.accumulation)
    return spec


def _entry(old: OldJob) -> Mapping[str, Any] | None:
    """Return the snapshot of the old job's code, None where it ran from the user's own folder.

    Raises:
        StoreError: It is gone.
    """
    told = old.planned
    if told.get("code") is None:
        return None
    found: Mapping[str, Any] = old.plan["code"][told["code"]]
    if not (old.layout.dir / found["tree"]).is_dir():
        raise StoreError(old.layout.dir / found["tree"], "reading code", "it is not there any more")
    return found


def _copy_code(old: OldJob, loaded: LoadedConfig, entry_of: Mapping[str, Any] | None, staged: RunLayout) -> Code:
    """Copy the old job's code into the new run, so that neither needs the other."""
    git = old.plan.get("git")
    if entry_of is None:
        return Code(git=_git_now(Path(old.plan["cwd"])))
    folder = (old.layout.dir / entry_of["tree"]).parent
    snapshot, changed = copy_snapshot(folder, staged.code / "0")
    notes = [f"{old.label} changed its own code while it ran: {_some(changed)}"] if changed else []
    told = {
        **entry(snapshot, staged.dir),
        "top": entry_of.get("top"),
        "git": _copied_diff(old, entry_of.get("git"), staged),
    }
    return Code([told], {loaded.name: 0}, notes, told["git"] or ({**git, "diff": None} if git else None))


def _copied_diff(old: OldJob, git: Mapping[str, Any] | None, staged: RunLayout) -> Mapping[str, Any] | None:
    if git is None or not git.get("diff"):
        return git
    make_dir(staged.code, mode=0o700)
    with store_errors(old.layout.dir / git["diff"], "reading"):
        write_whole(staged.code / "0.diff", read_whole(old.layout.dir / git["diff"]), mode=0o600)
    return {**git, "diff": "code/0.diff"}


def _git_now(cwd: Path) -> dict[str, Any] | None:
    top = find_checkout(cwd)
    return None if top is None else {**describe(top)[0], "diff": None}


def _differences(old: OldJob, gpus: GPUManager, entry_of: Mapping[str, Any] | None, cwd: Path) -> Iterator[str]:
    """Yield a line for each kind of thing that is other now than it was."""
    files = old.layout.job(old.job.name)
    attempt = (read_json(files.attempt(old.attempt.number).provenance) if old.attempt else None) or {}
    interpreter = attempt.get("interpreter") or old.planned.get("interpreter") or ""
    packages = attempt.get("packages") or (old.plan.get("packages") or {}).get(interpreter)
    then = {
        **{key: attempt.get(key) or old.plan.get(key) or {} for key in ("versions", "hardware")},
        "packages": packages,
    }
    machine = gpus.snapshot()
    now = {
        "versions": versions(),
        "hardware": hardware(machine),
        "packages": packages_of(interpreter) if packages else {},
    }
    yield from (f"differs from {old.label}: {line}" for line in differences(then, now))
    recorded = (entry_of or {}).get("git") or old.plan.get("git") or {}
    told = _git_now(Path((entry_of or {}).get("top") or cwd))
    commit, here = recorded.get("commit"), (told or {}).get("commit")
    if commit and here != commit:
        uses = f"the code of {commit[:10]} is used" if entry_of else "the code of now is used"
        yield f"differs from {old.label}: the checkout is at {(here or 'nothing')[:10]} now; {uses}"
    elif entry_of is None and old.job.spec.kind == "command":
        yield f"{old.label} ran from no snapshot: the code of now is used"


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
