"""A robot of a Feishu or Lark group: signed, an interactive card whose head has the colour of the message's level.

Source: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply, endpoint_of
from parallel_ml.notify.channels.answers import Dialect, Meaning, optional_secret, required_url, secrets_in, unreachable
from parallel_ml.notify.channels.fitting import members, payload_within, short_title, text_within
from parallel_ml.notify.http import HttpProblem, HttpReply, post_json, rebased
from parallel_ml.notify.message import Kind, Level, Message
from parallel_ml.notify.render import markdown
from parallel_ml.notify.secret import MASK, Secret, shown_url

_COLOURS = {Level.INFO: "blue", Level.WARNING: "orange", Level.CRITICAL: "red"}
_GOOD = (Kind.FINISHED, Kind.NEW_BEST, Kind.ALERT_RESOLVED)
_TOO_FAST = "more than 100 messages in a minute or 5 in a second"

_FEISHU = Dialect(
    "Feishu",
    "code",
    "msg",
    {
        9499: Meaning(Fate.FAILED, "Feishu takes the message for malformed"),
        11232: Meaning(Fate.RETRY, _TOO_FAST, 60.0),
        19001: Meaning(Fate.DISABLED, "there is no robot at this URL; copy the URL from the robot's settings"),
        19002: Meaning(Fate.FAILED, "Feishu takes the message for malformed"),
        19007: Meaning(Fate.DISABLED, "the robot is switched off; switch it on in its group"),
        19021: Meaning(
            Fate.DISABLED,
            "the signature does not match, or this machine's clock is off by an hour; "
            "copy the robot's secret to `secret` and set the clock right",
        ),
        19022: Meaning(
            Fate.DISABLED, "the robot takes no messages from this machine's address; add it to its list of addresses"
        ),
        19024: Meaning(
            Fate.DISABLED, "the message has none of the robot's keywords; set `keyword` to one of the robot's keywords"
        ),
    },
)


def feishu_sign(secret: str, timestamp_s: int) -> str:
    """Return Feishu's signature: an empty text, with the time and the secret as the key.

    >>> feishu_sign("test", 1700000000)
    'eSJQnOl8XqPTMPHWz9e5IzeHS/tqoc68g2967ekIPmg='
    """
    return base64.b64encode(hmac.new(f"{timestamp_s}\n{secret}".encode(), b"", hashlib.sha256).digest()).decode()


class FeishuNotifier(BaseChannel):
    """A robot of a Feishu or Lark group.

    Attributes:
        name: As the user knows it.
        limits: 100 messages a minute, 5 a second; a body of 20 KiB.
    """

    limits = Limits(per_minute=100, per_second=5, max_bytes=20 * 1024)

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        webhook: str | Secret,
        secret: str | Secret | None = None,
        *,
        keyword: str | None = None,
        at_user_ids: str | Sequence[str] = (),
        at_all: bool = False,
        base_url: str | None = None,
        name: str = "feishu",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the robot's URL.

        Args:
            webhook: `https://open.feishu.cn/open-apis/bot/v2/hook/...`, or the same at open.larksuite.com.
            secret: Of the robot's signature, where that is switched on.
            keyword: Put into every message, for a robot that drops what lacks it.
            at_user_ids: The open ids (`ou_...`) of members to mention.
            at_all: Mention everybody.
            base_url: Another address in place of Feishu's own (a gateway, a test).
            name: As the user knows the channel.
            clock: Seconds since the epoch.

        Raises:
            UsageError: There is no webhook, or none that may be used.
        """
        self.name = name
        self._webhook, self._secret = required_url(webhook, "webhook"), optional_secret(secret)
        self.endpoint = endpoint_of("feishu", self._webhook)
        self._keyword, self._base_url, self._clock = keyword, base_url, clock
        mentioned = [*members(at_user_ids), *(["all"] if at_all else [])]
        self._mentions = " ".join(f"<at id={member}></at>" for member in mentioned)

    def deliver(self, message: Message) -> Reply:
        """Send a message."""
        url = rebased(self._webhook.reveal(), self._base_url)
        try:
            reply = post_json(url, self._payload(message, self._signature()))
        except HttpProblem as problem:
            return unreachable(problem)
        return _explained(reply, (self._secret, *secrets_in(self._webhook)))

    def preview(self, message: Message) -> str:
        """Return what would be sent."""
        signature = {} if self._secret is None else {**self._signature(), "sign": MASK}
        payload = json.dumps(self._payload(message, signature), ensure_ascii=False, indent=2)
        return f"POST {shown_url(rebased(self._webhook.reveal(), self._base_url))}\n{payload}"

    def _signature(self) -> dict[str, str]:
        if self._secret is None:
            return {}
        now = int(self._clock())
        return {"timestamp": str(now), "sign": feishu_sign(self._secret.reveal(), now)}

    def _payload(self, message: Message, signature: dict[str, str]) -> Any:
        title = {"tag": "plain_text", "content": short_title(message)}
        header = {"title": title, "template": _colour(message)}

        def text(room: int) -> str:
            return text_within(
                lambda left: markdown(message, "feishu", left, title=not message.blocks),
                room,
                below=[self._mentions],
                keyword=self._keyword,
            )

        def body(said: str) -> dict[str, Any]:
            elements = [{"tag": "markdown", "content": said}]
            card = {"config": {"wide_screen_mode": True}, "header": header, "elements": elements}
            return {**signature, "msg_type": "interactive", "card": card}

        return payload_within(text, body, self.limits.max_bytes or 0)


def _colour(message: Message) -> str:
    good = message.level is Level.INFO and message.kind in _GOOD
    return "green" if good else _COLOURS[message.level]


def _explained(reply: HttpReply, secrets: tuple[Secret | None, ...]) -> Reply:
    # 9499 is also what a robot says that got too much.
    if _FEISHU.code_of(reply) == 9499 and "too many" in _FEISHU.words_of(reply).lower():
        return Reply(Fate.RETRY, f"9499: {_TOO_FAST}", 60.0)
    return _FEISHU.explain(reply, secrets)
