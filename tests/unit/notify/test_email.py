"""E-mail, against a real mail server with TLS and log-ins."""

from __future__ import annotations

import smtplib
import socket
import ssl
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest

from parallel_ml.notify.channel import Fate
from parallel_ml.notify.channels.email import EmailNotifier
from parallel_ml.notify.channels.email_presets import PRESETS
from parallel_ml.notify.channels.smtp_replies import explain
from parallel_ml.notify.channels.smtp_session import NoEncryption, Server
from parallel_ml.notify.message import Excerpt, Facts, Level, Message
from parallel_ml.notify.secret import Secret
from tests.unit.notify.mail_server import PASSWORD, USER, MailServer, Rules, Scripted, saying, silent
from tests.unit.notify.messages import hostile, huge, own

TO = ["ann@example.com", "bob@example.com"]


def channel(server: MailServer | Scripted, trusting: ssl.SSLContext, **settings: Any) -> EmailNotifier:
    """Return a channel to a server on loopback."""
    account: dict[str, Any] = {"password": PASSWORD, "security": "starttls", "context": trusting, "timeout_s": 5.0}
    return EmailNotifier(USER, TO, smtp_server="127.0.0.1", smtp_port=server.port, **{**account, **settings})


def part(mail: EmailMessage, kind: str) -> str:
    """Return a mail's text of a kind."""
    body = mail.get_body((kind,))
    assert body is not None
    text = body.get_content()
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("security", ["starttls", "ssl"])
def test_a_mail_arrives_by_an_encrypted_and_logged_in_way(
    security: str, certificate: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Both ways of encryption, at all recipients, from the account."""
    with MailServer(certificate, tls=security) as server:
        reply = channel(server, trusting, security=security).deliver(own())
    assert (reply.fate, reply.text) == (Fate.SENT, "2 recipients")
    assert server.recipients == [TO]
    assert server.log_ins == [USER]


def test_a_mail_is_text_and_html_with_the_headers_that_mail_programs_want(
    certificate: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Chinese in subject and text comes out as it went in."""
    message = replace(own("训练完成 🎉", "准确率 97 %", Level.CRITICAL), run="2026-run")
    with MailServer(certificate) as server:
        assert channel(server, trusting).deliver(message).fate is Fate.SENT
    [mail] = server.mails
    assert mail["Subject"] == "训练完成 🎉"
    assert mail["From"] == f"parallel_ml <{USER}>"
    assert mail["To"] == ", ".join(TO)
    assert mail["Date"].datetime.timestamp() == message.created
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Importance"] == "high"
    assert "准确率 97 %" in part(mail, "plain")
    assert "准确率 97 %" in part(mail, "html")


def test_a_mail_that_is_sent_again_is_the_same_one(certificate: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """Its Message-ID is the same; that of another message is not; those of a run belong together."""
    first, second = replace(own(), run="r1"), replace(own(), id="own-2", run="r1")
    with MailServer(certificate) as server:
        for message in (first, first, second):
            channel(server, trusting).deliver(message)
    ids = [mail["Message-ID"] for mail in server.mails]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].endswith("@example.com>")
    assert len({mail["References"] for mail in server.mails}) == 1


def test_a_name_of_a_job_adds_no_header(certificate: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """Line breaks in a title are none in the mail."""
    with MailServer(certificate) as server:
        channel(server, trusting).deliver(own("a\r\nBcc: eve@example.com\r\n\r\n<b>body</b>"))
    [mail] = server.mails
    assert mail["Bcc"] is None
    assert server.recipients == [TO]
    assert mail["Subject"].startswith("a  Bcc") or mail["Subject"].startswith("a Bcc")


def test_whatever_a_job_prints_can_be_sent(certificate: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """Halves of surrogate pairs, escape sequences and markup do no harm."""
    with MailServer(certificate) as server:
        assert channel(server, trusting).deliver(hostile()).fate is Fate.SENT
    assert "<at id=all>" not in part(server.mails[0], "html")


def test_a_huge_message_is_cut(certificate: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """No server has to refuse it for its size."""
    with MailServer(certificate) as server:
        notifier = channel(server, trusting)
        assert notifier.deliver(huge()).fate is Fate.SENT
    assert notifier.limits.max_bytes is not None
    assert sum(len(part(server.mails[0], kind).encode()) for kind in ("plain", "html")) <= notifier.limits.max_bytes
    assert len(server.mails[0]["Subject"]) <= 200


def test_a_wrong_password_disables_the_channel(certificate: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """With what the server said, and what to do; the password itself is not in it."""
    with MailServer(certificate) as server:
        reply = channel(server, trusting, password="wrong-password-77").deliver(own())  # noqa: S106
    assert reply.fate is Fate.DISABLED
    assert "535" in reply.text
    assert "app password" in reply.text
    assert "wrong-password-77" not in reply.text


def test_a_recipient_that_is_refused_is_told(certificate: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """The others got the mail, so it counts as sent."""
    rules = Rules(recipients={TO[0]: "550 5.1.1 no such user here"})
    with MailServer(certificate, rules=rules) as server:
        reply = channel(server, trusting).deliver(own())
    assert reply.fate is Fate.SENT
    assert reply.text == "1 of 2 recipients; refused: ann@example.com: 550 5.1.1 no such user here"
    assert server.recipients == [TO[1:]]


@pytest.mark.parametrize(
    ("rules", "fate", "told"),
    [
        (Rules(recipients=dict.fromkeys(TO, "550 no such user")), Fate.FAILED, "check to_emails"),
        (Rules(recipients=dict.fromkeys(TO, "450 mailbox is busy")), Fate.RETRY, "450 mailbox is busy"),
        (Rules(recipients=dict.fromkeys(TO, "421 going down")), Fate.RETRY, "421"),
        (Rules(recipients=dict.fromkeys(TO, "530 authentication required")), Fate.DISABLED, "username and password"),
        (Rules(sender="553 Mail from must equal authorized user"), Fate.DISABLED, "from_email must be the address"),
        (Rules(sender="451 try again"), Fate.RETRY, "451 try again"),
        (Rules(sender="552 too large"), Fate.FAILED, "too large"),
        (Rules(data="554 DT:SPM"), Fate.FAILED, "554 DT:SPM"),
        (Rules(data="452 out of storage"), Fate.RETRY, "452 out of storage"),
        (Rules(data="550 5.4.5 Daily user sending limit exceeded"), Fate.RETRY, "5.4.5"),
    ],
)
def test_what_a_server_refuses_is_explained(
    rules: Rules, fate: Fate, told: str, certificate: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """A sentence with the code, and whether it may help to try again."""
    with MailServer(certificate, rules=rules) as server:
        reply = channel(server, trusting).deliver(own())
    assert (reply.fate, told in reply.text) == (fate, True), reply
    assert not server.mails


def test_a_server_without_encryption_is_told_nothing(trusting: ssl.SSLContext) -> None:
    """No log-in, no message: the offer may have been taken out on the way."""
    with MailServer(None, tls="plain") as server:
        reply = channel(server, trusting).deliver(own())
    assert reply.fate is Fate.DISABLED
    assert "offers no encryption" in reply.text
    assert not server.log_ins
    assert not server.mails


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(certificate: ssl.SSLContext) -> None:
    """With either way of encryption nothing is sent."""
    for security in ("starttls", "ssl"):
        with MailServer(certificate, tls=security) as server:
            reply = channel(server, ssl.create_default_context(), security=security).deliver(own())
        assert reply.fate is Fate.RETRY
        assert "certificate is not accepted" in reply.text
        assert not server.mails


def test_a_certificate_for_another_host_is_not_accepted(trusting: ssl.SSLContext, authority: Any) -> None:
    """The name is looked at, after STARTTLS too."""
    foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mail.example.org").configure_cert(foreign)
    for security in ("starttls", "ssl"):
        with MailServer(foreign, tls=security) as server:
            reply = channel(server, trusting, security=security).deliver(own())
        assert "certificate is not accepted" in reply.text
        assert not server.mails


def test_a_relay_on_this_machine_needs_neither_encryption_nor_log_in() -> None:
    """It is what `sendmail` on a server is."""
    with MailServer(None, tls="plain") as server:
        notifier = EmailNotifier(USER, TO, smtp_server="127.0.0.1", smtp_port=server.port)
        assert notifier.deliver(own()).fate is Fate.SENT


@pytest.mark.parametrize("password", [PASSWORD, None])
def test_a_server_of_this_machine_that_wants_starttls_is_told_so(
    password: str | None, certificate: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """To localhost nothing is encrypted unless the settings say so; the hint names the setting, and it helps."""
    with MailServer(certificate) as server:
        reply = channel(server, trusting, security=None, password=password).deliver(own())
        helped = channel(server, trusting, security="starttls").deliver(own())
    assert reply.fate is Fate.DISABLED
    assert "security: starttls" in reply.text
    assert server.log_ins == [USER]
    assert helped.fate is Fate.SENT


def test_a_wrong_recipient_is_not_taken_for_missing_encryption() -> None:
    """A server that offers STARTTLS and takes plain text says what it means itself."""
    replies = (b"220 hi\r\n", b"250-hi\r\n250 STARTTLS\r\n", b"250 ok\r\n", b"550 nobody\r\n", b"550 nobody\r\n")
    with Scripted(saying(*replies, b"250 ok\r\n", b"221 bye\r\n")) as server:
        mail = EmailNotifier(USER, TO, smtp_server="127.0.0.1", smtp_port=server.port, security="plain")
        assert "refused every recipient" in mail.deliver(own()).text


def test_plain_text_to_another_machine_is_refused() -> None:
    """Whatever the settings say."""
    with pytest.raises(ValueError, match="show the messages to the network"):
        EmailNotifier(USER, TO, smtp_server="smtp.example.com", smtp_port=25, security="plain")


@pytest.mark.parametrize("port", [25, 587, 2525])
def test_any_other_port_of_another_machine_means_starttls(port: int) -> None:
    """Encryption is what happens if nothing is said."""
    assert f"smtp.example.com:{port} (starttls)" in EmailNotifier(
        USER, TO, smtp_server="smtp.example.com", smtp_port=port
    ).preview(own())


@pytest.mark.parametrize(
    ("treat", "fate", "told"),
    [
        (saying(b"421 mail.example.com too many connections\r\n"), Fate.RETRY, "421"),
        (saying(b"554 no mail from your address\r\n"), Fate.RETRY, "554"),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>"), Fate.RETRY, "not answer as a mail server does"),
        (saying(b"220 hello\r\n", b"250 hello\r\n", b""), Fate.DISABLED, "offers no encryption"),
        (saying(b"220 hello\r\n"), Fate.RETRY, "broke the conversation off"),
        (saying(b"x" * 100_000), Fate.RETRY, ""),
        (saying(b"220 \xff\xfe\r\n", b"250-\xff\r\n250 STARTTLS\r\n", b"454 not now\r\n"), Fate.RETRY, "454"),
    ],
)
def test_a_server_that_is_none_or_none_now_is_explained(
    treat: Any, fate: Fate, told: str, trusting: ssl.SSLContext
) -> None:
    """Nothing of it raises."""
    with Scripted(treat) as server:
        reply = channel(server, trusting).deliver(own())
    assert (reply.fate, told in reply.text) == (fate, True), reply


def test_a_server_that_says_nothing_is_given_up(trusting: ssl.SSLContext) -> None:
    """With either way of encryption, in the time that there is."""
    for security in ("starttls", "ssl"):
        with Scripted(silent) as server:
            reply = channel(server, trusting, security=security, timeout_s=0.1).deliver(own())
        assert reply.fate is Fate.RETRY
        assert "did not answer in time" in reply.text


def test_a_server_that_dribbles_is_given_up(trusting: ssl.SSLContext) -> None:
    """The time is for all of the conversation, not for each byte."""

    def dribble(connection: socket.socket) -> None:
        connection.settimeout(0.02)
        for _ in range(500):
            connection.sendall(b"2")
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    with Scripted(dribble) as server:
        reply = channel(server, trusting, timeout_s=0.2).deliver(own())
        assert (reply.fate, "did not answer in time" in reply.text) == (Fate.RETRY, True)


def test_tls_to_a_port_that_begins_without_is_explained(certificate: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """The usual mix-up of 465 and 587."""
    with MailServer(certificate) as server:
        reply = channel(server, trusting, security="ssl").deliver(own())
    assert reply.fate is Fate.DISABLED
    assert "security: starttls" in reply.text


def test_a_server_that_repeats_the_password_does_not_give_it_away(trusting: ssl.SSLContext) -> None:
    """Neither as it is nor in base64."""
    explained = explain(
        smtplib.SMTPAuthenticationError(535, f"bad {PASSWORD}".encode()), Server("smtp.gmail.com", 587, "starttls")
    )
    assert "app password" in explained.text
    notifier = EmailNotifier(USER, TO, smtp_server="127.0.0.1", smtp_port=25, password=PASSWORD, context=trusting)
    assert PASSWORD not in notifier._masked(explained.text)


def test_a_password_that_smtp_cannot_say_disables_the_channel() -> None:
    """Before anything is sent."""
    notifier = EmailNotifier("a@example.com", TO, smtp_server="127.0.0.1", smtp_port=1, password="密码")  # noqa: S106
    assert notifier.deliver(own()).fate is Fate.DISABLED


@pytest.mark.parametrize("service", PRESETS)
def test_the_server_of_a_known_service_need_not_be_written(service: str) -> None:
    """It follows from the address, or from `provider` for an address of one's own domain."""
    preset = PRESETS[service]
    by_address = [EmailNotifier(f"a@{domain}", TO) for domain in preset.domains]
    for notifier in [*by_address, EmailNotifier("a@own.example", TO, provider=service)]:
        assert notifier.preview(own()).startswith(f"{preset.server}:{preset.port} (")


def test_the_server_of_an_unknown_service_must_be_written() -> None:
    """The error says which key is missing."""
    with pytest.raises(ValueError, match="set smtp_server"):
        EmailNotifier("a@example.com", TO)


@pytest.mark.parametrize("address", ["", "nobody", "a@b\nBcc: c@d", "A <a@b.c>", "a b@c.d", "ä@b.c", "a@b,c@d"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """As sender and as recipient."""
    with pytest.raises(ValueError, match="address"):
        EmailNotifier(address, TO, smtp_server="127.0.0.1")
    with pytest.raises(ValueError, match="address"):
        EmailNotifier(USER, [address], smtp_server="127.0.0.1")


def test_a_preview_shows_the_mail_and_no_password() -> None:
    """Headers and text, for people."""
    notifier = EmailNotifier("a@gmail.com", TO, password=Secret(PASSWORD))
    message = Message(
        "m1", own().kind, Level.INFO, "done", (Facts((("key", PASSWORD),)), Excerpt("Last lines", ("x",)))
    )
    told = notifier.preview(message)
    assert "Subject: done" in told
    assert PASSWORD not in told


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (smtplib.SMTPAuthenticationError(534, b"5.7.9 Application-specific password required"), Fate.DISABLED),
        (smtplib.SMTPAuthenticationError(454, b"temporary failure"), Fate.RETRY),
        (smtplib.SMTPNotSupportedError("AUTH"), Fate.DISABLED),
        (smtplib.SMTPServerDisconnected("gone"), Fate.RETRY),
        (smtplib.SMTPHeloError(501, b"bad name"), Fate.FAILED),
        (smtplib.SMTPConnectError(421, b"busy"), Fate.RETRY),
        (smtplib.SMTPException("other"), Fate.RETRY),
        (NoEncryption(), Fate.DISABLED),
        (socket.gaierror(-2, "unknown"), Fate.RETRY),
        (ConnectionRefusedError(111, "Connection refused"), Fate.RETRY),
        (TimeoutError(), Fate.RETRY),
        (ssl.SSLError(1, "odd"), Fate.RETRY),
        (UnicodeError("odd"), Fate.RETRY),
    ],
)
def test_every_error_has_a_meaning(error: Exception, fate: Fate) -> None:
    """In a sentence that names the server."""
    reply = explain(error, Server("smtp.qq.com", 465, "ssl", USER, Secret(PASSWORD)))
    assert (reply.fate, "smtp.qq.com" in reply.text) == (fate, True)
