"""`report`: writes the report of a run, at any time, or of several runs that are compared."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from parallel_ml.adapters.cli.arguments import add_json, examples
from parallel_ml.adapters.cli.text import safe
from parallel_ml.errors import UsageError
from parallel_ml.notify.settings import LANGUAGES
from parallel_ml.report.gather import gather
from parallel_ml.report.writing import FORMATS, write_reports, written
from parallel_ml.runtime.run_report import language_of, secrets_known
from parallel_ml.store.files import make_dir
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.runs import find_run, run_layouts, runs_folder

STEM = "parallel-ml-report"
"""The name of a report of several runs, which belongs into no run's folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="ids, names or directories (default: the newest run)")
    parser.add_argument("--all", action="store_true", help="compare all runs of the runs folder")
    parser.add_argument("--format", type=_formats, metavar="FORMATS", help="some of html,md,json (default: all three)")
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="a folder, a file whose name ends in the format, or - for stdout"
        " (default: the run's folder; of several runs the current one)",
    )
    parser.add_argument(
        "--language", choices=LANGUAGES, help="en or zh (default: the language of the run's messages, else en)"
    )
    add_json(parser, "the report, which is written nowhere then,")
    parser.description = (
        "Write the report of a run: a row for each job, the winner, what differed, curves, confusion matrices,"
        "\nthe GPUs over time, failures, alerts, versions. A run that has ended has it in its folder already."
        "\nOf several runs, a leaderboard and all their jobs in one."
    )
    examples(
        parser,
        "report",
        "report night --language zh",
        "report monday tuesday --format html --output comparison.html",
        "report --all --format md --output -",
    )


def run(args: argparse.Namespace) -> int:
    """Write the reports and say where they are.

    Raises:
        UsageError: There is no such run, or the options make no sense together.
        StoreError: A run cannot be read, or a file cannot be written.
    """
    layouts = _layouts(args)
    language = args.language or language_of(layouts[0], os.environ)
    secrets = secrets_known(layouts, os.environ)
    if args.json:
        if args.format or args.output:
            raise UsageError("--json prints the report", "leave --format and --output out")
        sys.stdout.write(written(gather(layouts, time.time(), secrets), "json", language))
        return 0
    if args.output == "-":
        if args.format is not None and len(args.format) > 1:
            raise UsageError("one format alone can go to stdout", "for example: --format md --output -")
        form = args.format[0] if args.format else "md"
        sys.stdout.write(written(gather(layouts, time.time(), secrets), form, language))
        return 0
    place, forms = _where(args.output, args.format, layouts)
    for path in write_reports(layouts, place, time.time(), forms=forms, language=language, secrets=secrets):
        print(safe(os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)))
    return 0


def _layouts(args: argparse.Namespace) -> list[RunLayout]:
    """Return the runs that are meant, each once."""
    folder = runs_folder(args.runs_dir, os.environ, Path.cwd())
    if args.all:
        if args.runs:
            raise UsageError("--all are all runs already", "name some, or give --all")
        if found := list(run_layouts(folder, os.environ)):
            return found
    found = [find_run(folder, wanted, os.environ) for wanted in args.runs or [None]]
    return list({layout.dir: layout for layout in found}.values())


def _where(
    output: str | None, forms: Sequence[str] | None, layouts: Sequence[RunLayout]
) -> tuple[Callable[[str], Path], Sequence[str]]:
    """Return where the file of each format goes, and the formats."""
    alone = layouts[0] if len(layouts) == 1 else None
    if output is None:
        return alone.report if alone else lambda form: Path.cwd() / f"{STEM}.{form}", forms or FORMATS
    path = Path(output).expanduser().absolute()
    ending = path.suffix.removeprefix(".")
    if ending in FORMATS and not path.is_dir():
        if forms is not None and list(forms) != [ending]:
            raise UsageError(f"--format {','.join(forms)} does not fit the name {output}", "leave one of them out")
        make_dir(path.parent)
        return lambda _: path, (ending,)
    make_dir(path)
    return lambda form: path / (f"report.{form}" if alone else f"{STEM}.{form}"), forms or FORMATS


def _formats(text: str) -> list[str]:
    """Read formats with commas between them."""
    forms = list(dict.fromkeys(word.strip() for word in text.split(",")))
    wrong = [form for form in forms if form not in FORMATS]
    if wrong:
        message = f"must be some of html,md,json, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return forms
