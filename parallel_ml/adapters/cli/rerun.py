"""`rerun`: repeats one job of a run, with its configuration, its seed and its code."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from parallel_ml.adapters.cli.arguments import add_json, at_least_one, examples
from parallel_ml.errors import UsageError
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.runs import RunsFolder, find_run, run_layouts, runs_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN[/JOB]",
        help="the run's id, the beginning of it, its name or its directory (default: the newest); or a job's directory",
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help="the job; may be left out where the run has only one")
    parser.add_argument("--job", dest="job_option", metavar="JOB", help="the same")
    parser.add_argument(
        "--attempt", type=at_least_one, metavar="N", help="take the batch and the cores of this attempt"
    )
    parser.add_argument("--name", help="a name for the new run, by which the other verbs find it")
    parser.add_argument("--gpus", metavar="GPUS", help="the GPUs to use (default: as the old run)")
    parser.add_argument("--detach", action="store_true", help="leave the run in the background and return at once")
    add_json(parser, "nothing but the status at the end")
    examples(parser, "rerun night/config1", "rerun 20260101-120000-3fa9 config1 --detach", "rerun --job config1")


def run(args: argparse.Namespace) -> int:
    """Make the new run and drive it to its end; with `--detach` leave that to a process of its own.

    Raises:
        UsageError: There is no such run or job, or an option makes no sense.
        ConfigError: What the job needs is not there any more.
        PlacementError: It does not fit on this machine.
        StoreError: The old run cannot be read.
    """
    if args.job is not None and args.job_option is not None and args.job != args.job_option:
        raise UsageError(f"two jobs are named, {args.job} and {args.job_option}", "name one")
    folder = runs_folder(args.runs_dir, os.environ, Path.cwd())
    layout, job = _meant(folder, args.run, args.job or args.job_option)
    from parallel_ml.adapters.cli.drive import drive  # noqa: PLC0415 - `rerun --help` needs none of it
    from parallel_ml.gpu.manager import GPUManager  # noqa: PLC0415
    from parallel_ml.runtime.executor import ParallelMLExecutor, check_name  # noqa: PLC0415
    from parallel_ml.runtime.rerun import find_job, plan_rerun  # noqa: PLC0415

    check_name(args.name)
    old = find_job(layout, job, args.attempt)
    gpus = GPUManager.from_spec(args.gpus or old.plan.get("gpus") or "auto")
    into = folder if folder.chosen else RunsFolder(layout.dir.parent, chosen=False)
    made = plan_rerun(old, gpus, into, name=args.name, environ=os.environ)
    return drive(ParallelMLExecutor.resume(made.dir), as_json=args.json, detach=args.detach)


def _meant(folder: RunsFolder, run: str | None, job: str | None) -> tuple[RunLayout, str | None]:
    """Return the run and the job that are meant: `RUN JOB`, `RUN/JOB`, a directory, a job of the newest run.

    Raises:
        UsageError: There is no such run, or several fit.
    """
    if run is None or job is not None:
        return find_run(folder, run, os.environ), job
    path = Path(os.path.abspath(run))  # noqa: PTH100 - a link to a job's folder stays in the run that it is in
    if path.parent.name == "jobs" and (path.parent.parent / "events.jsonl").exists():
        return RunLayout(path.parent.parent), path.name
    if "/" not in run.strip("/"):
        return _word(folder, run)
    if (path / "events.jsonl").exists():
        return find_run(folder, run, os.environ), None
    before, _, last = run.rstrip("/").rpartition("/")
    return find_run(folder, before, os.environ), last


def _word(folder: RunsFolder, word: str) -> tuple[RunLayout, str | None]:
    """Return the run that a word names, or else the newest run that has a job of this name."""
    try:
        return find_run(folder, word, os.environ), None
    except UsageError:
        newest = next(run_layouts(folder, os.environ), None)
        if newest is not None and newest.job(word).source.exists():
            return newest, word
        raise
