"""`doctor`: what this machine offers, and what to do about what is missing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, examples
from parallel_ml.adapters.cli.text import safe

if TYPE_CHECKING:
    from parallel_ml.runtime.finding import Finding

_DESCRIPTION = """\
Say what this machine offers and what to do about what is missing. Each line is ok, a warning, or a problem, with which
runs fail. The exit code is 0 when everything could be looked at, whatever was found; in --json, `ok` is false where
there is a problem."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    add_json(parser, "what was found")
    parser.description = _DESCRIPTION
    examples(parser, "doctor", "doctor --runs-dir /data/runs", "doctor --json")


def run(args: argparse.Namespace) -> int:
    """Look at everything and say what was found."""
    from parallel_ml.gpu.manager import GPUManager  # noqa: PLC0415 - `doctor --help` needs none of it
    from parallel_ml.runtime.doctor import examine  # noqa: PLC0415
    from parallel_ml.store.runs import runs_folder  # noqa: PLC0415

    gpus = GPUManager.detect()
    try:
        folder = runs_folder(args.runs_dir, os.environ, Path.cwd()).path
        found = [*examine(folder, gpus, os.environ), terminal_finding()]
    finally:
        gpus.close()
    if args.json:
        healthy = all(one.state != "problem" for one in found)
        screen.print_json({"ok": healthy, "findings": [asdict(one) for one in found]})
    else:
        print("\n".join(finding_lines(found)))
    return 0


def terminal_finding() -> Finding:
    """Return what the terminal can show."""
    from parallel_ml.runtime.finding import Finding  # noqa: PLC0415

    size = screen.size(sys.stdout)
    if size is None:
        return Finding("terminal", "ok", "the output is no terminal: plain lines")
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    text = f"{size[0]} x {size[1]}, TERM={os.environ.get('TERM', '')}, {sys.stdout.encoding}"
    if not screen.is_terminal(sys.stdout):
        return Finding("terminal", "warning", text, "set TERM for a live display, xterm-256color say")
    if encoding != "utf8":
        return Finding("terminal", "warning", text, "set LANG=C.UTF-8, else characters are shown as ?")
    return Finding("terminal", "ok", text)


def finding_lines(found: Sequence[Finding]) -> list[str]:
    """Return a line for each finding, one more for what to do, and the count at the end."""
    state, name = (
        max(len(text) for text in texts) for texts in zip(*((one.state, one.name) for one in found), strict=True)
    )
    lines = []
    for one in found:
        lines.append(f"{one.state:<{state}}  {one.name:<{name}}  {safe(one.text)}")
        if one.advice:
            lines.append(f"{'':<{state}}  {'':<{name}}  -> {safe(one.advice)}")
    counts = [(sum(one.state == word for one in found), word) for word in ("problem", "warning")]
    told = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count]
    return [*lines, "", ", ".join(told) or "everything is fine"]
