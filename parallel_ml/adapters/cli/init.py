"""`init`: writes a commented configuration to begin with; it never overwrites one."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, examples, program
from parallel_ml.adapters.cli.text import safe
from parallel_ml.config.template import write_templates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument("dir", nargs="?", default=".", metavar="DIR", help="the folder to begin in (default: this one)")
    add_json(parser, "what was written")
    examples(parser, "init", "init my_project")


def run(args: argparse.Namespace) -> int:
    """Write what is not there yet, and say what to do next.

    Raises:
        StoreError: It could not be written.
    """
    files = write_templates(Path(args.dir).expanduser())
    if args.json:
        told = {
            "written": [str(path) for path, written in files if written],
            "kept": [str(path) for path, written in files if not written],
        }
        screen.print_json(told)
        return 0
    for path, written in files:
        shown = safe(str(path))
        print(f"{shown}: written" if written else f"{shown}: is there already and was left as it is")
    go = "" if args.dir == "." else f"cd {safe(shlex.quote(args.dir))} && "
    print("set image_dir in it to your images, one folder per class (or command: to your own program), then:")
    print(f"  {go}{program()} validate")
    print(f"  {go}{program()} run")
    print(f"for messages when something happens: notifier_config.yaml, then: {go}{program()} notify test")
    return 0
