"""Paths that come from the network: relative to the root, and inside of it wherever links lead."""

from __future__ import annotations

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


def _outside(named: str) -> Problem:
    return Problem(422, "outside", f"{named[:200]!r} is not inside the server's root", "name a path below --root")
