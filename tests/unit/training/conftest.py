"""A stand-in for the guard of a training process: it listens where the process reports, and answers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.monkeypatch import MonkeyPatch


class Guard:
    """Answers each line with `answer` and keeps what was said; several connections may be open."""

    def __init__(self, name: str) -> None:
        """Listen on an abstract socket."""
        self.name = name
        self.messages: list[dict[str, Any]] = []
        self.connections = 0
        self.answer: bytes | None = b'{"ok": true, "stop": null}\n'
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind("\0" + name)
        self._listener.listen()
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def drop_connections(self) -> None:
        """Close every connection, as a guard that starts again does."""
        for connection in self._open:
            with contextlib.suppress(OSError):  # the other side left first
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        """Listen no more, and wait for what listened."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                self.messages.append(json.loads(line))
                if self.answer is None:
                    return
                connection.sendall(self.answer)


@pytest.fixture
def guard(monkeypatch: MonkeyPatch) -> Iterator[Guard]:
    """Guard this process and its children for one test."""
    made = Guard(f"parallel-ml-test-{os.getpid()}-{id(monkeypatch)}")
    monkeypatch.setenv("PARALLEL_ML_SOCKET", made.name)
    yield made
    made.close()
