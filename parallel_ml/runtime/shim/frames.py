"""Messages between a supervisor and an image: JSON of any length, and open files, over a Unix socket."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

_HEAD = struct.Struct("!I")
MAX_HANDLES = 4
LONGEST = 64 << 20
"""In bytes; an environment is a few KiB, so what says more is no message of ours."""


def send(connection: socket.socket, message: dict[str, Any], handles: Sequence[int] = ()) -> None:
    """Send a message, and copies of open files with it.

    Raises:
        OSError: The other side is gone.
    """
    data = json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")
    data = _HEAD.pack(len(data)) + data
    if handles:
        data = data[socket.send_fds(connection, [data], list(handles)) :]
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return the next message and the open files that came with it, which the caller closes.

    Raises:
        EOFError: The other side has closed the connection.
        OSError: It is gone, or has been silent for longer than the socket's time-out.
        ValueError: What came is no message.
    """
    head, handles, _, _ = socket.recv_fds(connection, _HEAD.size, MAX_HANDLES)
    if not head:
        raise EOFError
    (length,) = _HEAD.unpack(head + _exactly(connection, _HEAD.size - len(head)))
    if length > LONGEST:
        raise ValueError(f"a message of {length} bytes")
    return json.loads(_exactly(connection, length).decode("utf-8", "surrogatepass")), handles


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
