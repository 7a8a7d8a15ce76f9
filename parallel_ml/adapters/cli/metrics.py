"""`metrics`: the runs as Prometheus' text, on stdout or in a file that node_exporter reads."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from parallel_ml.adapters.cli.arguments import examples
from parallel_ml.adapters.cli.text import safe
from parallel_ml.adapters.prometheus import render
from parallel_ml.core.units import parse_duration
from parallel_ml.errors import UsageError
from parallel_ml.store.files import write_whole
from parallel_ml.store.runs import RunsFolder, runs_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument("--output", metavar="FILE", help="replace this file, at once, instead of printing")
    parser.add_argument("--every", metavar="TIME", help="do it again and again, so far apart (15s), until Ctrl-C")
    parser.description = (
        "Print the runs in Prometheus' text format. A server (`serve`) has the same at /metrics; without one, let"
        "\nnode_exporter read a file: --output in the folder of its --collector.textfile.directory, named *.prom."
    )
    examples(parser, "metrics", "metrics --output textfile/parallel_ml.prom --every 15s")


def run(args: argparse.Namespace) -> int:
    """Print or write the metrics, once or for as long as nobody presses Ctrl-C.

    Raises:
        UsageError: The time is none, or there is no file to replace again and again.
        MissingPackage: prometheus_client is not installed.
        StoreError: The file cannot be written.
    """
    folder = runs_folder(args.runs_dir, os.environ, Path.cwd())
    every_s = _seconds(args.every)
    if every_s is not None and args.output is None:
        raise UsageError("--every replaces a file", "say which: --output FILE")
    if args.output is not None and not args.output.endswith(".prom"):
        print(f"warning: node_exporter reads only files named *.prom, not {safe(args.output)}", file=sys.stderr)
    while True:
        _tell(folder, args.output)
        if every_s is None:
            return 0
        time.sleep(every_s)


def _tell(folder: RunsFolder, output: str | None) -> None:
    text = render(folder)
    if output is None:
        sys.stdout.write(text)
    else:  # whole or not at all; what is told anew each time need not survive a power loss
        write_whole(Path(output).expanduser().absolute(), text.encode("utf-8"), durable=False)


def _seconds(text: str | None) -> float | None:
    """Read a time, at least a second.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--every {text}: {error}") from None
    if found < 1:
        raise UsageError(f"--every {text} is too often", "give 1s or more")
    return found
