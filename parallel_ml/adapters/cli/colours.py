"""Colour for lines that are laid out already: no width changes, and NO_COLOR (https://no-color.org) is heeded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_STYLES = {
    "completed": "32",
    "running": "36",
    "starting": "36",
    "failed": "1;31",
    "retrying": "33",
    "stopping": "33",
    "stopped": "33",
    "paused": "33",
    "pending": "2",
}
_BAR, _BAR_REST, _CURVE, _BEST = "36", "2", "35", "1;32"
_NAMES = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
"""The colours of several jobs' names, told apart on dark and light terminals; red is for what went wrong."""
_STATE = rf"(?<=\s)(?P<state>{'|'.join(_STYLES)})(?=\s|,|$)"
_PIECES = re.compile(rf"{_STATE}|(?P<bar>[█-▏]+)|(?P<rest>░+)|(?P<curve>[▁-▇]+)|(?P<best>^\S+ \*(?=\s|$))")


def in_colour(environ: Mapping[str, str] | None = None) -> bool:
    """Whether colour is wanted on a terminal."""
    return not (os.environ if environ is None else environ).get("NO_COLOR")


def styled(line: str) -> str:
    r"""Return a line with its states, bars and the best job in colour.

    >>> styled("config1  running  1/4")
    'config1  \x1b[36mrunning\x1b[0m  1/4'
    """
    return _PIECES.sub(_piece, line)


def strong(text: str) -> str:
    """Return text in bold."""
    return _in("1", text)


def faint(text: str) -> str:
    """Return text that stands back."""
    return _in("2", text)


def job_colour(text: str, place: int) -> str:
    """Return text in the colour of the job at a place of its run."""
    return _in(_NAMES[place % len(_NAMES)], text)


def _piece(found: re.Match[str]) -> str:
    style = {"bar": _BAR, "rest": _BAR_REST, "curve": _CURVE, "best": _BEST}.get(found.lastgroup or "")
    return _in(style or _STYLES[found[0]], found[0])


def _in(style: str, text: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if text else ""
