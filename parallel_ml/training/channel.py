"""The line from a training process to whoever guards it: one JSON object a line each way, over a local socket."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import Any

TIMEOUT_S = 2.0
SILENCE_S = 5.0
LINE_LIMIT = 64 * 1024
"""The guard reads no longer line, in bytes."""


class Channel:
    """A connection that never hurts the training: when it cannot be used, `exchange` returns None.

    It connects on first use, once more after an error, and then stays silent for `SILENCE_S` seconds. Several threads
    may share it. A forked process makes a connection of its own.
    """

    def __init__(self, name: str) -> None:
        """Keep the name of an abstract AF_UNIX socket, without its leading NUL."""
        self._address = "\0" + name
        self._socket: socket.socket | None = None
        self._received = b""
        self._silent_until = 0.0
        self._busy = False
        self._lock = threading.RLock()
        os.register_at_fork(after_in_child=self._start_over)

    def exchange(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Send one message and return its answer; None where there is none.

        Args:
            message: JSON values without NaN; as a line at most `LINE_LIMIT` bytes, else it is not sent.
        """
        line = json.dumps(message, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._lock:
            # The lock lets its own thread in again: a signal handler that reports in the middle of a report.
            if self._busy or len(line) > LINE_LIMIT or time.monotonic() < self._silent_until:
                return None
            self._busy = True
            try:
                return self._exchange_or_reconnect(line)
            finally:
                self._busy = False

    def _exchange_or_reconnect(self, line: bytes) -> dict[str, Any] | None:
        for _ in range(2):
            try:
                return self._exchange_line(line)
            except (OSError, ValueError):
                self._close()
        self._silent_until = time.monotonic() + SILENCE_S
        return None

    def _exchange_line(self, line: bytes) -> dict[str, Any]:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(TIMEOUT_S)
            self._socket.connect(self._address)
        self._socket.sendall(line)
        while b"\n" not in self._received:
            part = self._socket.recv(4096)
            if not part or len(self._received) > LINE_LIMIT:
                raise ConnectionError
            self._received += part
        answer, _, self._received = self._received.partition(b"\n")
        told = json.loads(answer)
        if not isinstance(told, dict):
            raise ValueError  # noqa: TRY004 - treated like every other answer that makes no sense
        return told

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._received = b""

    def _start_over(self) -> None:
        """Leave the parent's connection to the parent; its lock may have been held when the process forked."""
        self._lock = threading.RLock()
        self._busy = False
        self._close()
