"""Configuration files: finding them, reading them, and laying them on what they extend."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parallel_ml.config.environment import expand
from parallel_ml.config.tree import Node, merge, plain
from parallel_ml.config.yaml_text import parse
from parallel_ml.errors import ConfigProblem

DEFAULT_CONFIG = "config/config.yaml"
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Source:
    """A configuration file: where it is, and how the user named it."""

    path: Path
    shown: str


def find_sources(paths: str | Path | Sequence[str | Path] | None, cwd: Path) -> list[Source | ConfigProblem]:
    """Return the files that were meant, in the order given; in the place of what could not be found, why.

    Args:
        paths: Files, directories (their own `*.yaml` and `*.yml`, x2 before x10, none below) and globs; None is the
            default file.
        cwd: What relative paths are relative to.
    """
    if paths is None:
        return _find(DEFAULT_CONFIG, cwd, "name a configuration, or run in a folder that has this file")
    several = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not several:
        return [ConfigProblem(None, None, "", "no configuration was given")]
    return [found for path in several for found in _find(os.fspath(path), cwd, "")]


def _find(named: str, cwd: Path, hint: str) -> list[Source | ConfigProblem]:
    if not named:  # as a path it would be the current folder
        return [
            ConfigProblem(None, None, "", "the name of a configuration is empty", "name a file, a folder or a glob")
        ]
    try:
        path = cwd / os.path.expanduser(named)  # noqa: PTH111 - Path.expanduser raises for an unknown user
        if path.is_dir():
            names = sorted((entry.name for entry in path.iterdir() if _is_config(entry)), key=_natural)
            missing = ConfigProblem(named, None, "", "the folder has no *.yaml of its own")
            return [Source(path / name, os.path.join(named, name)) for name in names] or [missing]  # noqa: PTH118
        if path.exists():
            return [Source(path, named)]
        if glob.has_magic(named):
            return _matching(named, path, cwd)
    except (OSError, ValueError) as error:
        return [ConfigProblem(named, None, "", f"cannot be read: {_reason(error)}")]
    return [ConfigProblem(named, None, "", "there is no such file", hint)]


def _matching(named: str, pattern: Path, cwd: Path) -> list[Source | ConfigProblem]:
    found = [Path(match) for match in sorted(glob.glob(str(pattern)), key=_natural)]  # noqa: PTH207 - Path.glob refuses absolute ones
    files = [file for file in found if file.is_file()]
    absolute = os.path.isabs(named)  # noqa: PTH117 - as named
    missing = ConfigProblem(named, None, "", "no file matches")
    return [Source(file, str(file) if absolute else os.path.relpath(file, cwd)) for file in files] or [missing]


def _natural(name: str) -> tuple[list[str | int], str]:
    """Return what names are sorted by so that x2 comes before x10: the place in the run decides the seed."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def _is_config(entry: Path) -> bool:
    return entry.suffix.lower() in _SUFFIXES and not entry.name.startswith(".") and entry.is_file()


def load(source: Source, environ: Mapping[str, str]) -> tuple[Node | None, list[ConfigProblem]]:
    """Return a file's document laid on what it extends, and what is wrong; no tree where nothing can be read of it."""
    loader = _Loader(environ)
    return loader.load(source, ()), loader.problems


def files_of(sources: Iterable[Source], environ: Mapping[str, str]) -> list[Path]:
    """Return the files that configurations consist of, links followed: themselves, and all that they extend."""
    loader = _Loader(environ)
    for source in sources:
        loader.load(source, ())
    return loader.files


class _Loader:
    """Loads one file and its bases, each once, and gathers the problems of all of them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._done: dict[Path, Node | None] = {}
        self.problems: list[ConfigProblem] = []

    @property
    def files(self) -> list[Path]:
        return list(self._done)

    def load(self, source: Source, chain: tuple[Path, ...]) -> Node | None:
        path = source.path.resolve()
        if path not in self._done:
            self._done[path] = self._load(source, (*chain, path))
        return self._done[path]

    def _load(self, source: Source, chain: tuple[Path, ...]) -> Node | None:
        text, problem = read_text(source)
        if problem is not None:
            self.problems.append(problem)
        if text is None:
            return None
        root, problems = parse(text, source.shown)
        self.problems += problems
        if root is None:
            return None
        shape = shape_problem(root)
        if shape is not None:
            self.problems.append(shape)
            return None
        bases = root.value.pop("extends", None)
        return root if bases is None else self._extend(root, bases, source, chain)

    def _extend(self, root: Node, bases: Node, source: Source, chain: tuple[Path, ...]) -> Node | None:
        bases, problems = expand(bases, self._environ, ("extends",))
        self.problems += problems
        entries = bases.value if isinstance(bases.value, list) else [bases]
        merged = Node({}, root.file, root.line)
        whole = not problems
        for entry in entries if whole else []:
            base = self._base(entry, source, chain)
            if base is None:
                whole = False
            else:
                # A name is of one configuration: it is not handed on.
                handed_on = {key: child for key, child in base.value.items() if key != "name"}
                merged = merge(merged, Node(handed_on, base.file, base.line))
        return merge(merged, root) if whole else None

    def _base(self, entry: Node, source: Source, chain: tuple[Path, ...]) -> Node | None:
        named = plain(entry)
        if not isinstance(named, str) or not named:
            self.problems.append(entry.problem(("extends",), "must be a file, or a list of files"))
            return None
        folder = os.path.dirname(source.shown)  # noqa: PTH120 - as the user named it
        base = Source(source.path.parent / os.path.expanduser(named), os.path.join(folder, named))  # noqa: PTH111, PTH118
        message = ""
        try:
            if base.path.resolve() in chain:
                message = f"extends itself by way of {named}"
            elif len(chain) > MAX_DEPTH:
                message = f"extends more than {MAX_DEPTH} files one after another"
            elif not base.path.is_file():
                message = f"there is no file {base.shown}"
        except (OSError, ValueError, RuntimeError) as error:
            message = f"{base.shown} cannot be read: {_reason(error)}"
        if message:
            hint = "the path is relative to this file" if message.startswith("there is no") else ""
            self.problems.append(entry.problem(("extends",), message, hint))
            return None
        return self.load(base, chain)


def read_text(source: Source) -> tuple[str | None, ConfigProblem | None]:
    """Return a file's text, or why there is none."""
    try:
        if not source.path.is_file():
            return None, ConfigProblem(source.shown, None, "", "is not a regular file")
        with source.path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        return None, ConfigProblem(source.shown, None, "", f"cannot be read: {_reason(error)}")
    if len(data) > MAX_BYTES:
        return None, ConfigProblem(source.shown, None, "", "is larger than 1 MiB, which no configuration is")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = "is not UTF-8 text"
        return None, ConfigProblem(source.shown, line, "", message, "save it as UTF-8, or name another file")
    return text, None


def shape_problem(root: Node) -> ConfigProblem | None:
    """Return what is wrong with a document that is not a mapping, or None."""
    if root.value is None or root.value == {}:
        return ConfigProblem(root.file, None, "", "is empty", "see config/config.yaml for a commented example")
    if not isinstance(root.value, dict):
        return root.problem((), "must be keys with values, such as 'model_training:'")
    return None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
