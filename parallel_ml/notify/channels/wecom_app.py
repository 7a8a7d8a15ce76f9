"""A WeCom application: messages to members, with an access token that lasts two hours.

Sources: https://developer.work.weixin.qq.com/document/path/90236 (messages), .../91039 (tokens), .../90313 (codes)
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from parallel_ml.errors import UsageError
from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply, endpoint_of
from parallel_ml.notify.channels.answers import Dialect, Meaning, optional_secret, unreachable
from parallel_ml.notify.channels.fitting import members, text_within
from parallel_ml.notify.escape import clean
from parallel_ml.notify.http import TIMEOUT_S, HttpProblem, HttpReply, check_url, post_json, request
from parallel_ml.notify.message import Message
from parallel_ml.notify.render import markdown
from parallel_ml.notify.secret import MASK, Secret

SERVER = "https://qyapi.weixin.qq.com"
MAX_BYTES = 2048
_EXPIRED = (40001, 40014, 42001)
_EARLY_S = 300.0
"""A token is renewed so long before it ends: clocks differ, and a message takes its time."""
_BAD_SECRET = "`corp_id` and `secret` do not belong together; copy the application's secret again"  # noqa: S105 - words

_WECOM = Dialect(
    "WeCom",
    "errcode",
    "errmsg",
    {
        -1: Meaning(Fate.RETRY, "WeCom is busy"),
        40001: Meaning(Fate.DISABLED, _BAD_SECRET),
        40013: Meaning(Fate.DISABLED, "there is no company with this `corp_id`"),
        40014: Meaning(Fate.DISABLED, "WeCom does not take the access token"),
        40056: Meaning(Fate.DISABLED, "there is no application with this `agent_id`"),
        40058: Meaning(Fate.FAILED, "the message is longer than WeCom takes, or malformed"),
        41001: Meaning(Fate.DISABLED, "the access token is missing"),
        42001: Meaning(Fate.DISABLED, "the access token has expired"),
        44004: Meaning(Fate.FAILED, "the message is empty"),
        45002: Meaning(Fate.FAILED, "the message is longer than WeCom takes"),
        45009: Meaning(Fate.RETRY, "more messages than WeCom takes; it takes the next one in a minute", 60.0),
        45033: Meaning(Fate.RETRY, "too many messages at once; it takes the next one in a minute", 60.0),
        48002: Meaning(Fate.DISABLED, "the application may not send messages; allow it in WeCom's administration"),
        60011: Meaning(Fate.DISABLED, "the application may not write to these members; widen who can see it"),
        60020: Meaning(
            Fate.DISABLED, "this machine's address is not among the application's trusted addresses; add it"
        ),
        81013: Meaning(Fate.DISABLED, "no member of `to_user` can see the application; check `to_user`"),
        82001: Meaning(Fate.DISABLED, "no member of `to_user` is known; check `to_user`"),
        301002: Meaning(Fate.DISABLED, "`agent_id` and `secret` are of different applications"),
    },
)


@dataclass(frozen=True)
class _Token:
    secret: Secret
    until: float


class _Refused(Exception):
    """No token came; the reply says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


