"""`status`: how a run stands."""

from __future__ import annotations

import argparse
import sys
import time

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples
from parallel_ml.adapters.cli.cells import FINISHED, best_job, heading, job_columns, job_notes, staleness
from parallel_ml.adapters.cli.table import draw
from parallel_ml.adapters.cli.text import ago, safe, shorten
from parallel_ml.core.status import RunStatus
from parallel_ml.runtime.client import RunClient

REPAINT_S = 1.0
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_run(parser)
    add_json(parser, "the status")
    parser.add_argument("--watch", action="store_true", help="show it again each second until the run has finished")
    examples(parser, "status", "status night --watch", "status --json")


def run(args: argparse.Namespace) -> int:
    """Print the status, with `--watch` again and again."""
    client = RunClient.find(args.run, runs_dir=args.runs_dir)
    repaint = args.watch and not args.json and screen.is_terminal(sys.stdout)
    if repaint:
        print(_HOME + _CLEAR_BELOW, end="")
    while True:
        status = client.status()
        if args.json:
            screen.print_json(status.to_dict())
        else:
            _show(status, repaint=repaint)
        if not args.watch or status.state in FINISHED:
            return 0
        time.sleep(REPAINT_S)


def status_lines(status: RunStatus, width: int | None = None) -> list[str]:
    """Return a status as lines of at most `width` cells."""
    first = heading(status)
    if status.state in FINISHED and status.as_of_age_s is not None:
        first += f", {ago(status.as_of_age_s)}"
    stale = staleness(status)
    lines = [
        first,
        safe(status.dir),
        *([stale] if stale else []),
        *(f"note: {safe(note)}" for note in status.notes),
        "",
    ]
    if width is not None:
        lines = [shorten(line, width) for line in lines]
    best = best_job(status.jobs)
    table = draw(job_columns(status.jobs, best=best and best[0]), width, job_notes(status.jobs))
    return [*lines, *table, *([f"* best {best[1]}"] if best else [])]


def _show(status: RunStatus, *, repaint: bool) -> None:
    size = screen.size(sys.stdout)
    lines = status_lines(status, size[0] if size else None)
    if repaint and size:
        kept = lines if len(lines) < size[1] else [*lines[: size[1] - 2], f"+{len(lines) - size[1] + 2} more"]
        print(_HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in kept) + _CLEAR_BELOW, end="", flush=True)
    else:
        print("\n".join(lines), flush=True)
