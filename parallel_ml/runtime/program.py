"""Which word of a command line is the user's own program: a script, a module, or text that an interpreter is given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parallel_ml.core.outcome import StrEnum

_PYTHON = re.compile(r"(?:python|pypy)[\d.]*(?:w|d|t)?")
_SHELLS = frozenset(("bash", "dash", "fish", "ksh", "sh", "zsh"))
_INTERPRETERS = frozenset(("Rscript", "ipython", "julia", "lua", "node", "octave", "perl", "php", "ruby"))
_LAUNCHERS = frozenset(
    ("accelerate", "composer", "coverage", "deepspeed", "horovodrun", "kernprof", "mpiexec", "mpirun", "scalene")
) | {"srun", "torchrun", "viztracer"}
_WRAPPERS = frozenset(
    ("chrt", "conda", "env", "hatch", "ionice", "mamba", "micromamba", "nice", "nohup", "nsys", "numactl", "pdm")
) | {"pipenv", "pixi", "poetry", "rye", "setsid", "stdbuf", "taskset", "time", "timeout", "uv", "xvfb-run"}
_LAUNCHING_MODULES = frozenset(
    ("accelerate.commands.launch", "cProfile", "coverage", "deepspeed.launcher.runner", "kernprof", "pdb", "profile")
) | {"scalene", "torch.distributed.launch", "torch.distributed.run", "trace", "viztracer"}
_WITH_A_VALUE = "WX"
"""Python's one-letter options that take a value and say nothing of the program (`-c` and `-m` end the options)."""
_NO_FOLDER_FIRST = frozenset("IP")
"""Python's options that keep the working folder from where modules are looked for."""


class ProgramKind(StrEnum):
    """What is run."""

    FILE = "file"
    """A file that is itself a program."""
    SCRIPT = "script"
    """A file that an interpreter, or a launcher, is given."""
    MODULE = "module"
    """`python -m NAME`: looked for in the working folder first."""
    TEXT = "text"
    """`python -c TEXT`: it imports from the working folder first."""
    SHELL = "shell"
    """`bash -c TEXT`: nobody can tell what it starts."""
    OTHER = "other"
    """Nothing of the user's that can be told from the command line."""


@dataclass(frozen=True)
class Program:
    """A command line, cut at its program.

    Attributes:
        word: The path, the module's name, or the text.
        before: The words in front: the interpreter and its options, without `-m` and `-c`.
        after: The words behind it.
    """

    kind: ProgramKind
    word: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def read_command(argv: Sequence[str], is_file: Callable[[str], bool]) -> Program:
    """Return the program of a command line.

    >>> read_command(["python", "-u", "train.py", "--epochs", "3"], lambda word: True)
    Program(kind=<ProgramKind.SCRIPT: 'script'>, word='train.py', before=('python', '-u'), after=('--epochs', '3'))
    >>> read_command(["nice", "python3", "-um", "pkg.train", "x"], lambda word: False)
    Program(kind=<ProgramKind.MODULE: 'module'>, word='pkg.train', before=('nice', 'python3', '-u'), after=('x',))

    Args:
        argv: The words.
        is_file: Says whether a word names one of the user's files.
    """
    return _read(tuple(argv), 0, is_file)


def _read(argv: tuple[str, ...], start: int, is_file: Callable[[str], bool]) -> Program:
    name = os.path.basename(argv[start])
    if _PYTHON.fullmatch(name):
        return _python(argv, start, is_file)
    if name in _SHELLS:
        return _shell(argv, start)
    if name in _INTERPRETERS:
        return _first(argv, start + 1, is_file)
    if name in _LAUNCHERS or name in _WRAPPERS:
        known = _SHELLS | _INTERPRETERS | _LAUNCHERS | _WRAPPERS
        for place in range(start + 1, len(argv)):
            inner = os.path.basename(argv[place])
            if _PYTHON.fullmatch(inner) or (inner in known and inner != "coverage"):
                return _read(argv, place, is_file)
        found = _first(argv, start + 1, lambda word: word.endswith(".py") and is_file(word))
        if found.kind is ProgramKind.OTHER and name in _WRAPPERS:
            return _first(argv, start + 1, lambda word: "/" in word and is_file(word))
        return found
    if start == 0 and is_file(argv[0]):
        return Program(ProgramKind.FILE, argv[0], (), argv[1:])
    return Program(ProgramKind.OTHER, argv[start], argv[:start], argv[start + 1 :])


def _first(argv: tuple[str, ...], start: int, fits: Callable[[str], bool]) -> Program:
    """Return the first word from `start` on that is a script."""
    for place in range(start, len(argv)):
        if not argv[place].startswith("-") and fits(argv[place]):
            return _cut(ProgramKind.SCRIPT, argv, place)
    return Program(ProgramKind.OTHER, argv[0], (), argv[1:])


def _cut(kind: ProgramKind, argv: tuple[str, ...], place: int) -> Program:
    return Program(kind, argv[place], argv[:place], argv[place + 1 :])


def _python(argv: tuple[str, ...], start: int, is_file: Callable[[str], bool]) -> Program:
    """Read Python's own options, as its getopt does, up to what it runs."""
    nothing = Program(ProgramKind.OTHER, argv[start], argv[:start], argv[start + 1 :])
    place, isolated = start + 1, False
    while place < len(argv) and argv[place].startswith("-") and argv[place] not in ("-", "--"):
        word = argv[place]
        if word.startswith("--"):
            place += 2 if word == "--check-hash-based-pycs" else 1
            continue
        letters = re.match(rf"-([^cm{_WITH_A_VALUE}]*)(.?)(.*)", word, re.DOTALL)
        flags, last, value = letters.groups() if letters else ("", "", "")
        isolated = isolated or bool(_NO_FOLDER_FIRST & set(flags))
        taken = place + (1 if value or not last else 2)
        if last in ("c", "m") and last:
            if taken > len(argv):
                return nothing
            found = Program(
                ProgramKind.MODULE if last == "m" else ProgramKind.TEXT,
                value or argv[place + 1],
                (*argv[:place], *([f"-{flags}"] if flags else [])),
                argv[taken:],
            )
            if found.kind is ProgramKind.MODULE and found.word in _LAUNCHING_MODULES:
                return _first(argv, taken, lambda word: word.endswith(".py") and is_file(word))
            return nothing if isolated else found
        place = taken
    if place < len(argv) and argv[place] == "--":
        place += 1
    if place >= len(argv) or argv[place] == "-":
        return nothing
    return _cut(ProgramKind.SCRIPT, argv, place)


def _shell(argv: tuple[str, ...], start: int) -> Program:
    place = start + 1
    while place < len(argv) and argv[place].startswith(("-", "+")):
        word = argv[place]
        if not word.startswith("--") and "c" in word[1:] and place + 1 < len(argv):
            return _cut(ProgramKind.SHELL, argv, place + 1)
        place += 2 if word in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file") else 1
    if place >= len(argv):
        return Program(ProgramKind.OTHER, argv[start], argv[:start], argv[start + 1 :])
    return _cut(ProgramKind.SCRIPT, argv, place)
