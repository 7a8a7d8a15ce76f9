"""`.env` files: variables beside a configuration, for secrets that must not stand in it."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from parallel_ml.config.loading import Source, read_text
from parallel_ml.errors import ConfigProblem

NAME = ".env"
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")
_DOUBLE = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_SINGLE = re.compile(r"'(?P<text>[^']*)'\s*(?:#.*)?")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class Variables(Mapping[str, str]):
    """The environment, and behind it the `.env` files of some folders, the first before the others.

    Attributes:
        used: The `.env` files that a value was taken from.
        problems: What is wrong with these files; the lines that are wrong are left out.
    """

    def __init__(self, environ: Mapping[str, str], folders: Sequence[Path]) -> None:
        """Read the files; a file that is not there is none."""
        self._environ = environ
        self._files: list[tuple[Path, dict[str, str]]] = []
        self.used: set[Path] = set()
        self.problems: list[ConfigProblem] = []
        for path in dict.fromkeys(folder / NAME for folder in folders):
            if path.is_file():
                text, problem = read_text(Source(path, str(path)))
                values, problems = parse(text or "", str(path))
                self.problems += [problem] if problem else problems
                self._files.append((path, values))

    def __getitem__(self, name: str) -> str:
        """Return a variable's value."""
        if name in self._environ:
            return self._environ[name]
        for path, values in self._files:
            if name in values:
                self.used.add(path)
                return values[name]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over all names."""
        return iter(dict.fromkeys([*self._environ, *(name for _, values in self._files for name in values)]))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(list(iter(self)))

    def __repr__(self) -> str:
        """Return the files alone: the values may be secrets."""
        return f"Variables({[str(path) for path, _ in self._files]})"


def parse(text: str, file: str) -> tuple[dict[str, str], list[ConfigProblem]]:
    r"""Return the variables of a `.env` text, and the lines that say nothing; no shell is used, nothing is replaced.

    >>> parse("# mail\nexport SMTP_PASSWORD='a $b' # app\nTOKEN=x#y # z\n", ".env")[0]
    {'SMTP_PASSWORD': 'a $b', 'TOKEN': 'x#y'}
    """
    values: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        value = _value(match["value"]) if match else None
        if match is None or value is None:
            # The line itself may be a secret.
            problems.append(ConfigProblem(file, number, "", "is not NAME=value, and is left out"))
        else:
            values[match["name"]] = value
    return values, problems


def readable_by_others(path: Path) -> bool:
    """Whether the group or everybody may read a file."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def _value(written: str) -> str | None:
    """Return what stands for a value, or None where a quote is not closed."""
    if written.startswith('"'):
        match = _DOUBLE.fullmatch(written)
        return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), match["text"]) if match else None
    if written.startswith("'"):
        match = _SINGLE.fullmatch(written)
        return match["text"] if match else None
    return re.split(r"(?:^|\s)#", written, maxsplit=1)[0].strip()
