"""Finding the verb, and turning what goes wrong into text and exit codes."""

from __future__ import annotations

import gc
import io
import sys

from parallel_ml import __version__
from parallel_ml.adapters.cli import verbs
from parallel_ml.adapters.cli.arguments import nearest, nearest_option, program
from parallel_ml.adapters.cli.plain_words import PlainWords
from parallel_ml.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

INTERRUPTED_EXIT_CODE = 130
_RARELY = 100_000
"""Objects between two looks for garbage."""

_HELP = """\
usage: {program} [--runs-dir DIR] VERB ...

Run many training configurations side by side on the GPUs of one machine, unattended.

verbs:
{verbs}

options:
  --runs-dir DIR  where runs live (default: $PARALLEL_ML_RUNS, else ./runs)
  --version       show the version
  -h, --help      show this, or after a verb what it takes

examples:
  {program} run config/config1.yaml config/config2.yaml
  {program} run configs/ --name night --detach
  {program} status
  {program} logs config1 -f
  {program} stop --job config2

exit codes of run, rerun and resume: 0 all jobs succeeded, 1 a job failed, 2 nothing was started, 3 stopped by stop,
130 by Ctrl-C, 143 by SIGTERM (the trainings go on); of every other verb: 0 done, 2 not possible."""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line and return the exit code.

    Args:
        argv: The words after the program's name; None is those of this process.
    """
    if sys.stdout is None:  # started with it closed
        sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode must not end a run
    try:
        code = dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT_CODE
    except BrokenPipeError:  # `status | head -1`
        from parallel_ml.adapters.cli.screen import let_go_of_stdout  # noqa: PLC0415 - rarely needed

        let_go_of_stdout()
        return 0
    except Exception as error:  # noqa: BLE001 - the user gets a line, not a traceback
        from parallel_ml.adapters.cli import failures  # noqa: PLC0415 - rarely needed

        return failures.report(error)
    return code


def dispatch(words: list[str]) -> int:
    """Carry out the verb that the words name.

    Raises:
        UsageError: They name none.
    """
    before, name, rest = split(words)
    alone = [option for option in before if option.startswith("-") and option.partition("=")[0] != "--runs-dir"]
    if name == "help" and not alone:
        return dispatch([*rest[:1], "--help"])
    if name is None or alone:
        return _without_verb(alone)
    if name in verbs.HIDDEN:
        return verbs.load_hidden(name)(rest)
    if name not in verbs.SUMMARIES:
        raise UsageError(f"no verb {name!r}", _what_was_meant(name))
    verb = verbs.load(name)
    gc.enable()
    return verb.run(_read(name, verb, [*before, *rest]))


def _read(name: str, verb: verbs.Verb, words: list[str]) -> argparse.Namespace:
    """Return what the words say.

    Raises:
        UsageError: They make no sense.
    """
    plain: Any = PlainWords() if name in verbs.PLAIN else None
    if plain:
        gc.set_threshold(_RARELY)  # what a short verb makes it needs until its end
        verb.add_arguments(plain)
        found: argparse.Namespace | None = plain.read(words)
        if found is not None:
            return found
    from parallel_ml.adapters.cli.parser import Parser  # noqa: PLC0415 - a plain command line needs no argparse

    parser = Parser(name, verbs.SUMMARIES[name])
    verb.add_arguments(parser)
    return parser.read(words)


def split(words: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Return the options before the verb, the verb, and what follows it.

    >>> split(["--runs-dir", "here", "status", "--json"])
    (['--runs-dir', 'here'], 'status', ['--json'])
    """
    place = 0
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place] == "--runs-dir" else 1
    return words[:place], words[place] if place < len(words) else None, words[place + 1 :]


def _without_verb(options: list[str]) -> int:
    """Answer the options that stand without a verb, or before one."""
    listed = "\n".join(f"  {name:<10} {text}" for name, text in verbs.SUMMARIES.items())
    text = _HELP.format(program=program(), verbs=listed)
    if "-h" in options or "--help" in options:
        print(text)
        return 0
    if "--version" in options:
        print(f"parallel_ml {__version__}")
        return 0
    if options:
        guess = nearest_option(options[0], ["--runs-dir", "--version", "--help"])
        hint = f"did you mean {guess}?" if guess else f"see {program()} --help"
        raise UsageError(f"no option {options[0]} before the verb", hint)
    print(text, file=sys.stderr)
    return 2


def _what_was_meant(name: str) -> str:
    if name.endswith((".yaml", ".yml")):
        return f"did you mean: {program()} run {name}?"
    guess = nearest(name, verbs.SUMMARIES)
    return f"did you mean {guess}?" if guess else f"see {program()} --help"
