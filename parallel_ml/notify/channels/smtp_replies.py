"""What went wrong between us and an SMTP server, in a sentence, and what to do about it."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping

from parallel_ml.notify.channel import Fate, Reply
from parallel_ml.notify.channels.email_presets import password_hint
from parallel_ml.notify.channels.smtp_session import SSL_PORT, NoEncryption, Server, WantsEncryption
from parallel_ml.notify.escape import clean

_LONGEST = 200
_HOUR_S = 3600.0
_TOO_MUCH = re.compile(r"frequen|too many|quota|rate.?limit|limit exceeded|5\.4\.5", re.IGNORECASE)


def explain(error: Exception, server: Server) -> Reply:
    """Return what an error of `transmit` means; what the server said is in it, cut and cleaned, not masked."""
    place = f"{server.host}:{server.port}"
    for kind, told in _KINDS:
        if isinstance(error, kind):
            return told(error, server, place)
    return Reply(Fate.RETRY, f"{place} broke the conversation off ({type(error).__name__})")


def refusals(refused: Mapping[str, tuple[int, bytes]]) -> str:
    """Return which recipients were refused, and why."""
    return "; ".join(f"{address}: {said(code, text)}" for address, (code, text) in refused.items())


def said(code: int, text: bytes | str) -> str:
    """Return a server's reply in one line."""
    words = clean(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)
    return f"{code} {words}"[:_LONGEST].rstrip() if code > 0 else words[:_LONGEST]


def _login(error: smtplib.SMTPAuthenticationError, server: Server, place: str) -> Reply:
    words = said(error.smtp_code, error.smtp_error)
    if 400 <= error.smtp_code < 500:
        return Reply(Fate.RETRY, f"{place} cannot check the log-in now ({words})")
    return Reply(Fate.DISABLED, f"{place} refused the log-in ({words}); {password_hint(server.host)}")


def _recipients(error: smtplib.SMTPRecipientsRefused, _server: Server, place: str) -> Reply:
    words = refusals(error.recipients)
    codes = [code for code, _ in error.recipients.values()]
    if any(code < 500 for code in codes) or _TOO_MUCH.search(words):
        return Reply(Fate.RETRY, f"{place} takes no mail for the recipients now ({words})")
    if 530 in codes:
        return Reply(Fate.DISABLED, f"{place} wants a log-in ({words}); set username and password")
    return Reply(Fate.FAILED, f"{place} refused every recipient ({words}); check to_emails")


def _sender(error: smtplib.SMTPSenderRefused, _server: Server, place: str) -> Reply:
    words = said(error.smtp_code, error.smtp_error)
    if error.smtp_code < 500 or _TOO_MUCH.search(words):
        return _later(f"{place} takes no mail from {error.sender} now ({words})", error.smtp_code)
    if error.smtp_code == 552:
        return Reply(Fate.FAILED, f"{place} finds the message too large ({words})")
    if error.smtp_code == 530:
        return Reply(Fate.DISABLED, f"{place} wants a log-in ({words}); set username and password")
    hint = "from_email must be the address of the account that logs in"
    return Reply(Fate.DISABLED, f"{place} refused the sender {error.sender} ({words}); {hint}")


def _response(error: smtplib.SMTPResponseException, _server: Server, place: str) -> Reply:
    words = said(error.smtp_code, error.smtp_error)
    if error.smtp_code <= 0 or words.startswith("500 Line too long"):
        return Reply(Fate.RETRY, f"{place} does not answer as a mail server does; check smtp_server and smtp_port")
    if error.smtp_code == 421:
        return Reply(Fate.RETRY, f"{place} is closing down or has enough of us for now ({words})")
    if isinstance(error, smtplib.SMTPConnectError) or error.smtp_code < 500 or _TOO_MUCH.search(words):
        return _later(f"{place} takes no mail from us now ({words})", error.smtp_code)
    return Reply(Fate.FAILED, f"{place} refused the message ({words}), perhaps as spam")


def _later(text: str, code: int) -> Reply:
    return Reply(Fate.RETRY, text, retry_after_s=_HOUR_S if code >= 500 else None)


def _no_encryption(_error: Exception, _server: Server, place: str) -> Reply:
    hint = f"use port {SSL_PORT} (TLS from the start) or another server"
    return Reply(Fate.DISABLED, f"{place} offers no encryption, so nothing was sent to it; {hint}")


def _wants_encryption(error: WantsEncryption, _server: Server, place: str) -> Reply:
    hint = "set security: starttls (without it, this machine is spoken to in plain)"
    return Reply(Fate.DISABLED, f"{place} wants an encrypted connection ({error.said[:_LONGEST]}); {hint}")


def _not_supported(_error: Exception, server: Server, place: str) -> Reply:
    hint = "leave username and password out" if server.username else "check smtp_server and smtp_port"
    return Reply(Fate.DISABLED, f"{place} knows no log-in that we know; {hint}")


def _disconnected(_error: Exception, server: Server, place: str) -> Reply:
    hint = f"; port {SSL_PORT} needs security: ssl" if server.port == SSL_PORT and server.security != "ssl" else ""
    return Reply(Fate.RETRY, f"{place} broke the conversation off{hint}")


def _certificate(error: ssl.SSLCertVerificationError, _server: Server, place: str) -> Reply:
    # It may pass: a log-in page of the network, a clock that is still wrong.
    return Reply(Fate.RETRY, f"{place}: its certificate is not accepted ({error.verify_message})")


def _tls(error: ssl.SSLError, server: Server, place: str) -> Reply:
    reason = getattr(error, "reason", None) or "TLS failed"
    if reason == "WRONG_VERSION_NUMBER" and server.security == "ssl":
        hint = "security: starttls is what port 587 wants"
        return Reply(Fate.DISABLED, f"{place} does not begin with TLS; {hint}")
    return Reply(Fate.RETRY, f"{place}: no secure connection ({reason})")


def _too_slow(_error: Exception, _server: Server, place: str) -> Reply:
    return Reply(Fate.RETRY, f"{place} did not answer in time")


def _unknown_host(_error: Exception, server: Server, _place: str) -> Reply:
    return Reply(Fate.RETRY, f"{server.host} cannot be found: there is no network, or smtp_server is misspelt")


def _network(error: OSError, _server: Server, place: str) -> Reply:
    return Reply(Fate.RETRY, f"{place} cannot be reached ({error.strerror or type(error).__name__})")


# The first that fits: special ones before the general ones they derive from.
_KINDS: tuple[tuple[type[Exception], Callable[..., Reply]], ...] = (
    (smtplib.SMTPAuthenticationError, _login),
    (smtplib.SMTPRecipientsRefused, _recipients),
    (smtplib.SMTPSenderRefused, _sender),
    (smtplib.SMTPResponseException, _response),
    (NoEncryption, _no_encryption),
    (WantsEncryption, _wants_encryption),
    (smtplib.SMTPNotSupportedError, _not_supported),
    (smtplib.SMTPServerDisconnected, _disconnected),
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _tls),
    (TimeoutError, _too_slow),
    (socket.gaierror, _unknown_host),
    (OSError, _network),
)
