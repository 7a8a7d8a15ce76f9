"""Configurations that somebody else names: below a folder, through links too, and written by nobody else."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from parallel_ml.config.loading import Source, files_of, find_sources
from parallel_ml.errors import ConfigProblem, UsageError

MUST_BE_YOURS = "a configuration, and what it extends, must be yours or root's, and not everybody's to write"


def confined(named: Sequence[str], root: Path, environ: Mapping[str, str]) -> list[str]:
    """Return the files that are meant, links followed, relative to a folder that they are all below.

    What is not there is returned as it was named, for the message of who reads it.

    Args:
        named: Configurations (files, folders, globs) as they came from outside.
        root: The folder, resolved.
        environ: What is put into what they extend.

    Raises:
        UsageError: One means something else (whether that is there is not told), or may be somebody else's.
    """
    files: list[str] = []
    found: list[Source] = []
    for name in named:
        path = Path(os.path.normpath(root / name))
        if name.startswith("~") or "\0" in name or ".." in Path(name).parts or not path.is_relative_to(root):
            raise _outside(name)
        if not all(_is_below(one, root) for one in on_the_way(name, root)):
            raise _outside(name)
        for source in find_sources(name, root):
            if isinstance(source, ConfigProblem):
                files.append(name)
                continue
            if not _is_below(source.path, root):
                raise _outside(name)
            files.append(os.path.relpath(source.path.resolve(), root))
            found.append(source)
    foreign = first_foreign(found, environ)
    if foreign is not None:
        shown = os.path.relpath(foreign, root)
        raise UsageError(f"{shown[:200]!r} may have been written by somebody else", MUST_BE_YOURS)
    return files


def on_the_way(named: str, root: Path) -> Iterator[Path]:
    """Yield what a name leads through, each folder as well: the name itself, or all that a glob's parts match."""
    path = root / named
    yield path
    if glob.has_magic(named):
        for place in range(len(root.parts), len(path.parts)):
            yield from map(Path, glob.iglob(str(Path(*path.parts[: place + 1]))))  # noqa: PTH207 - as the loader does


def first_foreign(sources: Iterable[Source], environ: Mapping[str, str]) -> Path | None:
    """Return a file of configurations, or of what they extend, that somebody else may have written.

    It names programs, and whoever wrote it would have them run.
    """
    for path in files_of(sources, environ):
        try:
            found = path.stat()
        except OSError:
            continue  # said by who reads it
        if found.st_uid not in {os.geteuid(), 0} or found.st_mode & 0o002:
            return path
    return None


def _is_below(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):
        return True  # a loop of links, a name that is too long: nothing is there


def _outside(name: str) -> UsageError:
    return UsageError(f"{name[:200]!r} is not below the folder that is served", "name configurations inside it")
