"""A log in pieces: each ends with where the next one begins, also behind a rotation, and for any server."""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import Any

from parallel_ml.adapters.web.problems import Problem
from parallel_ml.monitor.follow import LogFollower, LogPlace, last_log_lines, parse_line
from parallel_ml.store.files import open_stream
from parallel_ml.store.layout import JobLayout

_HEAD_BYTES = 64
_LONGEST_LINE = 64 << 10


def read_piece(files: JobLayout, after: str | None, tail: int | None, most_bytes: int) -> dict[str, Any]:
    """Return lines, where the next piece begins, and whether there are more already.

    Args:
        files: The job's.
        after: Where the piece before ended; None is the beginning.
        tail: Where that is None: begin with about the last so many lines.
        most_bytes: About the most.

    Raises:
        Problem: `after` is none of this server's.
        StoreError: The log cannot be read.
    """
    follower = LogFollower(files.log, files.older_log)
    before: list[bytes] = []
    if after is not None:
        follower.place = _place(after)
    elif tail is not None and (place := _end(files)) is not None:
        before = last_log_lines(files.log, files.older_log, min(most_bytes, tail * _LONGEST_LINE))[-tail:]
        follower.place = place
    found = before or list(follower.poll(most_bytes))
    lines = [record for line in found if (record := parse_line(line)) is not None]
    return {"lines": lines, "next": _text(follower.place), "more": not (before or follower.caught_up)}


def _end(files: JobLayout) -> LogPlace | None:
    """Return the place behind the last whole line of the log; None where there is none."""
    try:
        with open_stream(files.log, links=False) as stream:
            look = os.fstat(stream.fileno())
            begin = max(0, look.st_size - _LONGEST_LINE)
            stream.seek(begin)
            end = begin + stream.read(look.st_size - begin).rfind(b"\n") + 1
            return (look.st_ino, os.pread(stream.fileno(), _HEAD_BYTES, 0), end, 0) if end > begin else None
    except OSError:
        return None


def _text(place: LogPlace) -> str:
    inode, head, offset, passed = place
    told = json.dumps([inode, head.decode("latin-1"), offset, passed], separators=(",", ":"))
    return base64.urlsafe_b64encode(told.encode()).decode()


def _place(text: str) -> LogPlace:
    """Return the place that a text says.

    Raises:
        Problem: It says none.
    """
    try:
        inode, head, offset, passed = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
        place = int(inode), head.encode("latin-1"), int(offset), int(passed)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, binascii.Error):
        raise Problem(422, "unknown-place", "`after` is none of this server's", "begin without it") from None
    if min(place[2:]) < 0 or max(place[0], *place[2:]) >= 1 << 62 or len(place[1]) > _HEAD_BYTES:
        raise Problem(422, "unknown-place", "`after` is none of this server's", "begin without it")
    return place
