"""`stop`: ends a run, or one job of it, and waits until nothing of it runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples
from parallel_ml.adapters.cli.cells import FINISHED, why
from parallel_ml.adapters.cli.text import safe
from parallel_ml.core.status import JobStatus
from parallel_ml.errors import RunLocked, UsageError
from parallel_ml.runtime.client import Order, RunClient

ANSWER_S = 15.0
"""A supervisor looks at its orders five times a second; one that is silent for so long is stuck."""
LOOK_S = 0.1


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
    wanted = [job.name for job in client.status().jobs if args.job in (None, job.name) and job.state not in FINISHED]
    order = client.stop(args.job, at_once=args.now)
    if client.status().supervisor == "gone":
        _be_the_supervisor(client, order)
    reply = client.wait(order, ANSWER_S)
    if reply.state == "rejected":
        raise UsageError(f"nothing was stopped: {reply.reason}")
    if reply.state == "unanswered":
        raise UsageError("the supervisor does not answer", "the order is kept; look at the supervisor.log of the run")
    if not args.json and screen.is_terminal(sys.stdout):
        print(f"stopping {_some(wanted)} ...", flush=True)
    ended = _wait(client, wanted)
    if args.json:
        screen.print_json(client.status().to_dict())
    else:
        print("\n".join(map(ending, ended)))
    return 0


def _be_the_supervisor(client: RunClient, order: Order) -> None:
    """Carry the order out here, since nobody else drives the run; another one who does by now is as good."""
    from parallel_ml.runtime.executor import ParallelMLExecutor  # noqa: PLC0415 - heavy, and rarely needed

    with contextlib.suppress(RunLocked):
        ParallelMLExecutor.resume(client.dir).carry_out(order)


def ending(job: JobStatus) -> str:
    """Return what became of a job that was told to stop."""
    if job.state == "stopped":
        return f"{safe(job.name)}: stopped"
    if job.state == "failed":
        return f"{safe(job.name)}: failed before it could stop: {why(job.outcome, job.error)}"
    return f"{safe(job.name)}: {job.state} before it could stop"


def _wait(client: RunClient, names: list[str]) -> list[JobStatus]:
    """Return the jobs once they have finished; the supervisor kills what its grace is over for.

    Raises:
        UsageError: The supervisor went away meanwhile.
    """
    while True:
        status = client.status()
        jobs = [job for job in status.jobs if job.name in names]
        if all(job.state in FINISHED for job in jobs):
            return jobs
        if status.supervisor != "running":
            left = [job.name for job in jobs if job.state not in FINISHED]
            raise UsageError(f"the supervisor has gone before {_some(left)} had ended", "see status")
        time.sleep(LOOK_S)


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return safe(", ".join(names[:most])) + more
