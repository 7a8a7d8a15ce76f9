"""One conversation with an SMTP server, in a bounded time, and encrypted unless the server is this machine."""

from __future__ import annotations

import contextlib
import io
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parallel_ml.notify.bounded import BoundedReader, connect
from parallel_ml.notify.escape import clean
from parallel_ml.notify.http import is_loopback
from parallel_ml.notify.secret import Secret

SSL_PORT = 465
_NOT_IN_PLAIN = frozenset({503, 504, 523, 530, 538})
"""Replies to a log-in or a sender that encryption may change (RFC 4954, RFC 3207); 535 is a wrong password."""


class NoEncryption(smtplib.SMTPException):
    """The server offers no encryption, so nothing was told to it."""


class WantsEncryption(smtplib.SMTPException):
    """The server refused something in plain that it takes after STARTTLS, which it offers."""

    def __init__(self, said: str) -> None:
        """Keep what it said, in one line."""
        super().__init__(said)
        self.said = said


@dataclass(frozen=True)
class Server:
    """An SMTP server and how to speak to it.

    Attributes:
        host: Its name or address.
        port: Its port.
        security: `ssl` (TLS from the start), `starttls`, or `plain`, which is for this machine alone.
        username: Who logs in, or None for nobody.
        password: With what.
        context: Which certificates are trusted; None is those of the system.
    """

    host: str
    port: int
    security: str
    username: str | None = None
    password: Secret | None = None
    context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        """Refuse what would show a password or a message to the network.

        Raises:
            ValueError: `plain` to another machine.
        """
        if self.security == "plain" and not is_loopback(self.host):
            raise ValueError(f"security: plain would show the messages to the network on the way to {self.host}")


def transmit(
    server: Server, sender: str, recipients: Sequence[str], data: bytes, *, timeout_s: float
) -> Mapping[str, tuple[int, bytes]]:
    """Send a message and return the recipients that were refused, with the reasons; at least one was not.

    Raises:
        smtplib.SMTPException: The server refused it, or broke the conversation off.
        OSError: There was no conversation, or no secure one.
    """
    context = server.context or ssl.create_default_context()
    session = _Session(server, context, time.monotonic() + timeout_s)
    with _closing(session):
        code, said = session.connect(server.host, server.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        session.ehlo_or_helo_if_needed()
        if server.security == "starttls":
            _encrypt(session, context)
        with _naming_encryption(session, server):
            if server.username and server.password:
                session.login(server.username, server.password.reveal())
            return session.sendmail(sender, list(recipients), data)


def _encrypt(session: _Session, context: ssl.SSLContext) -> None:
    # An attacker in between can take the offer out of the server's answer: no offer, no password.
    if not session.has_extn("starttls"):
        raise NoEncryption
    code, said = session.starttls(context=context)
    if code != 220:
        raise smtplib.SMTPResponseException(code, said)
    session.ehlo_or_helo_if_needed()


@contextlib.contextmanager
def _naming_encryption(session: _Session, server: Server) -> Iterator[None]:
    """Raise `WantsEncryption` where a server that offers STARTTLS refuses a log-in or a sender without it.

    Many list AUTH among what they offer only once the connection is encrypted.
    """
    if server.security != "plain" or not session.has_extn("starttls"):
        yield
        return
    try:
        yield
    except smtplib.SMTPNotSupportedError as error:
        raise WantsEncryption(clean(str(error))) from error
    except smtplib.SMTPResponseException as error:
        if error.smtp_code not in _NOT_IN_PLAIN:
            raise
        said = error.smtp_error
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        raise WantsEncryption(clean(f"{error.smtp_code} {words}")) from error


class _Session(smtplib.SMTP):
    """A conversation that is over at a deadline, however slowly the server speaks."""

    def __init__(self, server: Server, context: ssl.SSLContext, deadline: float) -> None:
        # A name of our own: the default asks the name server who we are, which can take long and tells more.
        super().__init__(local_hostname="[127.0.0.1]", timeout=max(0.001, deadline - time.monotonic()))
        self._host = server.host  # what STARTTLS checks the certificate against
        self._tls_from_start = context if server.security == "ssl" else None
        self._deadline = deadline

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002 - the library's signature
        connection = connect((host, port), self._deadline)
        if self._tls_from_start is None:
            return connection
        try:
            return self._tls_from_start.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self._left())
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            raw = self.sock.makefile("rb", buffering=0)
            self.file = io.BufferedReader(BoundedReader(raw, self.sock, self._deadline))
        try:
            return super().getreply()
        except smtplib.SMTPServerDisconnected:
            self._left()  # what ended it was the deadline
            raise

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            self.close()
            raise TimeoutError
        return left


@contextlib.contextmanager
def _closing(session: _Session) -> Iterator[None]:
    """Say good-bye where all went well; a server that does not answer that has taken the message all the same."""
    try:
        yield
        with contextlib.suppress(smtplib.SMTPException, OSError):
            session.quit()
    finally:
        session.close()
