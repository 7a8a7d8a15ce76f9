"""E-mail by SMTP: plain text and HTML in one message, over an encrypted connection."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Sequence
from datetime import datetime, timezone
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from parallel_ml.notify import render
from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply, endpoint_of
from parallel_ml.notify.channels.email_presets import PRESETS, preset_of
from parallel_ml.notify.channels.smtp_replies import explain, refusals
from parallel_ml.notify.channels.smtp_session import SSL_PORT, Server, transmit
from parallel_ml.notify.escape import clean
from parallel_ml.notify.http import TIMEOUT_S, is_loopback
from parallel_ml.notify.message import Level, Message
from parallel_ml.notify.secret import Secret, mask

SECURITIES = ("starttls", "ssl", "plain")
SUBMISSION_PORT = 587
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_LONGEST_SUBJECT = 200


class EmailNotifier(BaseChannel):
    """Sends each message to all recipients at once.

    The `Message-ID` is made from the message's id: a message that is sent again is the same one to the reader's
    mail program. Messages of one run form a thread.
    """

    def __init__(  # noqa: PLR0913 - the settings of a mail account
        self,
        from_email: str,
        to_emails: Sequence[str],
        *,
        smtp_server: str | None = None,
        smtp_port: int | None = None,
        username: str | None = None,
        password: Secret | str | None = None,
        security: str | None = None,
        provider: str | None = None,
        from_name: str = "parallel_ml",
        name: str = "email",
        timeout_s: float = TIMEOUT_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Take the settings of a mail account.

        Args:
            from_email: The sender's address; `username` is the same unless it is given.
            to_emails: The recipients' addresses.
            smtp_server: The server; None is the one of `provider`, or of the address's domain where that is known.
            smtp_port: 587 or 465; None is what the server is known for, else 587.
            username: Who logs in.
            password: The password, or what the service wants in its place; None is for servers without a log-in.
            security: `starttls`, `ssl`, or `plain` (to this machine alone); None follows from the port.
            provider: A service of `email_presets.PRESETS`.
            from_name: What stands before the sender's address.
            name: The channel's name.
            timeout_s: The most a delivery takes.
            context: Which certificates are trusted; None is those of the system.

        Raises:
            ValueError: An address is none, no server is known, or the password would go over the network in plain.
        """
        wrong = next((address for address in (from_email, *to_emails) if not is_address(address)), None)
        if wrong is not None or not to_emails:
            raise ValueError("there are no recipients" if wrong is None else f"{wrong!r} is no e-mail address")
        preset = PRESETS[provider] if provider else preset_of(from_email)
        host = smtp_server or (preset.server if preset else None)
        if host is None:
            raise ValueError(f"the mail server of {from_email} is not known; set smtp_server")
        port = smtp_port or (preset.port if preset and host == preset.server else SUBMISSION_PORT)
        self.name = name
        self.limits = Limits(per_minute=20, max_bytes=200_000)
        self._from, self._to = Address(clean(from_name), addr_spec=from_email), tuple(dict.fromkeys(to_emails))
        self._timeout_s = timeout_s
        secret = Secret(password) if password else None
        self._server = Server(
            host, port, security or default_security(host, port), username or from_email, secret, context
        )
        self.endpoint = endpoint_of("email", host, username or from_email)

    def deliver(self, message: Message) -> Reply:
        """Send a message; see `Channel`."""
        try:
            mail = self._mail(message)
            data = mail.as_bytes()
        except (ValueError, LookupError) as error:
            return Reply(Fate.FAILED, f"the message cannot be written as an e-mail ({type(error).__name__})")
        if not _can_log_in(self._server):
            return Reply(Fate.DISABLED, "username or password holds a character that SMTP does not know (not ASCII)")
        try:
            refused = transmit(self._server, self._from.addr_spec, self._to, data, timeout_s=self._timeout_s)
        except Exception as error:  # noqa: BLE001 - a channel never raises, whatever a server makes of smtplib
            reply = explain(error, self._server)
            return Reply(reply.fate, self._masked(reply.text), reply.retry_after_s)
        if refused:
            told = f"{len(self._to) - len(refused)} of {len(self._to)} recipients; refused: {refusals(refused)}"
            return Reply(Fate.SENT, self._masked(told))
        return Reply(Fate.SENT, f"{len(self._to)} recipient{'s' if len(self._to) > 1 else ''}")

    def preview(self, message: Message) -> str:
        """Return the mail's headers and its plain text; see `Channel`."""
        mail = self._mail(message)
        told = "\n".join(f"{name}: {value}" for name, value in mail.items() if not name.startswith(("Content", "MIME")))
        text = mail.get_body(("plain",))
        body = text.get_content() if text is not None else ""
        server = self._server
        head = f"{server.host}:{server.port} ({server.security}), as {server.username}"
        return self._masked(f"{head}\n{told}\n\n{body}")

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = clean(message.title)[:_LONGEST_SUBJECT] or "parallel_ml"
        mail["From"] = self._from
        mail["To"] = [Address(addr_spec=address) for address in self._to]
        mail["Date"] = datetime.fromtimestamp(message.created, tz=timezone.utc).astimezone()
        mail["Message-ID"] = self._id("message", message.id)
        if message.run is not None:
            mail["References"] = self._id("run", message.run)
        mail["Auto-Submitted"] = "auto-generated"  # no "I am on holiday" comes back
        if message.level is Level.CRITICAL:
            mail["Importance"] = "high"
        # The title is the subject already; the HTML part, cut alike, has the same size to itself.
        half = (self.limits.max_bytes or 0) // 2
        mail.set_content(render.plain(message, half), cte="base64")
        mail.add_alternative(render.html(message, half), subtype="html", cte="base64")
        return mail

    def _id(self, of: str, text: str) -> str:
        digest = hashlib.sha256(f"{of}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"<{digest}.parallel-ml@{self._from.domain}>"

    def _masked(self, text: str) -> str:
        return mask(text, [self._server.password])


def is_address(text: str) -> bool:
    r"""Whether a text is one bare e-mail address in ASCII, such as a server takes.

    >>> is_address("a.b+c@mail.example.com"), is_address("a@b\nBcc: x@y"), is_address("A <a@b.c>")
    (True, False, False)
    """
    return _ADDRESS.fullmatch(text) is not None


def default_security(host: str, port: int) -> str:
    """Return how to speak to a server where the settings do not say it.

    >>> default_security("smtp.qq.com", 465), default_security("smtp.gmail.com", 587), default_security("localhost", 25)
    ('ssl', 'starttls', 'plain')
    """
    if port == SSL_PORT:
        return "ssl"
    return "plain" if is_loopback(host) and port != SUBMISSION_PORT else "starttls"


def _can_log_in(server: Server) -> bool:
    password = server.password.reveal() if server.password else ""
    return password.isascii() and (server.username or "").isascii()
