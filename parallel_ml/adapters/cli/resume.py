"""`resume`: takes over a run whose supervisor is gone, and blocks until its end like `run`."""

from __future__ import annotations

import argparse

from parallel_ml.adapters.cli.arguments import add_json, add_run, examples
from parallel_ml.adapters.cli.cells import FINISHED
from parallel_ml.errors import UsageError
from parallel_ml.runtime.client import RunClient


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_run(parser)
    parser.add_argument("--detach", action="store_true", help="leave it running in the background")
    add_json(parser, "the status at the end")
    examples(parser, "resume", "resume night --detach")


def run(args: argparse.Namespace) -> int:
    """Drive the run to its end.

    Raises:
        UsageError: It is finished, or somebody drives it.
    """
    client = RunClient.find(args.run, runs_dir=args.runs_dir)
    status = client.status()
    if status.state in FINISHED:
        raise UsageError(f"run {status.run} is finished ({status.state}): there is nothing to go on with")
    if status.supervisor == "running":
        raise UsageError(f"a supervisor drives run {status.run} already", "see how it stands with: status")
    from parallel_ml.adapters.cli.drive import drive  # noqa: PLC0415 - only where there is something to drive
    from parallel_ml.runtime.executor import ParallelMLExecutor  # noqa: PLC0415

    return drive(ParallelMLExecutor.resume(client.dir), as_json=args.json, detach=args.detach)
