"""A robot of a DingTalk group: signed, Markdown, with mentions.

Source: https://open.dingtalk.com/document/robots/custom-robot-access
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply, endpoint_of
from parallel_ml.notify.channels.answers import Dialect, Meaning, optional_secret, required_url, secrets_in, unreachable
from parallel_ml.notify.channels.fitting import members, payload_within, short_title, text_within
from parallel_ml.notify.http import HttpProblem, HttpReply, post_json, rebased
from parallel_ml.notify.message import Message
from parallel_ml.notify.render import markdown
from parallel_ml.notify.secret import Secret, mask, shown_url

_BLOCKED_S = 600.0
"""Who sends more than 20 messages in a minute is blocked for ten."""
_UNKNOWN = "there is no robot with this access_token; copy the URL from the robot's settings"
_REMOVED = "the robot was removed or switched off in its group; make a new one and copy its URL"
_TOO_FAST = "more than 20 messages in a minute; DingTalk blocks the robot for 10 minutes"
_MISMATCH = "the robot's keyword or signature setting does not match"

_DINGTALK = Dialect(
    "DingTalk",
    "errcode",
    "errmsg",
    {
        -1: Meaning(Fate.RETRY, "DingTalk is busy"),
        40014: Meaning(Fate.DISABLED, _UNKNOWN),
        40035: Meaning(Fate.FAILED, "DingTalk takes the message for malformed"),
        130101: Meaning(Fate.RETRY, _TOO_FAST, _BLOCKED_S),
        300001: Meaning(Fate.DISABLED, _UNKNOWN),
        300005: Meaning(Fate.DISABLED, _UNKNOWN),
        310000: Meaning(
            Fate.DISABLED, f"{_MISMATCH}; set `keyword` to one of its keywords, `secret` to its secret (SEC...)"
        ),
        400013: Meaning(Fate.DISABLED, "the group was dissolved; make a robot in another group"),
        400101: Meaning(Fate.DISABLED, _UNKNOWN),
        400102: Meaning(Fate.DISABLED, _REMOVED),
        400106: Meaning(Fate.DISABLED, _REMOVED),
        410100: Meaning(Fate.RETRY, _TOO_FAST, _BLOCKED_S),
        430101: Meaning(Fate.FAILED, "DingTalk takes a link in the message for unsafe"),
        430102: Meaning(Fate.FAILED, "DingTalk does not let the text of the message pass"),
        430104: Meaning(Fate.FAILED, "DingTalk does not let the content of the message pass"),
        460101: Meaning(Fate.FAILED, "the message is longer than DingTalk takes"),
    },
)
# What DingTalk says besides 310000, in this order; the first that is found.
_REFUSALS = (
    ("keyword", Meaning(Fate.DISABLED, f"{_MISMATCH}: its keyword is missing; set `keyword` to one that it knows")),
    ("timestamp", Meaning(Fate.RETRY, f"{_MISMATCH}: this machine's clock is off by an hour or more; set it right")),
    ("sign", Meaning(Fate.DISABLED, f"{_MISMATCH}: copy the secret (SEC...) of the robot's settings to `secret`")),
    ("ip", Meaning(Fate.DISABLED, "the robot does not know this machine's address; add it to its list of addresses")),
)


def ding_sign(secret: str, timestamp_ms: int) -> str:
    """Return DingTalk's signature, not yet quoted for a URL.

    >>> ding_sign("SECtest", 1700000000000)
    'aZLLrriXgn05YbwaGR7knYsLeJADjr9NwLaNNKpxh4g='
    """
    text = f"{timestamp_ms}\n{secret}".encode()
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()


class DingTalkNotifier(BaseChannel):
    """A robot of a DingTalk group.

    Attributes:
        name: As the user knows it.
        limits: 20 messages a minute; a body of 20000 bytes.
    """

    limits = Limits(per_minute=20, max_bytes=20_000)

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        webhook: str | Secret,
        secret: str | Secret | None = None,
        *,
        keyword: str | None = None,
        at_mobiles: str | Sequence[str] = (),
        at_user_ids: str | Sequence[str] = (),
        at_all: bool = False,
        base_url: str | None = None,
        name: str = "dingtalk",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the robot's URL.

        Args:
            webhook: `https://oapi.dingtalk.com/robot/send?access_token=...`.
            secret: Of the robot's signature (`SEC...`), where that is switched on.
            keyword: Put into every message, for a robot that drops what lacks it.
            at_mobiles: The phone numbers of members to mention.
            at_user_ids: The user ids of members to mention.
            at_all: Mention everybody.
            base_url: Another address in place of DingTalk's own (a gateway, a test).
            name: As the user knows the channel.
            clock: Seconds since the epoch.

        Raises:
            UsageError: There is no webhook, or none that may be used.
        """
        self.name = name
        self._webhook, self._secret = required_url(webhook, "webhook"), optional_secret(secret)
        self.endpoint = endpoint_of("dingtalk", self._webhook)
        self._keyword, self._base_url, self._clock = keyword, base_url, clock
        self._mobiles, self._user_ids, self._at_all = members(at_mobiles), members(at_user_ids), at_all

    def deliver(self, message: Message) -> Reply:
        """Send a message."""
        try:
            reply = post_json(self._signed_url(), self._payload(message))
        except HttpProblem as problem:
            return unreachable(problem)
        return _explained(reply, (self._secret, *secrets_in(self._webhook)))

    def preview(self, message: Message) -> str:
        """Return what would be sent."""
        payload = json.dumps(self._payload(message), ensure_ascii=False, indent=2)
        return mask(f"POST {shown_url(rebased(self._webhook.reveal(), self._base_url))}\n{payload}", (self._secret,))

    def _signed_url(self) -> str:
        url = rebased(self._webhook.reveal(), self._base_url)
        if self._secret is None:
            return url
        now = int(self._clock() * 1000)
        sign = quote(ding_sign(self._secret.reveal(), now), safe="")
        return f"{url}{'&' if '?' in url else '?'}timestamp={now}&sign={sign}"

    def _payload(self, message: Message) -> Any:
        # A mention shows, and reaches its member, only if the text has it too.
        mentions = " ".join(f"@{member}" for member in (*self._mobiles, *self._user_ids))
        at = {"atMobiles": self._mobiles, "atUserIds": self._user_ids, "isAtAll": self._at_all}

        def text(room: int) -> str:
            return text_within(
                lambda left: markdown(message, "dingtalk", left), room, below=[mentions], keyword=self._keyword
            )

        def body(said: str) -> dict[str, Any]:
            return {"msgtype": "markdown", "markdown": {"title": short_title(message), "text": said}, "at": at}

        return payload_within(text, body, self.limits.max_bytes or 0)


def _explained(reply: HttpReply, secrets: tuple[Secret | None, ...]) -> Reply:
    if _DINGTALK.code_of(reply) == 310000:
        said = _DINGTALK.words_of(reply).lower()
        for word, meaning in _REFUSALS:
            if re.search(rf"\b{word}", said):
                return Reply(meaning.fate, f"310000: {meaning.text}", meaning.retry_after_s)
    return _DINGTALK.explain(reply, secrets)
