"""`clean`: removes finished runs by age, number or size, or by name."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from parallel_ml.adapters.cli import failures, screen
from parallel_ml.adapters.cli.arguments import add_json, examples, program
from parallel_ml.adapters.cli.text import ago, safe
from parallel_ml.core.units import format_size, parse_duration, parse_size
from parallel_ml.errors import ParallelMLError, StoreError, UsageError
from parallel_ml.store.cleaning import (
    Criteria,
    FinishedRun,
    choose,
    finished_runs,
    leftovers,
    removable_run,
    remove_leftover,
    remove_run,
    size_bytes,
)
from parallel_ml.store.run_view import iso
from parallel_ml.store.runs import find_only_run, forget_removed_runs, runs_folder

_Number = TypeVar("_Number", int, float)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="these runs, from whatever folder")
    parser.add_argument("--older-than", type=_duration, metavar="TIME", help="runs that ended longer ago: 7d, 12h")
    parser.add_argument(
        "--keep",
        type=_count,
        metavar="N",
        help="all but the newest N finished runs; beside --older-than or --max-size these N stay in any case",
    )
    parser.add_argument("--max-size", type=_size, metavar="SIZE", help="the oldest, until all take no more than SIZE")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    add_json(parser, "what was removed")
    parser.description = (
        "Remove finished runs of the runs folder. Runs that are not finished, and what was saved outside of the run's"
        "\nfolder, are never touched."
    )
    examples(parser, "clean --older-than 7d --keep 5", "clean --max-size 20GiB --dry-run", "clean 20260101-120000-3fa9")


def run(args: argparse.Namespace) -> int:
    """Choose, remove, and say what was removed; exit code 2 where something that was chosen could not be.

    Raises:
        UsageError: No criterion is given, or a run that is named may not go; nothing was removed.
    """
    criteria = Criteria(args.older_than, args.keep, args.max_size)
    if not args.runs and criteria == Criteria():
        hint = f"for example: {program()} clean --older-than 7d --dry-run"
        raise UsageError("say which runs are to go: --older-than, --keep, --max-size or RUN", hint)
    now = time.time()
    cleaning = _plan(args, criteria, now)
    if not args.dry_run:
        _carry_out(cleaning)
        forget_removed_runs(os.environ)
    if args.json:
        screen.print_json({"dry_run": args.dry_run, **cleaning.to_dict()})
    else:
        print("\n".join(cleaning.lines(now, dry_run=args.dry_run)), flush=True)
    for text in failures.at_most(cleaning.failed):
        print(f"{failures.NAME}: {safe(text)}", file=sys.stderr)
    return 2 if cleaning.failed else 0


@dataclass
class Cleaning:
    """What goes, and what became of it.

    Attributes:
        going: The runs that go; those that could not be removed are taken out.
        swept: What crashes left, and the bytes of it; likewise.
        left: How many runs stay, and the bytes that they take.
        failed: What could not be removed, and why.
    """

    folder: Path
    going: list[FinishedRun]
    swept: dict[Path, int]
    left: tuple[int, int]
    failed: list[str] = field(default_factory=list)

    @property
    def freed_bytes(self) -> int:
        """What was freed, or would be."""
        return sum(run.size_bytes for run in self.going) + sum(self.swept.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "removed": [
                {
                    "run": run.run,
                    "name": run.name,
                    "dir": str(run.layout.dir),
                    "state": run.state,
                    "ended": iso(run.ended_at),
                    "size_bytes": run.size_bytes,
                }
                for run in self.going
            ],
            "leftovers": [{"dir": str(path), "size_bytes": size} for path, size in self.swept.items()],
            "freed_bytes": self.freed_bytes,
            "left": {"runs": self.left[0], "size_bytes": self.left[1]},
            "failed": self.failed,
        }

    def lines(self, now: float, *, dry_run: bool) -> list[str]:
        """Return what people are told."""
        verb = "would remove" if dry_run else "removed"
        lines = [
            f"{verb} {_called(run)}: {run.state} {ago(now - run.ended_at)}, {format_size(run.size_bytes)}"
            for run in self.going
        ]
        lines += [f"{verb} {path.name}, left by a crash: {format_size(size)}" for path, size in self.swept.items()]
        count, left_bytes = self.left
        stays = f"{count} {'run stays' if count == 1 else 'runs stay'} in {safe(str(self.folder))}"
        freed = f"{format_size(self.freed_bytes)} {'would be ' if dry_run else ''}freed"
        done = freed if lines else "nothing to remove"
        return [*lines, f"{done}; {stays}, {format_size(left_bytes)}"]


def _called(run: FinishedRun) -> str:
    return f"{safe(run.run)} ({safe(run.name)})" if run.name else safe(run.run)


def _plan(args: argparse.Namespace, criteria: Criteria, now: float) -> Cleaning:
    """Return what goes: the runs that are named, and by the criteria those of the runs folder alone."""
    folder = runs_folder(args.runs_dir, os.environ, Path.cwd())
    named = [removable_run(find_only_run(folder, name, os.environ)) for name in args.runs]
    finished, others = finished_runs(map(folder.layout, folder.run_ids()))
    named_dirs = {run.layout.dir for run in named}
    others = [layout for layout in others if layout.dir not in named_dirs]
    other_bytes = sum(size_bytes(layout.dir) for layout in others)
    going = {run.layout.dir: run for run in (*named, *choose(finished, criteria, now, other_bytes))}
    stay = [run.size_bytes for run in finished if run.layout.dir not in going]
    swept = {path: size_bytes(path) for path in leftovers(folder, now)}
    return Cleaning(folder.path, list(going.values()), swept, (len(stay) + len(others), sum(stay) + other_bytes))


def _carry_out(cleaning: Cleaning) -> None:
    for run in list(cleaning.going):
        try:
            remove_run(run.layout)
        except ParallelMLError as error:
            cleaning.failed.append(str(error))
            cleaning.going.remove(run)
            cleaning.left = (cleaning.left[0] + 1, cleaning.left[1] + run.size_bytes)
    for path in list(cleaning.swept):
        try:
            remove_leftover(path)
        except StoreError as error:
            cleaning.failed.append(str(error))
            del cleaning.swept[path]


def _duration(text: str) -> float:
    return _parsed(text, parse_duration)


def _size(text: str) -> int:
    return _parsed(text, parse_size)


def _parsed(text: str, parse: Callable[[str], _Number]) -> _Number:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not text.isdecimal():
        message = f"must be a whole number from 0 on, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)