class WeComAppNotifier(BaseChannel):
    """A WeCom application.

    Attributes:
        name: As the user knows it.
        limits: 30 messages a minute to a member; 2048 bytes.
    """

    limits = Limits(per_minute=30, max_bytes=MAX_BYTES)

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        corp_id: str | None = None,
        agent_id: str | int | None = None,
        secret: str | Secret | None = None,
        *,
        to_user: str | Sequence[str] = "@all",
        access_token: str | Secret | None = None,
        keyword: str | None = None,
        base_url: str | None = None,
        name: str = "wecom",
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the application's credentials.

        Args:
            corp_id: The company's id.
            agent_id: The application's number.
            secret: The application's secret; with `corp_id` it gets access tokens.
            to_user: Members, as `a|b` or one by one; `@all` is everybody who can see the application.
            access_token: One that was got elsewhere, instead of `corp_id` and `secret`; used until it expires.
            keyword: Put into every message.
            base_url: Another address in place of WeCom's own (a gateway, a test).
            name: As the user knows the channel.
            timeout_s: For a message with all that it takes, a new token too.
            clock: Seconds since the epoch.

        Raises:
            UsageError: What is needed is missing, or `base_url` may not be used.
        """
        self.name = name
        self._corp_id, self._secret, self._given = corp_id, optional_secret(secret), optional_secret(access_token)
        if self._given is None and not (corp_id and self._secret):
            raise UsageError("a WeCom application needs `corp_id` and `secret`, or an `access_token`")
        self._agent_id = _number(agent_id)
        self.endpoint = endpoint_of("wecom_app", corp_id, str(self._agent_id), self._given)
        self._to_user = "|".join(members(to_user)) or "@all"
        self._keyword, self._timeout_s, self._clock = keyword, timeout_s, clock
        self._server = (base_url or SERVER).rstrip("/")
        wrong = check_url(self._server)
        if wrong is not None:
            raise UsageError(f"base_url {wrong}")
        self._token: _Token | None = None
        self._lock = threading.Lock()

    def deliver(self, message: Message) -> Reply:
        """Send a message; a token that WeCom refuses is replaced once."""
        deadline = time.monotonic() + self._timeout_s
        try:
            token = self._access_token(deadline)
            reply = self._post(message, token, deadline)
            if _WECOM.code_of(reply) in _EXPIRED and self._given is None:
                token = self._access_token(deadline, refused=token)
                reply = self._post(message, token, deadline)
        except HttpProblem as problem:
            return unreachable(problem)
        except _Refused as refused:
            return refused.reply
        return self._explained(reply, token)

    def preview(self, message: Message) -> str:
        """Return what would be sent."""
        payload = json.dumps(self._payload(message), ensure_ascii=False, indent=2)
        return f"POST {self._server}/cgi-bin/message/send?access_token={MASK}\n{payload}"

    def _post(self, message: Message, token: Secret, deadline: float) -> HttpReply:
        url = f"{self._server}/cgi-bin/message/send?{urlencode({'access_token': token.reveal()})}"
        return post_json(url, self._payload(message), timeout_s=deadline - time.monotonic())

    def _payload(self, message: Message) -> dict[str, Any]:
        text = text_within(lambda room: markdown(message, "wecom", room), MAX_BYTES, keyword=self._keyword)
        to = {"touser": self._to_user, "agentid": self._agent_id}
        return {**to, "msgtype": "markdown", "markdown": {"content": text}}

    def _access_token(self, deadline: float, *, refused: Secret | None = None) -> Secret:
        """Return a token that holds for now; `refused` is one that must not come again."""
        if self._given is not None:
            return self._given
        with self._lock:
            token = self._token
            if token is None or token.secret == refused or self._clock() >= token.until:
                token = self._token = self._new_token(deadline)
            return token.secret

    def _new_token(self, deadline: float) -> _Token:
        secret = self._secret.reveal() if self._secret else ""
        credentials = urlencode({"corpid": self._corp_id or "", "corpsecret": secret})
        asked_at = self._clock()
        left = deadline - time.monotonic()
        reply = request(f"{self._server}/cgi-bin/gettoken?{credentials}", timeout_s=left)
        answer = _WECOM.explain(reply, (self._secret,))
        if answer.fate is not Fate.SENT:
            raise _Refused(answer)
        body = reply.json()
        token, lasts = body.get("access_token"), body.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(lasts, (int, float)):
            raise _Refused(Reply(Fate.FAILED, "WeCom's answer has no access token, so nothing could be sent"))
        return _Token(Secret(token), asked_at + max(lasts - _EARLY_S, lasts / 2))

    def _explained(self, reply: HttpReply, token: Secret) -> Reply:
        code = _WECOM.code_of(reply)
        if code in _EXPIRED and self._given is not None:
            text = "the `access_token` has expired or is not valid; give a new one, or `corp_id` and `secret` instead"
            return Reply(Fate.DISABLED, f"{code}: {text}")
        answer = _WECOM.explain(reply, (token, self._secret))
        if answer.fate is not Fate.SENT:
            return answer
        missed = reply.json().get("invaliduser")
        if isinstance(missed, str) and missed:
            return Reply(Fate.FAILED, f"0: WeCom took the message, but not for {clean(missed)[:200]}; check `to_user`")
        return answer


def _number(agent_id: str | int | None) -> int:
    try:
        return int(agent_id or "")
    except ValueError:
        raise UsageError("a WeCom application needs `agent_id`, its number") from None
