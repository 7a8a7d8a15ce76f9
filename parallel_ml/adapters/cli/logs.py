"""`logs`: what the jobs print, in the order of time, with what the supervisor has to say of them."""

from __future__ import annotations

import sys
import time
from collections import deque

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, at_least_one, examples
from parallel_ml.adapters.cli.text import cell_width, safe, shorten
from parallel_ml.core.status import FINISHED
from parallel_ml.errors import UsageError
from parallel_ml.runtime.client import RunClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    Line = tuple[str, dict[str, Any]]
    Label = Callable[[str], str]
    Poll = Callable[[], list[Line]]

LOOK_S = 0.2
MOST_NAME_CELLS = 24


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
    label = _labels(client.job_names) if job is None and len(client.job_names) > 1 else None

    def put(lines: Iterable[Line]) -> None:
        for line in lines:
            _print(line, label, as_json=args.json)

    put(_beginning(reader.poll, args.lines))
    sys.stdout.flush()
    warned = False
    while args.follow:
        status = client.brief_status()
        watched = [one.state for one in status.jobs if job in (None, one.name)]
        over = all(state in FINISHED for state in watched)
        put(_everything(reader.poll))
        sys.stdout.flush()
        if over:
            return 0
        if status.supervisor != "running" and not warned:
            print("the supervisor of this run is not running; Ctrl-C ends", file=sys.stderr)
            warned = True
        time.sleep(LOOK_S)
    return 0


def log_line(record: dict[str, Any], label: str = "") -> str:
    """Return a record as a line: a label in front, `--` before what the program itself says."""
    message = record.get("message")
    text = safe((message if isinstance(message, str) else str(message)).expandtabs())
    mark = "-- " if record.get("type") == "system" else ""
    return label + mark + text


def _labels(jobs: Sequence[str]) -> Label:
    """Return what stands before the lines of each job: its name, aligned and in a colour of its own on a terminal."""
    if not screen.is_terminal(sys.stdout):
        return lambda job: f"{safe(job)}: "
    from parallel_ml.adapters.cli.colours import in_colour, job_colour  # noqa: PLC0415 - only for who sees them
    from parallel_ml.adapters.cli.glyphs import can_draw  # noqa: PLC0415

    cells = min(MOST_NAME_CELLS, max(map(cell_width, map(safe, jobs))))
    labels = {job: shorten(safe(job), cells) for job in jobs}
    line = " │ " if can_draw(sys.stdout.encoding) else " | "
    labels = {job: label + " " * (cells - cell_width(label)) + line for job, label in labels.items()}
    if in_colour():
        labels = {job: job_colour(labels[job], place) for place, job in enumerate(jobs)}
    return labels.__getitem__


def _print(line: Line, label: Label | None, *, as_json: bool) -> None:
    job, record = line
    if as_json:
        screen.print_json({"job": job, **record})
    else:
        print(log_line(record, label(job) if label else ""))


def _everything(poll: Poll) -> Iterator[Line]:
    """Yield all that is there now; a reader hands out a large log in pieces."""
    while more := poll():
        yield from more


def _beginning(poll: Poll, count: int | None) -> Iterable[Line]:
    """Return what is there, or the last so many lines of it.

    Of what a job draws again and again only that is shown which no line of the stream came after.
    """
    pictures: dict[tuple[str, Any], Line] = {}

    def lines() -> Iterator[Line]:
        for line in _everything(poll):
            job, record = line
            stream = job, record.get("type")
            if record.get("progress"):
                pictures[stream] = line
                continue
            pictures.pop(stream, None)
            yield line

    found = lines() if count is None else deque(lines(), maxlen=count)
    yield from found
    yield from pictures.values()


def _meant(args: argparse.Namespace) -> tuple[RunClient, str | None]:
    """Return the run and the job; one word alone is a job of the newest run, if that has one of this name.

    Raises:
        UsageError: The words name nothing that is there.
    """
    if args.run is None or args.job is not None:
        return RunClient.find(args.run, runs_dir=args.runs_dir), args.job
    if "/" in args.run:  # no job's name
        return RunClient.find(args.run, runs_dir=args.runs_dir), None
    try:
        newest = RunClient.find(runs_dir=args.runs_dir)
    except UsageError:
        return RunClient.find(args.run, runs_dir=args.runs_dir), None
    names = newest.job_names
    if args.run in names:
        return newest, args.run
    try:
        return RunClient.find(args.run, runs_dir=args.runs_dir), None
    except UsageError as error:
        known = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        raise UsageError(f"{args.run} is neither a run nor a job of the newest run", f"its jobs: {known}") from error
