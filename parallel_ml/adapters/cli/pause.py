"""`pause`: has a run, or one job of it, save and end, so that its GPU is free; `resume` lets it go on."""

from __future__ import annotations

import argparse
import sys

from parallel_ml.adapters.cli import asking, screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples
from parallel_ml.adapters.cli.text import safe
from parallel_ml.core.status import FINISHED, JobStatus
from parallel_ml.runtime.client import RunClient


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_run(parser)
    parser.add_argument("--job", metavar="NAME", help="only this job (default: all jobs of the run)")
    parser.add_argument("--freeze", action="store_true", help="hold it in memory instead; its GPU memory stays taken")
    add_json(parser, "the status afterwards")
    examples(parser, "pause", "pause --job config2", "pause night --freeze")


def run(args: argparse.Namespace) -> int:
    """Give the order, wait until the jobs are paused, and say how.

    Raises:
        UsageError: There is nothing to pause.
    """
    client = RunClient.find(args.run, runs_dir=args.runs_dir)
    wanted = [job.name for job in client.status().jobs if args.job in (None, job.name) and job.state not in FINISHED]
    asking.give(client, client.pause(args.job, freeze=args.freeze))
    if not args.json and screen.is_terminal(sys.stdout):
        print(f"pausing {asking.some(wanted)} ...", flush=True)
    jobs = asking.wait_for(client, wanted, lambda job: not job.pausing)
    if args.json:
        screen.print_json(client.status().to_dict())
    else:
        print("\n".join(map(pausing, jobs)))
    return 0


def pausing(job: JobStatus) -> str:
    """Return what became of a job that was told to pause."""
    name = safe(job.name)
    if job.state in FINISHED or job.state == "stopping":
        return f"{name}: {job.state} before it could pause"
    if job.state != "paused":
        return f"{name}: was paused, and somebody has resumed it"
    if job.held:
        on_card = job.allocation is not None and job.allocation.get("gpu_uuid") is not None
        return f"{name}: paused in memory" + ("; what it holds of the GPU stays taken" if on_card else "")
    return f"{name}: paused; nothing of it runs"
