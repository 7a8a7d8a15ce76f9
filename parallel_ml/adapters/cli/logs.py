"""`logs`: what the jobs print, in the order of time, with what the supervisor has to say of them."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, at_least_one, examples
from parallel_ml.adapters.cli.cells import FINISHED
from parallel_ml.adapters.cli.text import safe
from parallel_ml.errors import UsageError
from parallel_ml.runtime.client import RunClient

LOOK_S = 0.2

Line = tuple[str, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_run(parser)
    parser.add_argument("job", nargs="?", metavar="JOB", help="only this job; may be given alone for the newest run")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run, or the job, has finished")
    parser.add_argument("-n", "--lines", type=at_least_one, metavar="N", help="begin with the last N lines")
    add_json(parser, "each line, with its job,")
    examples(parser, "logs config1 -f", "logs night config2 -n 50")


def run(args: argparse.Namespace) -> int:
    """Print the lines that are there, with `--follow` also those that come."""
    client, job = _meant(args)
    reader = client.follow_logs([job] if job else None)
    several = job is None and len(client.status().jobs) > 1
    printed = _everything(reader.poll)
    for line in printed[-args.lines :] if args.lines else printed:
        _print(line, several=several, as_json=args.json)
    sys.stdout.flush()
    warned = False
    while args.follow:
        status = client.status()
        watched = [one.state for one in status.jobs if job in (None, one.name)]
        over = all(state in FINISHED for state in watched)
        for line in _everything(reader.poll):
            _print(line, several=several, as_json=args.json)
        sys.stdout.flush()
        if over:
            return 0
        if status.supervisor != "running" and not warned:
            print("the supervisor of this run is not running; Ctrl-C ends", file=sys.stderr)
            warned = True
        time.sleep(LOOK_S)
    return 0


def log_line(job: str, record: dict[str, Any], *, several: bool) -> str:
    """Return a record as a line: the job in front where there are several, `--` before what the program itself says."""
    message = record.get("message")
    text = safe((message if isinstance(message, str) else str(message)).expandtabs())
    mark = "-- " if record.get("type") == "system" else ""
    return f"{safe(job)}: {mark}{text}" if several else mark + text


def _print(line: Line, *, several: bool, as_json: bool) -> None:
    job, record = line
    if as_json:
        screen.print_json({"job": job, **record})
    else:
        print(log_line(job, record, several=several))


def _everything(poll: Any) -> list[Line]:
    """Return all that is there now; a reader hands out a large log in pieces."""
    found: list[Line] = []
    while more := poll():
        found += more
    return found


def _meant(args: argparse.Namespace) -> tuple[RunClient, str | None]:
    """Return the run and the job; one word alone is a job of the newest run, if that has one of this name.

    Raises:
        UsageError: The words name nothing that is there.
    """
    if args.run is None or args.job is not None:
        return RunClient.find(args.run, runs_dir=args.runs_dir), args.job
    newest = RunClient.find(runs_dir=args.runs_dir)
    names = [job.name for job in newest.status().jobs]
    if args.run in names:
        return newest, args.run
    try:
        return RunClient.find(args.run, runs_dir=args.runs_dir), None
    except UsageError as error:
        known = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        raise UsageError(f"{args.run} is neither a run nor a job of the newest run", f"its jobs: {known}") from error
