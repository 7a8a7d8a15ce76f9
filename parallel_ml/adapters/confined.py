"""Configurations that somebody else names: they stay below a folder, through links too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from parallel_ml.config.loading import find_sources
from parallel_ml.errors import ConfigProblem, UsageError


def confined(named: Sequence[str], root: Path) -> list[str]:
    """Return the files that are meant, links followed, relative to a folder that they are all below.

    What is not there is returned as it was named, for the message of who reads it.

    Args:
        named: Configurations (files, folders, globs) as they came from outside.
        root: The folder, resolved.

    Raises:
        UsageError: One means something else; whether that is there is not told.
    """
    files = []
    for name in named:
        path = Path(os.path.normpath(root / name))
        if name.startswith("~") or "\0" in name or not path.is_relative_to(root):
            raise _outside(name)
        for source in find_sources(name, root):
            if isinstance(source, ConfigProblem):
                files.append(name)
                continue
            found = source.path.resolve()
            if not found.is_relative_to(root):
                raise _outside(name)
            files.append(os.path.relpath(found, root))
    return files


def _outside(name: str) -> UsageError:
    return UsageError(f"{name[:200]!r} is not below the folder that is served", "name configurations inside it")
