"""The generic webhook, against a receiver that verifies signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parallel_ml.errors import UsageError
from parallel_ml.notify.channel import Fate
from parallel_ml.notify.channels.webhook import WebhookNotifier
from parallel_ml.notify.secret import Secret
from tests.unit.notify.messages import hostile, huge, own
from tests.unit.notify.robots import Answer, Asked, Clock, Server

if TYPE_CHECKING:
    from parallel_ml.notify.message import Message

SECRET = "hook-secret-0123456789"  # noqa: S105 - of no account


class Receiver(Server):
    """A receiver of Standard Webhooks that takes nothing older than five minutes."""

    key = SECRET.encode()

    def answer(self, asked: Asked) -> Answer:
        """Judge a message."""
        stamp = asked.headers.get("webhook-timestamp", "")
        told = f"{asked.headers.get('webhook-id')}.{stamp}.".encode() + asked.body
        signature = base64.b64encode(hmac.digest(self.key, told, hashlib.sha256)).decode()
        if asked.headers.get("webhook-signature") != f"v1,{signature}" or abs(int(stamp) - self.clock()) > 300:
            return 401, {"error": "bad signature"}
        self.taken.append(asked.json())
        return 202, b""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver."""
    with Receiver() as server:
        yield server


def test_a_signed_message_arrives_as_json(receiver: Receiver) -> None:
    """With the facts for programs, and what JSON has no number for as null."""
    message = replace(own(), run="r1", job="mnist", data={"loss": float("nan"), "epochs": (1, 2), "best": {"a": 0.5}})
    reply = WebhookNotifier(receiver.url, secret=SECRET, clock=receiver.clock).deliver(message)
    assert (reply.fate, reply.text) == (Fate.SENT, "HTTP 202")
    assert receiver.taken == [
        {
            "id": "own-1",
            "kind": "own",
            "level": "info",
            "title": "Backup",
            "text": "The data set is copied.",
            "created": 1_700_000_000.0,
            "run": "r1",
            "job": "mnist",
            "data": {"loss": None, "epochs": [1, 2], "best": {"a": 0.5}},
        }
    ]


def test_a_message_that_is_sent_again_has_the_same_id(receiver: Receiver) -> None:
    """So that the receiver can drop the second one; the time is that of the sending."""
    channel = WebhookNotifier(receiver.url, secret=SECRET, clock=receiver.clock)
    for _ in range(2):
        channel.deliver(own())
        receiver.clock.forward(3600)
    assert [asked.headers["webhook-id"] for asked in receiver.asked] == ["own-1", "own-1"]
    assert len(receiver.taken) == 2


def test_a_secret_of_the_standard_is_base64() -> None:
    """As the receivers' libraries make it: `whsec_` and the key."""
    with Receiver() as receiver:
        receiver.key = bytes(range(32))
        secret = f"whsec_{base64.b64encode(receiver.key).decode()}"
        assert WebhookNotifier(receiver.url, secret=secret, clock=receiver.clock).deliver(own()).fate is Fate.SENT
    with pytest.raises(ValueError, match="no base64"):
        WebhookNotifier("https://h.example/", secret="whsec_***")  # noqa: S106


def test_a_wrong_secret_disables_the_channel(receiver: Receiver) -> None:
    """The user has to mend it."""
    reply = WebhookNotifier(receiver.url, secret="other", clock=receiver.clock).deliver(own())  # noqa: S106
    assert (reply.fate, reply.text) == (
        Fate.DISABLED,
        "HTTP 401: the receiver wants another authorisation; check `secret` and `headers`",
    )


def test_own_headers_are_sent_and_masked(receiver: Receiver) -> None:
    """A bearer token, say."""
    channel = WebhookNotifier(receiver.url, headers={"Authorization": Secret("Bearer abc-123")})
    channel.deliver(own())
    assert receiver.asked[0].headers["authorization"] == "Bearer abc-123"
    assert "webhook-signature" not in receiver.asked[0].headers
    assert "abc-123" not in channel.preview(own())
    assert "authorization: ***" in channel.preview(own()).lower()


@pytest.mark.parametrize("headers", [{"A b": "x"}, {"A": "x\r\nB: y"}, {"": "x"}, {"A": "ä"}])
def test_a_header_that_would_begin_another_one_is_refused(headers: dict[str, str]) -> None:
    """No request is split."""
    with pytest.raises(ValueError, match="cannot be sent"):
        WebhookNotifier("https://h.example/", headers=headers)


@pytest.mark.parametrize("message", [huge(), hostile(), replace(own(), id="a\r\nX: y", data={"log": "x" * 10**6})])
def test_whatever_a_job_prints_arrives(receiver: Receiver, message: Message) -> None:
    """Signed, and of a bounded size."""
    channel = WebhookNotifier(receiver.url, secret=SECRET, clock=receiver.clock)
    assert channel.deliver(message).fate is Fate.SENT
    assert len(receiver.asked[0].body) < 2 * (channel.limits.max_bytes or 0)


def test_data_that_is_no_json_fails_the_message_alone() -> None:
    """It never will be."""
    message = replace(own(), data={"model": object()})
    assert WebhookNotifier("http://127.0.0.1:1/").deliver(message).fate is Fate.FAILED


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (200, Fate.SENT),
        (204, Fate.SENT),
        (302, Fate.DISABLED),
        (400, Fate.FAILED),
        (404, Fate.DISABLED),
        (408, Fate.RETRY),
        (410, Fate.DISABLED),
        (413, Fate.FAILED),
        (429, Fate.RETRY),
        (500, Fate.RETRY),
    ],
)
def test_every_status_has_a_meaning(receiver: Receiver, status: int, fate: Fate) -> None:
    """Any 2xx is success."""
    receiver.instead.append((status, b"" if status == 204 else b"x"))
    assert WebhookNotifier(receiver.url).deliver(own()).fate is fate


@pytest.mark.parametrize("url", ["", "http://example.com/hook", "ftp://h.example", "https://u:p@h.example/"])
def test_an_address_that_would_show_a_token_is_refused(url: str) -> None:
    """Plain http is for this machine alone."""
    with pytest.raises(UsageError, match="url"):
        WebhookNotifier(url)


def test_a_preview_is_what_is_sent(receiver: Receiver) -> None:
    """The body, readable."""
    channel = WebhookNotifier(f"{receiver.url}/T0K3N", secret=SECRET, clock=Clock())
    head, _, body = channel.preview(own()).partition("\n\n")
    assert head.startswith(f"POST {receiver.url}/***\n")
    assert "webhook-signature: ***" in head
    assert json.loads(body)["title"] == "Backup"
    assert "T0K3N" not in head
