"""What may follow on a command line: the hidden verb that the completion scripts call at each press of the key.

It prints a candidate a line, `word<TAB>what it is`, and nothing where it has none to offer; `:files` and `:dirs` let
the shell complete names of files or folders.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from parallel_ml.adapters.cli import verbs
from parallel_ml.errors import ParallelMLError

if TYPE_CHECKING:
    from parallel_ml.store.layout import RunLayout

FILES, DIRS = ":files", ":dirs"
MOST_RUNS = 50
_PLAIN = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]*")
"""Names that need no quoting in any shell; others are not offered."""
_WORDS = {
    "format": ("html", "md", "json"),
    "language": ("en", "zh"),
    "shell": ("bash", "fish", "zsh"),
}
"""What has a few plain words for its values."""

Candidate = tuple[str, str]


def run(words: Sequence[str]) -> int:
    """Print the candidates for the last of the words; those before it stand on the line already."""
    for word, meaning in candidates(words[1:] if words[:1] == ["--"] else words):
        print(f"{word}\t{meaning}" if meaning else word)
    return 0


def candidates(words: Sequence[str]) -> list[Candidate]:
    """Return what the last of the words, which may be empty, can become.

    >>> candidates(["li"])
    [('list', 'show all runs, newest first')]
    """
    *before, current = _joined(words)
    option, equals, value = current.partition("=")
    if equals and option.startswith("--"):  # `--job=NAME` in a shell that keeps it in one word
        found = _matching(_Line([*before, option]).expected(), value)
        return [(f"{option}={word}", meaning) for word, meaning in found if word not in (FILES, DIRS)]
    line = _Line(before)
    if current.startswith("-") and not line.waits_for_value:
        return _matching(line.options(), current)
    return _matching(line.expected(), current)


def _joined(words: Sequence[str]) -> list[str]:
    """Return the words with what bash has split at `=` put right: `--job`, `=`, `a` becomes `--job`, `a`."""
    kept = [word for place, word in enumerate(words) if word != "=" or place == 0]
    return [*kept, ""] if words and words[-1] == "=" else kept or [""]


def _matching(found: Iterator[Candidate], begin: str) -> list[Candidate]:
    fits = {word: meaning for word, meaning in found if word.startswith(begin) or word in (FILES, DIRS)}
    return list(fits.items())


class _Line:
    """The words before the one that is completed: which verb, which run, and what the next word is for."""

    def __init__(self, words: Sequence[str]) -> None:
        """Read them as far as they make sense."""
        self._runs_dir: str | None = None
        self.verb: str | None = None
        self._given: list[str] = []
        self._last: argparse.Action | None = None
        self._actions: Sequence[argparse.Action] = ()
        self._rest = False
        self._waiting_for_dir = False
        for word in words:
            if self.verb is not None:
                self._take(word)
            elif self._waiting_for_dir:
                self._runs_dir, self._waiting_for_dir = word, False
            elif word in verbs.SUMMARIES:
                self.verb, self._actions = word, _actions_of(word)
            else:
                self._waiting_for_dir = word == "--runs-dir"

    @property
    def waits_for_value(self) -> bool:
        """Whether the next word is the value of an option, or a word in any case, as after `--`."""
        return self._last is not None or self._waiting_for_dir or self._rest

    def options(self) -> Iterator[Candidate]:
        """Yield the options that may come next."""
        if self.verb is None:
            yield from (("--runs-dir", "where runs live"), ("--version", ""), ("--help", ""))
        for action in self._actions:
            if action.option_strings and action.help != "not in this version":
                yield action.option_strings[-1], action.help or ""

    def expected(self) -> Iterator[Candidate]:
        """Yield what the next word may be, options left out."""
        if self._waiting_for_dir:
            yield DIRS, ""
        elif self.verb is None:
            yield from verbs.SUMMARIES.items()
        elif self._last is not None:
            yield from self._values(self._last.dest)
        else:
            yield from self._values(self._next_place())

    def _take(self, word: str) -> None:
        if self._last is not None:
            if self._last.dest == "runs_dir":
                self._runs_dir = word
            self._last = None
        elif self._rest or not word.startswith("-"):
            self._given.append(word)
        elif word == "--":
            self._rest = True
        else:
            name, equals, value = word.partition("=")
            action = next((one for one in self._actions if name in one.option_strings), None)
            if action is not None and action.nargs != 0 and not equals:
                self._last = action
            elif action is not None and action.dest == "runs_dir":
                self._runs_dir = value

    def _next_place(self) -> str:
        """Return what the next word that is no option is for; "" where none is wanted."""
        places = [action for action in self._actions if not action.option_strings]
        for place, action in enumerate(places):
            if action.nargs in ("*", "+") or place >= len(self._given):
                return action.dest
        return ""

    def _values(self, what: str) -> Iterator[Candidate]:
        if what in ("run", "runs"):
            yield from self._run_names()
            # `logs JOB` is understood as well, of the newest run.
            if what == "run" and any(action.dest == "job" and not action.option_strings for action in self._actions):
                yield from self._job_names(None)
        elif what in ("job", "job_option"):
            yield from self._job_names(self._given[0] if self._given else None)
        elif what in _WORDS:
            yield from ((word, "") for word in _WORDS[what])
        elif what in ("alert_file", "configs", "notify", "output"):
            yield FILES, ""
        elif what in ("runs_dir", "dir"):
            yield DIRS, ""
        elif what == "gpus":
            yield from (("auto", "what is there"), ("none", "the CPU"), ("sim:2x16GiB", "simulated cards"))
        elif what == "alert_action":
            yield "check", "list the rules, and replay them over a run"

    def _run_names(self) -> Iterator[Candidate]:
        from parallel_ml.store.files import read_json  # noqa: PLC0415

        for layout in islice(self._layouts(), MOST_RUNS):
            plan = read_json(layout.plan)
            name = plan.get("name") if isinstance(plan, dict) else None
            name = name if isinstance(name, str) and _PLAIN.fullmatch(name) else ""
            if _PLAIN.fullmatch(layout.dir.name):
                yield layout.dir.name, name
                if name:
                    yield name, layout.dir.name

    def _job_names(self, wanted: str | None) -> Iterator[Candidate]:
        from parallel_ml.store.runs import find_run, runs_folder  # noqa: PLC0415

        try:
            layout = find_run(runs_folder(self._runs_dir, os.environ, Path.cwd()), wanted, os.environ)
            names = sorted(os.listdir(layout.dir / "jobs"))  # noqa: PTH208 - names are all that is wanted
        except (ParallelMLError, OSError):
            return
        yield from ((name, f"job of {layout.dir.name}") for name in names if _PLAIN.fullmatch(name))

    def _layouts(self) -> Iterator[RunLayout]:
        from parallel_ml.store.runs import run_layouts, runs_folder  # noqa: PLC0415

        return run_layouts(runs_folder(self._runs_dir, os.environ, Path.cwd()), os.environ)


def _actions_of(verb: str) -> Sequence[argparse.Action]:
    from parallel_ml.adapters.cli.parser import Parser  # noqa: PLC0415 - a verb needs no parser to be completed

    parser = Parser(verb, verbs.SUMMARIES[verb])
    verbs.load(verb).add_arguments(parser)
    return parser._actions  # noqa: SLF001 - argparse offers no other way to list them
