"""Configurations that somebody else names: they stay below a folder, through links too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from parallel_ml.config.loading import find_sources
from parallel_ml.errors import ConfigProblem, UsageError


def confined(named: Sequence[str], root: Path) -> list[str]:
    """Return names of configurations (files, folders, globs) as they are, where all that they mean is below a folder.

    Args:
        named: As they came from outside.
        root: The folder, resolved.

    Raises:
        UsageError: One means something else; whether that is there is not told.
    """
    for name in named:
        path = Path(os.path.normpath(root / name))
        if name.startswith("~") or "\0" in name or not path.is_relative_to(root):
            raise _outside(name)
        for source in find_sources(name, root):
            if not isinstance(source, ConfigProblem) and not source.path.resolve().is_relative_to(root):
                raise _outside(name)
    return list(named)


def _outside(name: str) -> UsageError:
    return UsageError(f"{name[:200]!r} is not below the folder that is served", "name configurations inside it")
