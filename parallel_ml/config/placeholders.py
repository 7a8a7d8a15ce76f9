"""What is replaced in an own `command`, and what looks like a slip of the pen of it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

NAMES = ("config", "checkpoint_dir", "job_dir", "seed", "name", "batch_size", "accumulation")
PLACEHOLDER = re.compile(rf"\{{({'|'.join(NAMES)})\}}")
_BARE_WORD = re.compile(r"(?<![${])\{([a-z][a-z_-]{2,30})\}(?!\})")
_CODE = re.compile(r"[\s\"'();]")
_NOT_A_SHELLS = re.compile(r"\b[rb]?f[\"']|\b(?:awk|gawk|mawk|sed)\b|\s-[ce]\s")
_SHELLS = ("bash", "sh", "dash", "zsh", "ksh")
_CLOSE = 0.75


def misspelt(command: Sequence[str]) -> tuple[str, str] | None:
    """Return the first word in braces that is probably meant to be a placeholder, and the one that it is close to.

    A text with blanks or quotes is a program in some language, where braces mean something else; only those of shells
    are looked at, as far as they do not start another such program.

    >>> misspelt(["python", "train.py", "{confg}"]), misspelt(["python", "-c", "print(f'{names}')"])
    (('confg', 'config'), None)
    """
    is_shell = bool(command) and command[0].rpartition("/")[2] in _SHELLS
    for part in command:
        if _CODE.search(part) and not (is_shell and not _NOT_A_SHELLS.search(part)):
            continue
        for word in _BARE_WORD.findall(part):
            close = difflib.get_close_matches(word, NAMES, n=1, cutoff=_CLOSE)
            if close and word not in NAMES:
                return word, close[0]
    return None
