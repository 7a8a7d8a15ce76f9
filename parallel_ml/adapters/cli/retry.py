"""`retry`: tries failed and stopped jobs again, from their last checkpoint."""

from __future__ import annotations

import argparse

from parallel_ml.adapters.cli import resume
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples
from parallel_ml.runtime.client import RunClient


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_run(parser)
    parser.add_argument("--job", metavar="NAME", help="only this job (default: all that failed or were stopped)")
    parser.add_argument("--detach", action="store_true", help="where nobody drives the run: in the background")
    add_json(parser, "the status at the end")
    examples(parser, "retry", "retry --job config2", "retry night --detach")


def run(args: argparse.Namespace) -> int:
    """Queue the jobs again; where nobody drives the run do so here, to its end, with the exit codes of `run`.

    Raises:
        UsageError: There is nothing to retry.
    """
    client = RunClient.find(args.run, runs_dir=args.runs_dir)
    supervised = client.status().supervisor == "running"
    order = client.retry(args.job)
    return resume.give(client, order, args) if supervised else resume.take_over(client, args)
