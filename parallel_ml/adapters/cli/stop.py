"""`stop`: ends a run, or one job of it, and waits until nothing of it runs."""

from __future__ import annotations

import sys

from parallel_ml.adapters.cli import asking, screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples
from parallel_ml.adapters.cli.cells import why
from parallel_ml.adapters.cli.text import safe
from parallel_ml.core.status import FINISHED
from parallel_ml.runtime.client import RunClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from parallel_ml.core.status import JobStatus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_run(parser)
    parser.add_argument("--job", metavar="NAME", help="only this job (default: all jobs of the run)")
    parser.add_argument("--now", action="store_true", help="kill at once instead of asking first")
    add_json(parser, "the status afterwards")
    examples(parser, "stop", "stop --job config2", "stop night --now")


def run(args: argparse.Namespace) -> int:
    """Give the order, wait until the jobs have ended, and say what became of them.

    Raises:
        UsageError: There is nothing to stop.
    """
    client = RunClient.find(args.run, runs_dir=args.runs_dir)
    states = client.job_states()
    wanted = [job for job in states if args.job in (None, job) and states[job] not in FINISHED]
    asking.give(client, client.stop(args.job, at_once=args.now))
    if not args.json and screen.is_terminal(sys.stdout):
        print(f"stopping {asking.some(wanted)} ...", flush=True)
    ended = asking.wait_for(client, wanted, lambda job: job.state in FINISHED)
    if args.json:
        screen.print_json(client.status().to_dict())
    else:
        print("\n".join(map(ending, ended)))
    return 0


def ending(job: JobStatus) -> str:
    """Return what became of a job that was told to stop."""
    if job.state == "stopped":
        return f"{safe(job.name)}: stopped"
    if job.state == "failed":
        return f"{safe(job.name)}: failed before it could stop: {why(job.outcome, job.error)}"
    return f"{safe(job.name)}: {job.state} before it could stop"
