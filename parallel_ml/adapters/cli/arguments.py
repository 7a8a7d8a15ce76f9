"""What verbs say of their arguments, and which known word a misspelt one is nearest to."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


def program() -> str:
    """Return what the user types to start this program."""
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib is not loaded for a verb that needs no path
    return name if name == "parallel-ml" else "python -m parallel_ml"


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the run that is meant."""
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="the run's id, the beginning of it, its name or its directory (default: the newest)",
    )


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def examples(parser: argparse.ArgumentParser, *lines: str) -> None:
    """Show command lines at the end of the help, each without the program's name."""
    shown = "\n".join(f"  {program()} {line}" for line in lines)
    parser.epilog = f"{'examples' if len(lines) > 1 else 'example'}:\n{shown}"


def at_least_one(text: str) -> int:
    """Read a whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        import argparse  # noqa: PLC0415 - a plain command line is read without it

        message = f"must be a whole number from 1 on, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return value


def nearest(word: str, known: Iterable[str], alike: float = 0.6) -> str | None:
    """Return the known word that `word` is probably meant to be."""
    from difflib import get_close_matches  # noqa: PLC0415 - only where something is misspelt

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=alike)), None)


def nearest_option(word: str, known: Iterable[str]) -> str | None:
    """Return the known option that is probably meant; their dashes make no two of them alike.

    >>> nearest_option("--max-paralel=2", ["--max-parallel", "--gpus"]), nearest_option("--bogus", ["--gpus"])
    ('--max-parallel', None)
    """
    by_name = {option.lstrip("-"): option for option in known}
    guess = nearest(word.partition("=")[0].lstrip("-"), by_name, alike=0.7)
    return by_name[guess] if guess else None
