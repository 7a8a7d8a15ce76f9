"""Sockets that keep to a deadline, whatever the other side does: the look-up, the connection, and what comes in."""

from __future__ import annotations

import io
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def seconds_left(deadline: float) -> float:
    """Return how long it is until a time of `time.monotonic`.

    Raises:
        TimeoutError: It is over.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def connect(address: tuple[str, int], deadline: float) -> socket.socket:
    """Connect to the first address of a host that answers; each gets its share of the time that is left.

    Args:
        address: Host and port.
        deadline: When it must be over, by `time.monotonic`; the look-up of the host counts.

    Raises:
        OSError: No address answered (TimeoutError: in time).
    """
    addresses = _addresses(*address, deadline)
    last: OSError = OSError("no address")
    for tried, (family, kind, protocol, _name, place) in enumerate(addresses):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(seconds_left(deadline) / (len(addresses) - tried))
            connection.connect(place)
            connection.settimeout(seconds_left(deadline))
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    try:
        raise last
    finally:
        del last  # it holds this frame, which holds it


class BoundedReader(io.RawIOBase):
    """What comes in on a socket, until a deadline: a server that sends a byte now and then gains nothing by it."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, deadline: float) -> None:
        """Read from a socket's raw file until a time of `time.monotonic`."""
        super().__init__()
        self._raw, self._connection, self._deadline = raw, connection, deadline

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """Read what is there, or wait for it.

        Raises:
            TimeoutError: The time is up.
        """
        self._connection.settimeout(seconds_left(self._deadline))
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        """Close the raw file too."""
        self._raw.close()
        super().close()


def _addresses(host: str, port: int, deadline: float) -> list[Any]:
    # The system's look-up knows no time-out; with a dead network it takes half a minute. So a thread of its own asks.
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except UnicodeError:
            answers.put(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        except OSError as error:
            answers.put(error)

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds_left(deadline))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer
