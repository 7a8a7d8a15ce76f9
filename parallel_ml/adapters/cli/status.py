"""`status`: how a run stands."""

from __future__ import annotations

import sys
import time

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples
from parallel_ml.core.status import FINISHED
from parallel_ml.runtime.client import RunClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from parallel_ml.core.status import RunStatus

LOOK_S = 1.0
MOST_COMPARED = 40
"""Jobs of a finished run whose epochs and configurations are read; of more only the table is shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_run(parser)
    add_json(parser, "the status")
    parser.add_argument("--watch", action="store_true", help="show it again each second until the run has finished")
    examples(parser, "status", "status night --watch", "status --json")


def run(args: argparse.Namespace) -> int:
    """Print the status, with `--watch` again and again."""
    client = RunClient.find(args.run, runs_dir=args.runs_dir)
    if args.watch and not args.json and screen.is_terminal(sys.stdout):
        return _watch(client)
    while True:
        if args.json:
            state, text = client.status_json()
        else:
            status = client.table_status()
            state, text = status.state, "\n".join(_lines(client, status))
        print(text, flush=True)
        if not args.watch or state in FINISHED:
            return 0
        time.sleep(LOOK_S)


def _lines(client: RunClient, status: RunStatus) -> list[str]:
    from parallel_ml.adapters.cli.status_lines import status_lines  # noqa: PLC0415 - only for people

    compared = status.state in FINISHED and len(status.jobs) <= MOST_COMPARED
    if compared:
        status = client.status()  # with the files that the results are read from
    lines = status_lines(status, screen.width(sys.stdout), client.results() if compared else None)
    if not screen.is_terminal(sys.stdout):
        return lines
    from parallel_ml.adapters.cli.colours import in_colour, styled  # noqa: PLC0415 - only for who sees them

    return [styled(line) for line in lines] if in_colour() else lines


def _watch(client: RunClient) -> int:
    """Show the run as `run` does until it has finished, and leave its status on the terminal."""
    from parallel_ml.adapters.cli.live import WATCHES, LiveDisplay  # noqa: PLC0415 - only for who watches

    display = LiveDisplay(client, screen.Screen(), WATCHES)
    try:
        with display.shown():
            while display.status.state not in FINISHED and not display.gone:
                time.sleep(LOOK_S / 4)
    finally:
        print("\n".join(_lines(client, client.status())), flush=True)
    return 0
