"""What went wrong, as lines on stderr: one or two for each thing, ten in all, no traceback for a user's mistake."""

from __future__ import annotations

import os
import sys

from parallel_ml.adapters.cli.text import safe, shorten
from parallel_ml.errors import ConfigError, InvalidTransition, ParallelMLError

NAME = "parallel-ml"
MOST_LINES = 10
LONGEST_LINE = 500
BUG_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: the program itself is wrong."""


def report(error: BaseException) -> int:
    """Say on stderr what went wrong and return the exit code."""
    if os.environ.get("PARALLEL_ML_DEBUG") == "1":
        import traceback  # noqa: PLC0415 - 5 ms that only debugging needs

        traceback.print_exception(type(error), error, error.__traceback__)
    for line in lines_of(error):
        print(line, file=sys.stderr)
    return BUG_EXIT_CODE if is_bug(error) else 2


def is_bug(error: BaseException) -> bool:
    """Whether the program is to blame, rather than what it was given or where it runs."""
    if missing_package(error):
        return False
    return isinstance(error, InvalidTransition) or not isinstance(error, (ParallelMLError, OSError))


def missing_package(error: BaseException) -> str:
    """Return the package of others that is not installed, or ""."""
    name = ((error.name or "") if isinstance(error, ModuleNotFoundError) else "").partition(".")[0]
    return "" if name == "parallel_ml" or name in sys.stdlib_module_names else name


def lines_of(error: BaseException) -> list[str]:
    """Return what to say of an error."""
    if isinstance(error, ConfigError):
        return at_most([_cut(str(problem)) for problem in error.problems])
    if package := missing_package(error):
        what = f"package {package} is not installed for {sys.executable}"
        return [_cut(f"{NAME}: {what}; run scripts/setup and use .venv/bin/python, or pip install parallel-ml")]
    if is_bug(error):
        what = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
        place = f" ({_place(error)})" if error.__traceback__ else ""
        return [
            _cut(f"{NAME}: this is a bug of parallel_ml: {what}{place}"),
            "set PARALLEL_ML_DEBUG=1 to see where it comes from, and please report it",
        ]
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename is not None else ""
        return [_cut(f"{NAME}: {named}{error.strerror or error}")]
    first, *rest = str(error).splitlines() or [type(error).__name__]
    return at_most([_cut(f"{NAME}: {first}"), *map(_cut, rest)])


def at_most(lines: list[str], most: int = MOST_LINES) -> list[str]:
    """Return the first lines and how many more there are."""
    return lines if len(lines) <= most else [*lines[:most], f"+{len(lines) - most} more"]


def _cut(text: str) -> str:
    return shorten(safe(text), LONGEST_LINE)


def _place(error: BaseException) -> str:
    """Return file and line of where it was raised, or of the last line of ours that led there."""
    entry = error.__traceback__
    place = ""
    while entry is not None:
        path = entry.tb_frame.f_code.co_filename
        if "parallel_ml" in path:
            place = f"parallel_ml{path.rpartition('parallel_ml')[2]}:{entry.tb_lineno}"
        entry = entry.tb_next
    return place
