"""What a server is told at its start."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class ServerSettings:
    """What a server is told at its start.

    Attributes:
        root: The folder that paths in requests are relative to, and that they stay in; resolved.
        token: What every request must bring.
        runs_dir: Where runs live, as a user named it; None is `$PARALLEL_ML_RUNS`, else `./runs` below the root.
        host: The address that is listened on.
        port: The port.
        names: Names that requests may call the server by, beside those of the loopback.
        proxy_names: Names that others give it, who listen on ports of their own.
        environ: The environment of the jobs.
    """

    root: Path
    token: str = field(repr=False)
    runs_dir: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    names: frozenset[str] = frozenset()
    proxy_names: frozenset[str] = frozenset()
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach it."""
        return not is_loopback(self.host)

    def is_called(self, host: str) -> bool:
        """Whether a `Host` header names this server.

        By a name that it does not know a page of somebody else's may have been pointed here (DNS rebinding). That
        takes a name: a numeric address is believed where the server listens on more than the loopback.
        """
        name, port = split_host(host)
        if name in self.proxy_names and port != -1:
            return True
        if port != self.port:
            return False
        return name in LOOPBACK_NAMES or name in self.names or (self.is_open and _is_address(name))


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names(host: str) -> frozenset[str]:
    """Return the names that a server on `host` answers to, beside those of the loopback."""
    if is_loopback(host):
        return frozenset({host.lower()})
    return frozenset({host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()})


def split_host(host: str) -> tuple[str, int]:
    """Return name and port of a `Host` header; the port is 80 where it names none, and -1 where it makes no sense.

    >>> split_host("[::1]:8000"), split_host("LocalHost"), split_host("a:b")
    (('::1', 8000), ('localhost', 80), ('a', -1))
    """
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    number = 80 if not colon else int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1
    number = number if number < 65536 else -1
    return name.lower().removeprefix("[").removesuffix("]"), number


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
