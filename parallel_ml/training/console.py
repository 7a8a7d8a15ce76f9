"""The lines that the built-in training says; its stdout is the job's log."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Write one line to stdout at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def complain(line: str) -> None:
    """Write one line to stderr at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
