"""The socket by which the job's processes report: an abstract Unix socket, lines of JSON, each one answered.

The socket's name is in `$PARALLEL_ML_SOCKET`, so that it also reaches processes that a script starts itself. It leaves
no file behind. Only processes of the same user are heard (SO_PEERCRED, unix(7)).
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import socket
import struct
from collections.abc import Callable
from typing import Any

MAX_MESSAGE_BYTES = 65536
MAX_PEERS = 512
"""More at a time are hung up on, and more than half the files that may be open: the shim needs some for itself."""


class Link:
    """Listens and answers; `handle` gets each message and returns the answer."""

    def __init__(
        self, name: str, selector: selectors.BaseSelector, handle: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        """Listen on the abstract name.

        Raises:
            OSError: The name is taken.
        """
        self._selector, self._handle, self._peers = selector, handle, 0
        self._most_peers = min(MAX_PEERS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(f"\0{name}")
        self._listener.listen(socket.SOMAXCONN)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        """Take in all who wait: one that is left waiting would keep the loop turning."""
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            if self._peers >= self._most_peers:
                peer.close()
                continue
            self._welcome(peer)

    def _welcome(self, peer: socket.socket) -> None:
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] != os.getuid():
            peer.close()
            return
        peer.setblocking(False)
        rest = bytearray()
        self._peers += 1
        self._selector.register(peer, selectors.EVENT_READ, lambda: self._read(peer, rest))

    def _read(self, peer: socket.socket, rest: bytearray) -> None:
        try:
            data = peer.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        rest += data
        if not data or len(rest) > MAX_MESSAGE_BYTES + 65536:
            self._drop(peer)
            return
        while (end := rest.find(b"\n")) >= 0:
            line = bytes(rest[:end])
            del rest[: end + 1]
            try:
                peer.send(json.dumps(self._answer(line)).encode() + b"\n")
            except OSError:
                self._drop(peer)
                return

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line, parse_constant=_refuse)
            if not isinstance(message, dict):
                return {"ok": False, "error": "not an object"}
            return self._handle(message)
        except Exception as error:  # noqa: BLE001 - no message may end the shim, and with it the training
            return {"ok": False, "error": f"{type(error).__name__}: {error}"[:200]}

    def _drop(self, peer: socket.socket) -> None:
        self._selector.unregister(peer)
        self._peers -= 1
        peer.close()


def _refuse(constant: str) -> None:
    message = f"{constant} is not JSON"
    raise ValueError(message)
