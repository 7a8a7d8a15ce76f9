"""Mail servers on loopback: a real one, with TLS and log-ins, and one that says what it is told to say."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import TYPE_CHECKING, Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

USER, PASSWORD = "someone@example.com", "app-password-0123456789"


@dataclass
class Rules:
    """What the server takes.

    Attributes:
        recipients: Replies to recipients that it refuses.
        sender: Its reply to every sender, or None.
        data: Its reply to every message, or None.
    """

    recipients: dict[str, str] = field(default_factory=dict)
    sender: str | None = None
    data: str | None = None


class MailServer:
    """A mail server; what it took is in `mails`, with the recipients in `recipients`."""

    def __init__(self, trusted: ssl.SSLContext | None, *, tls: str = "starttls", rules: Rules | None = None) -> None:
        """Take its certificate, how it speaks (`ssl`, `starttls` or `plain`), and its rules."""
        self._certificate, self._tls, self.rules = trusted, tls, rules or Rules()
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.sizes: list[int] = []
        self.log_ins: list[str] = []

    def __enter__(self) -> Self:
        """Listen."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and end what is still open."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        wrapped = self._certificate if self._tls == "ssl" else None
        return await self._loop.create_server(self._conversation, "127.0.0.1", 0, ssl=wrapped)

    async def _stop(self) -> None:
        self._server.close()
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _conversation(self) -> SMTP:
        starttls = self._tls == "starttls"
        return SMTP(
            self,
            hostname="mail.example.com",
            loop=self._loop,
            tls_context=self._certificate if starttls else None,
            require_starttls=starttls,
            authenticator=self._authenticate,
            auth_require_tls=starttls,  # from the start it is there already
            timeout=10,
        )

    def _authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        if right:
            self.log_ins.append(data.login.decode())
        # handled: the server itself says no; otherwise a wrong password hangs.
        return AuthResult(success=right, handled=False)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Judge a sender."""
        if self.rules.sender is not None:
            return self.rules.sender
        if self._tls != "plain" and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Judge a recipient."""
        refused = self.rules.recipients.get(address)
        if refused is None:
            envelope.rcpt_tos.append(address)
        return refused or "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        """Take a message."""
        if self.rules.data is not None:
            return self.rules.data
        content = cast("bytes", envelope.content)
        self.sizes.append(len(content))
        self.mails.append(message_from_bytes(content, policy=default))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"


class Scripted:
    """A server that treats every connection as it is told."""

    def __init__(self, treat: Callable[[socket.socket], object]) -> None:
        """Take what is done with a connection; it is closed afterwards."""
        self._treat = treat
        self.connections = 0

    def __enter__(self) -> Self:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(5)
                try:
                    self._treat(connection)
                except OSError:
                    continue  # the client went away


def saying(*replies: bytes) -> Callable[[socket.socket], object]:
    """Return what says its first reply at once and each further one after a command, then closes."""

    def treat(connection: socket.socket) -> None:
        for place, reply in enumerate(replies):
            if place and not connection.recv(4096):
                return
            connection.sendall(reply)

    return treat


def silent(connection: socket.socket) -> None:
    """Say nothing until the client has gone."""
    while connection.recv(4096):
        pass
