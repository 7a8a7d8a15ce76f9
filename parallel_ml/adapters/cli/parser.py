"""Reading a command line: what is wrong with it becomes a UsageError, with the nearest option where one is misspelt."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from parallel_ml.adapters.cli.arguments import nearest_option, program
from parallel_ml.errors import UsageError

_MARK = "\0"
"""No word of a command line holds it."""


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
