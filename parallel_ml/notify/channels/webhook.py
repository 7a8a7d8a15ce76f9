"""A program of the user's own: each message as JSON, signed as the Standard Webhooks have it.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from parallel_ml.notify import render
from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply, endpoint_of
from parallel_ml.notify.channels.answers import optional_secret, required_url, unreachable
from parallel_ml.notify.escape import clean
from parallel_ml.notify.http import HttpProblem, HttpReply, json_bytes, request
from parallel_ml.notify.message import Message
from parallel_ml.notify.secret import MASK, Secret, mask, shown_url

_ENCODED = "whsec_"
_GONE = {
    401: "wants another authorisation; check `secret` and `headers`",
    403: "does not let us in; check `secret` and `headers`",
    404: "has nothing at this address; check `url`",
    405: "takes no POST at this address; check `url`",
    410: "does not want any more messages at this address",
}
_LONGEST_TITLE = 500
_LATER = (408, 425, 429)


class WebhookNotifier(BaseChannel):
    """Posts `{"id", "kind", "level", "title", "text", "created", "run", "job", "data"}` to a URL; any 2xx is success.

    With a secret the request is signed: `webhook-id` (the message's id, the same when it is sent again),
    `webhook-timestamp` (seconds) and `webhook-signature`, which is `v1,` and the base64 of the HMAC-SHA256 over
    `id.timestamp.body`.
    """

    for_programs = True

    def __init__(
        self,
        url: str | Secret,
        *,
        secret: str | Secret | None = None,
        headers: Mapping[str, str | Secret] | None = None,
        name: str = "webhook",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the address.

        Args:
            url: Where to post to; https, or http on this machine.
            secret: What requests are signed with; after `whsec_` it is base64.
            headers: Further headers, such as `Authorization`; their values are taken for secrets.
            name: As the user knows the channel.
            clock: Seconds since the epoch.

        Raises:
            UsageError: There is no URL, or none that may be used.
            ValueError: A header cannot be sent, or the secret after `whsec_` is no base64.
        """
        self.name = name
        self.limits = Limits(max_bytes=64 * 1024)
        self._url, self._secret, self._clock = required_url(url, "url"), optional_secret(secret), clock
        self.endpoint = endpoint_of("webhook", self._url)
        if self._secret is not None:
            _key(self._secret)  # raises now rather than later
        self._headers = {header: Secret(value) for header, value in (headers or {}).items()}
        for header, value in self._headers.items():
            if not is_header(header, value.reveal()):
                raise ValueError(f"the header {header!r} cannot be sent: it must be ASCII text in one line")

    def deliver(self, message: Message) -> Reply:
        """Send a message; see `Channel`."""
        try:
            body = self._body(message)
            reply = request(self._url.reveal(), data=body, headers=self._signed(message.id, body))
        except HttpProblem as problem:
            return unreachable(problem)
        except (TypeError, ValueError, RecursionError) as error:
            return Reply(Fate.FAILED, f"the message cannot be written as JSON ({type(error).__name__})")
        return _meaning(reply)

    def preview(self, message: Message) -> str:
        """Return the request; see `Channel`."""
        body = self._body(message)
        hidden = {*self._headers, "webhook-signature"}
        sent = self._signed(message.id, body)
        shown = {name: MASK if name in hidden else value for name, value in sent.items()}
        head = "\n".join([f"POST {shown_url(self._url)}", *(f"{name}: {value}" for name, value in shown.items())])
        told = json.dumps(json.loads(body), ensure_ascii=False, indent=2)
        return mask(f"{head}\n\n{told}", [self._url, self._secret, *self._headers.values()])

    def _body(self, message: Message) -> bytes:
        most = self.limits.max_bytes or 0
        payload: dict[str, Any] = {
            "id": message.id,
            "kind": str(message.kind),
            "level": str(message.level),
            "title": clean(message.title)[:_LONGEST_TITLE],
            "text": render.plain(message, most, title=False),
            "created": message.created,
            "run": message.run,
            "job": message.job,
            "data": _finite(message.data),
        }
        if len(json_bytes(payload["data"])) > most:
            payload |= {"data": {}, "data_left_out": True}
        return json_bytes(_finite(payload))

    def _signed(self, message_id: str, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json; charset=utf-8", **_revealed(self._headers)}
        if self._secret is not None:
            headers |= sign(_key(self._secret), _as_header(message_id), int(self._clock()), body)
        return headers


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove where a body comes from and when it was sent.

    >>> sign(b"key", "m1", 1700000000, b"{}")["webhook-signature"]
    'v1,n4G0JeWsADKachD9DYkYICH9XWz9wh4c+ftKZ6L+sn0='
    """
    told = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


def is_header(name: str, value: str) -> bool:
    """Whether a header can be sent: no line break begins another one."""
    token = name.replace("-", "").replace("_", "")
    return token.isascii() and token.isalnum() and value.isascii() and value.isprintable()


def _as_header(message_id: str) -> str:
    """Return an id as it is, or a digest of one that holds what no header may."""
    if is_header("webhook-id", message_id):
        return message_id
    return hashlib.sha256(message_id.encode("utf-8", "replace")).hexdigest()


def _key(secret: Secret) -> bytes:
    text = secret.reveal()
    if not text.startswith(_ENCODED):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_ENCODED), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"what follows {_ENCODED} in the secret is no base64") from None


def _revealed(headers: Mapping[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in headers.items()}


def _meaning(reply: HttpReply) -> Reply:
    status = reply.status
    if 200 <= status < 300:
        return Reply(Fate.SENT, f"HTTP {status}")
    if 300 <= status < 400:
        return Reply(Fate.DISABLED, f"HTTP {status}: a redirect, which is not followed; set `url` to where it leads")
    if status in _LATER or status >= 500:
        return Reply(Fate.RETRY, f"HTTP {status}: the receiver has no time for this now", reply.retry_after_s)
    if status in _GONE:
        return Reply(Fate.DISABLED, f"HTTP {status}: the receiver {_GONE[status]}")
    return Reply(Fate.FAILED, f"HTTP {status}: the receiver refused the message")


def _finite(value: Any) -> Any:
    """Return a JSON value with null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
