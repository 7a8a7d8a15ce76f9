"""Reading a command line: what is wrong with it becomes a UsageError, with the nearest option where one is misspelt."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from parallel_ml.errors import UsageError


def program() -> str:
    """Return what the user types to start this program."""
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - pathlib is not loaded for a verb that needs no path
    return name if name == "parallel-ml" else "python -m parallel_ml"


class Parser(argparse.ArgumentParser):
    """An argument parser that raises, and takes options and words in any order."""

    def __init__(self, verb: str, summary: str) -> None:
        """Make the parser of a verb."""
        super().__init__(
            prog=f"{program()} {verb}",
            description=f"{summary[0].upper()}{summary[1:]}.",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("--runs-dir", metavar="DIR", help="where runs live (default: $PARALLEL_ML_RUNS, else ./runs)")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Return what the words say.

        Raises:
            UsageError: They say nothing that this verb knows.
            SystemExit: Help was asked for, and printed.
        """
        args, unknown = self.parse_known_intermixed_args(words)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            guess = nearest(unknown[0].partition("=")[0], known) if unknown[0].startswith("-") else None
            if guess:
                raise UsageError(f"no option {unknown[0]}", f"did you mean {guess}?")
            if unknown[0].startswith("-"):
                self.error(f"no option {unknown[0]}")
            self.error(f"too many words: {' '.join(unknown)}")
        return args

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UsageError: Always.
        """
        raise UsageError(message, f"see {self.prog} --help")


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


def at_least_one(text: str) -> int:
    """Read a whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        message = f"must be a whole number from 1 on, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return value


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` is probably meant to be."""
    from difflib import get_close_matches  # noqa: PLC0415 - only where something is misspelt

    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
