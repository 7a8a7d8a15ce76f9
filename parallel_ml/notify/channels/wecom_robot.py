"""A robot of a WeCom group (WeChat Work): Markdown, or text where somebody is mentioned by phone or everybody is.

Source: https://developer.work.weixin.qq.com/document/path/91770
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply, endpoint_of
from parallel_ml.notify.channels.answers import Dialect, Meaning, required_url, secrets_in, unreachable
from parallel_ml.notify.channels.fitting import members, text_within
from parallel_ml.notify.http import HttpProblem, post_json, rebased
from parallel_ml.notify.message import Message
from parallel_ml.notify.render import markdown, plain
from parallel_ml.notify.secret import Secret, shown_url

MARKDOWN_BYTES = 4096
TEXT_BYTES = 2048

_WECOM = Dialect(
    "WeCom",
    "errcode",
    "errmsg",
    {
        -1: Meaning(Fate.RETRY, "WeCom is busy"),
        40008: Meaning(Fate.FAILED, "WeCom does not know this type of message"),
        40058: Meaning(Fate.FAILED, "the message is longer than WeCom takes, or malformed"),
        44004: Meaning(Fate.FAILED, "the message is empty"),
        45002: Meaning(Fate.FAILED, "the message is longer than WeCom takes"),
        45009: Meaning(Fate.RETRY, "more than 20 messages in a minute; it takes the next one in a minute", 60.0),
        45033: Meaning(Fate.RETRY, "too many messages at once; it takes the next one in a minute", 60.0),
        93000: Meaning(
            Fate.DISABLED, "the key of the URL is not valid, or the robot was removed; copy the URL from its settings"
        ),
        93008: Meaning(Fate.DISABLED, "the robot is not in a group any more; make a new one and copy its URL"),
    },
)


class WeComRobotNotifier(BaseChannel):
    """A robot of a WeCom group.

    Attributes:
        name: As the user knows it.
        limits: 20 messages a minute; 4096 bytes as Markdown, 2048 as text.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        webhook: str | Secret,
        secret: str | Secret | None = None,  # noqa: ARG002 - these robots have none; taken, and not used
        *,
        keyword: str | None = None,
        at_mobiles: str | Sequence[str] = (),
        at_user_ids: str | Sequence[str] = (),
        at_all: bool = False,
        base_url: str | None = None,
        name: str = "wecom",
    ) -> None:
        """Take the robot's URL.

        Args:
            webhook: `https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=...`.
            secret: Is ignored: WeCom's robots sign nothing.
            keyword: Put into every message.
            at_mobiles: The phone numbers of members to mention; WeCom has that in plain text only.
            at_user_ids: The user ids of members to mention.
            at_all: Mention everybody; in plain text only.
            base_url: Another address in place of WeCom's own (a gateway, a test).
            name: As the user knows the channel.

        Raises:
            UsageError: There is no webhook, or none that may be used.
        """
        self.name = name
        self._webhook = required_url(webhook, "webhook")
        self.endpoint = endpoint_of("wecom", self._webhook)
        self._keyword, self._base_url = keyword, base_url
        self._mobiles, self._user_ids, self._at_all = members(at_mobiles), members(at_user_ids), at_all
        self._as_text = bool(self._mobiles or at_all)
        self.limits = Limits(per_minute=20, max_bytes=TEXT_BYTES if self._as_text else MARKDOWN_BYTES)

    def deliver(self, message: Message) -> Reply:
        """Send a message."""
        try:
            reply = post_json(rebased(self._webhook.reveal(), self._base_url), self._payload(message))
        except HttpProblem as problem:
            return unreachable(problem)
        return _WECOM.explain(reply, secrets_in(self._webhook))

    def preview(self, message: Message) -> str:
        """Return what would be sent."""
        payload = json.dumps(self._payload(message), ensure_ascii=False, indent=2)
        return f"POST {shown_url(rebased(self._webhook.reveal(), self._base_url))}\n{payload}"

    def _payload(self, message: Message) -> dict[str, Any]:
        if self._as_text:
            text = text_within(lambda room: plain(message, room), TEXT_BYTES, keyword=self._keyword)
            named = [*self._user_ids, *(["@all"] if self._at_all else [])]
            mentions = {"mentioned_list": named, "mentioned_mobile_list": self._mobiles}
            return {"msgtype": "text", "text": {"content": text, **mentions}}
        mentioned = " ".join(f"<@{member}>" for member in self._user_ids)
        text = text_within(
            lambda room: markdown(message, "wecom", room), MARKDOWN_BYTES, below=[mentioned], keyword=self._keyword
        )
        return {"msgtype": "markdown", "markdown": {"content": text}}
