"""The terminal: messages on standard error, for trying things out and for logs of other programs."""

from __future__ import annotations

import sys
from typing import TextIO

from parallel_ml.notify import render
from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply
from parallel_ml.notify.escape import clean
from parallel_ml.notify.message import Message


class ConsoleNotifier(BaseChannel):
    """Writes `[level] title` and below it, indented, what the message says."""

    def __init__(self, *, name: str = "console", stream: TextIO | None = None) -> None:
        """Take a stream; None is whatever standard error is when a message comes."""
        self.name, self._stream = name, stream
        self.limits = Limits(max_bytes=16 * 1024)

    def deliver(self, message: Message) -> Reply:
        """Write a message; see `Channel`."""
        stream = self._stream or sys.stderr
        encoding = getattr(stream, "encoding", None) or "utf-8"
        text = self.preview(message).encode(encoding, "replace").decode(encoding)
        try:
            stream.write(f"{text}\n")
            stream.flush()
        except (OSError, ValueError) as error:  # a closed pipe, a closed stream
            return Reply(Fate.FAILED, f"standard error cannot be written ({type(error).__name__})")
        return Reply(Fate.SENT, "written to standard error")

    def preview(self, message: Message) -> str:
        """Return the lines; see `Channel`."""
        body = render.plain(message, self.limits.max_bytes, title=False)
        lines = [f"[{message.level}] {clean(message.title)}", *(f"  {line}".rstrip() for line in body.splitlines())]
        return "\n".join(lines)
