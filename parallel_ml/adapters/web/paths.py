"""Paths that come from the network: relative to the root, and inside of it wherever links lead."""

from __future__ import annotations

import os
from pathlib import Path

from parallel_ml.adapters.web.problems import Problem


def inside(root: Path, named: str) -> Path:
    """Return the path that is meant, links followed.

    Args:
        root: The folder; resolved.
        named: A path relative to it, or an absolute one inside of it.

    Raises:
        Problem: It leads outside, or is no path.
    """
    if "\0" in named or named.startswith("~"):
        raise _outside(named)
    try:
        path = (root / named).resolve()
        path.exists()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that is too long
        raise Problem(422, "no-path", f"{named[:200]!r} is no path") from None
    if path != root and root not in path.parents:
        raise _outside(named)
    return path


def check_owned(path: Path, named: str) -> None:
    """Refuse a configuration that somebody else may have written: it may name a program.

    Raises:
        Problem: It is not the user's own, or everybody may write to it.
    """
    try:
        found = path.stat()
    except OSError:
        return  # said by who reads it
    if found.st_uid not in {os.geteuid(), 0} or found.st_mode & 0o002:
        what = f"{named[:200]} may have been written by somebody else"
        raise Problem(403, "not-yours", what, "a configuration is started only if it is yours, and yours to write")


def _outside(named: str) -> Problem:
    return Problem(422, "outside", f"{named[:200]!r} is not inside the server's root", "name a path below --root")
