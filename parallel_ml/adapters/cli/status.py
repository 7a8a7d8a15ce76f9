"""`status`: how a run stands."""

from __future__ import annotations

import sys
import time

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples
from parallel_ml.adapters.cli.cells import FINISHED, heading, job_columns, job_notes, staleness
from parallel_ml.adapters.cli.table import draw
from parallel_ml.adapters.cli.text import ago, safe, shorten
from parallel_ml.core.comparison import best_job
from parallel_ml.runtime.client import RunClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from parallel_ml.core.status import JobResult, RunStatus

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
        status = client.status() if args.json else client.table_status()
        if args.json:
            screen.print_json(status.to_dict())
        else:
            print("\n".join(_lines(client, status)), flush=True)
        if not args.watch or status.state in FINISHED:
            return 0
        time.sleep(LOOK_S)


def status_lines(status: RunStatus, width: int | None = None, results: Sequence[JobResult] | None = None) -> list[str]:
    """Return a status as lines of at most `width` cells; `results` adds what came of a run that has finished."""
    first = heading(status)
    if status.state in FINISHED and status.as_of_age_s is not None:
        first += f", {ago(status.as_of_age_s)}"
    stale = staleness(status)
    lines = [
        first,
        safe(status.dir),
        *([stale] if stale else []),
        *(f"note: {safe(note)}" for note in (*status.notes, *status.undelivered)),
        "",
    ]
    if width is not None:
        lines = [shorten(line, width) for line in lines]
    if results is not None:
        from parallel_ml.adapters.cli.summary import result_lines  # noqa: PLC0415 - only where a run has finished

        return [*lines, *result_lines(status, results, width)]
    best = best_job(status.jobs)
    table = draw(job_columns(status.jobs, best=best and best[0]), width, job_notes(status.jobs))
    return [*lines, *table, *([f"* best {best[1]}"] if best else [])]


def _lines(client: RunClient, status: RunStatus) -> list[str]:
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
