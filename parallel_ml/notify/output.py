"""The end of a job's log, for a message: its last lines, and where in its code it failed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parallel_ml.errors import StoreError
from parallel_ml.store.files import last_lines
from parallel_ml.store.layout import JobLayout

MOST_LINES = 15
_LOOKED_AT = 300
_FRAME = re.compile(r'^\s*File "(.+?)", line (\d+), in (.+?)\s*$')
_NOT_OURS = re.compile(
    r"site-packages|dist-packages|/lib/python\d|^<frozen |^<string>|/parallel_ml/runtime/pinned_main\.py$"
)


def last_output(log: str | None) -> list[str]:
    """Return the last lines that a job wrote to its standard error, else to its standard output; oldest first."""
    if not log:
        return []
    path = Path(log)
    try:
        lines = last_lines(path, _LOOKED_AT)
        if len(lines) < _LOOKED_AT:
            lines = last_lines(JobLayout(path.parent).older_log, _LOOKED_AT - len(lines)) + lines
    except StoreError:
        return []
    records = [record for line in lines if (record := _record(line)) is not None]
    shown = [record for record in records if not record.get("progress") and "dropped" not in record]
    errors, output = ([_text(one) for one in shown if one.get("type") == kind] for kind in ("stderr", "stdout"))
    return [line for line in errors if line.strip()] or [line for line in output if line.strip()]


def place_of(lines: Sequence[str]) -> str | None:
    """Return where the last traceback of some lines points to: the innermost line of the user's own code.

    >>> place_of(['  File "train.py", line 12, in main', '  File "/x/site-packages/keras/a.py", line 3, in f'])
    'train.py:12 in main'
    """
    start = max(
        (at for at, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")), default=0
    )
    frames = [found for line in lines[start:] if (found := _FRAME.match(line)) is not None]
    own = [frame for frame in frames if _NOT_OURS.search(frame[1]) is None]
    frame = next(reversed(own or frames), None)
    return f"{frame[1]}:{frame[2]} in {frame[3]}" if frame is not None else None


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(record: dict[str, Any]) -> str:
    return str(record.get("message", "")).expandtabs(4).rstrip()
