"""`list`: all runs, newest first."""

from __future__ import annotations

import sys

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, examples, program
from parallel_ml.adapters.cli.cells import counts
from parallel_ml.adapters.cli.table import Column, draw
from parallel_ml.adapters.cli.text import ago, safe
from parallel_ml.core.status import FINISHED
from parallel_ml.runtime.client import UNREADABLE, list_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from parallel_ml.core.status import RunStatus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_json(parser, "the runs")
    examples(parser, "list", "list --json")


def run(args: argparse.Namespace) -> int:
    """Print the runs."""
    found = list_runs(args.runs_dir, brief=not args.json)
    if args.json:
        screen.print_json({"runs": [status.to_dict() for status in found]})
    elif found:
        print("\n".join(run_lines(found, screen.width(sys.stdout))))
        for status in found:
            if status.state == UNREADABLE:
                print(f"{safe(status.run)}: {safe('; '.join(status.notes))}", file=sys.stderr)
    else:
        print(f"no runs yet; start one with: {program()} run CONFIG...")
    return 0


def run_lines(runs: Sequence[RunStatus], width: int | None = None) -> list[str]:
    """Return a table of runs."""
    columns = [
        Column("run", [safe(status.run) for status in runs]),
        Column("name", [safe(status.name) for status in runs], floor=8, rank=2),
        Column("state", [state(status) for status in runs]),
        Column("jobs", [counts(status.jobs) for status in runs], floor=10, rank=3),
        Column("last news", [ago(status.as_of_age_s) for status in runs], rank=1),
        Column("folder", [safe(status.dir) for status in runs], rank=4),
    ]
    return draw(columns, width)


def state(status: RunStatus) -> str:
    """Return the run's state, and whether nobody drives it although it is not finished."""
    if status.state == UNREADABLE:
        return UNREADABLE
    gone = status.supervisor != "running" and status.state not in FINISHED
    return f"{status.state}, no supervisor" if gone else status.state
