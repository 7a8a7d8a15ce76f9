"""`resume`: lets paused jobs go on; takes over a run whose supervisor is gone, and blocks until its end like `run`."""

from __future__ import annotations

import argparse

from parallel_ml.adapters.cli import asking, screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples
from parallel_ml.adapters.cli.text import safe
from parallel_ml.core.status import RunStatus
from parallel_ml.errors import UsageError
from parallel_ml.runtime.client import Order, RunClient


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_run(parser)
    parser.add_argument("--job", metavar="NAME", help="of the paused jobs only this one goes on (default: all)")
    parser.add_argument("--detach", action="store_true", help="where it takes the run over: in the background")
    parser.add_argument("--take-over", action="store_true", help=argparse.SUPPRESS)  # `--detach`: nobody is woken
    add_json(parser, "the status at the end")
    examples(parser, "resume", "resume --job config2", "resume night --detach")


def run(args: argparse.Namespace) -> int:
    """Let paused jobs go on, and drive the run to its end where nobody else does.

    Raises:
        UsageError: It is finished, or somebody drives it and nothing is paused.
    """
    client = RunClient.find(args.run, runs_dir=args.runs_dir)
    status = client.status()
    if status.supervisor == "running":
        if args.job is None and not client.can_resume():
            told = f"a supervisor drives run {status.run} already, and nothing of it is paused"
            raise UsageError(told, "see how it stands with: status")
        return give(client, client.resume(args.job), args)
    if args.take_over:
        return take_over(client, args)
    if args.job is not None or any(job.state == "paused" for job in status.jobs):
        client.resume(args.job)
    elif client.at_rest():
        told = "retry brings failed and stopped jobs back" if status.state != "completed" else ""
        raise UsageError(f"run {status.run} is finished ({status.state}): there is nothing to go on with", told)
    return take_over(client, args)


def give(client: RunClient, order: Order, args: argparse.Namespace) -> int:
    """Leave an order to the run's supervisor, and say which jobs it is about."""
    before = client.status()
    asking.await_answer(client, order)
    if args.json:
        screen.print_json(client.status().to_dict())
        return 0
    held, queued = _about(before, order)
    if held:
        print(f"{asking.some(held)}: goes on")
    if queued:
        print(f"{asking.some(queued)}: in the queue again; see how it goes with: status {safe(before.run)}")
    return 0


def take_over(client: RunClient, args: argparse.Namespace) -> int:
    """Drive the run to its end, and return the exit code of a run."""
    from parallel_ml.adapters.cli.drive import drive  # noqa: PLC0415 - only where there is something to drive
    from parallel_ml.runtime.executor import ParallelMLExecutor  # noqa: PLC0415

    return drive(ParallelMLExecutor.resume(client.dir), as_json=args.json, detach=args.detach)


def _about(status: RunStatus, order: Order) -> tuple[list[str], list[str]]:
    """Return the jobs that an order is about: those that are held in memory, and the others."""
    states = {"resume": {"paused"}, "retry": {"failed", "stopped"}}[order.kind.value]
    named = [job for job in status.jobs if order.job in (None, job.name) and (job.state in states or job.pausing)]
    return [job.name for job in named if job.held], [job.name for job in named if not job.held]
