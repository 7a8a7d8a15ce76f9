"""Text that is safe to show: what jobs print, name or report never reaches the terminal unsanitised.

Width is counted in terminal cells: a Chinese character takes two, a combining accent none.
"""

from __future__ import annotations

import math
import re
import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Texts, so that none of them is compiled before it is needed; `re` keeps what it compiled.
_SEQUENCE = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movement (CSI)
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x1b\x07\x9c]*(?:\x07|\x1b\\|\x9c)"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"  # two-character sequences
)
_SPACE = r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+"
# Controls, direction overrides (they make text read as something else), halves of surrogate pairs.
_UNSAFE = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
_REPLACEMENT = "\ufffd"
_ELLIPSIS = "…"


def safe(text: str) -> str:
    r"""Return `text` in one line without anything that a terminal would obey.

    Whole escape sequences go, line breaks and tabs become a space, other control characters U+FFFD.

    >>> safe("\x1b[31mloss\x1b[0m\tnan\n"), safe("a\x07b")
    ('loss nan', 'a\ufffdb')
    """
    if text.isprintable():
        return text
    return re.sub(_UNSAFE, _REPLACEMENT, re.sub(_SPACE, " ", re.sub(_SEQUENCE, "", text))).rstrip()


def cell_width(text: str) -> int:
    """Return how many terminal cells a safe text takes.

    >>> cell_width("loss"), cell_width("损失")
    (4, 4)
    """
    return len(text) if text.isascii() else sum(_char_width(char) for char in text)


def shorten(text: str, width: int) -> str:
    """Return `text` cut to `width` cells, an ellipsis at the cut.

    >>> shorten("a_long_name", 6), shorten("short", 6)
    ('a_lon…', 'short')
    """
    if cell_width(text) <= width:
        return text
    kept, room = "", width - 1
    for char in text:
        room -= _char_width(char)
        if room < 0:
            break
        kept += char
    return kept.rstrip() + _ELLIPSIS if width > 0 else ""


def number(value: Any) -> str:
    """Return a metric's value for people; "" where there is none.

    >>> number(0.123456), number(3), number(None), number(1e-07)
    ('0.1235', '3', '', '1e-07')
    """
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    return safe(str(value))


def ago(seconds: float | None) -> str:
    """Return an age in one unit.

    >>> ago(12.3), ago(150), ago(7300), ago(200000), ago(None)
    ('12 s ago', '2 min ago', '2 h ago', '2 d ago', '')
    """
    if seconds is None:
        return ""
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit_s:
            return f"{seconds // unit_s:.0f} {unit} ago"
    return f"{max(seconds, 0.0):.0f} s ago"


def _char_width(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
