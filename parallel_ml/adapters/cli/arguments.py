"""Reading a command line: what is wrong with it becomes a UsageError, with the nearest option where one is misspelt."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from parallel_ml.errors import UsageError

_MARK = "\0"
"""No word of a command line holds it."""


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
        args, unknown = self.parse_known_intermixed_args(self._protected(words))
        for name, value in vars(args).items():
            setattr(args, name, _bare(value))
        if unknown and unknown[0].startswith("-"):
            known = [option for action in self._actions for option in action.option_strings]
            if guess := nearest_option(unknown[0], known):
                raise UsageError(f"no option {unknown[0]}", f"did you mean {guess}?")
            self.error(f"no option {unknown[0]}")
        if unknown:
            self.error(f"too many words: {' '.join(_bare(unknown))}")
        return args

    def _protected(self, words: Sequence[str]) -> list[str]:
        """Return the words with those after the first `--` marked, so that none of them is taken for an option.

        argparse knows `--`, but its intermixed parsing forgets it halfway.
        """
        if "--" not in words:
            return list(words)
        place = list(words).index("--")
        self.parse_known_intermixed_args(words[:place])  # an option before it does not take its value from behind it
        return [*words[:place], *(_MARK + word for word in words[place + 1 :])]

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UsageError: Always.
        """
        raise UsageError(message, f"see {self.prog} --help")


def _bare(value: Any) -> Any:
    """Return a value, or a list of them, without the mark."""
    if isinstance(value, list):
        return [_bare(one) for one in value]
    return value.removeprefix(_MARK) if isinstance(value, str) else value


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
