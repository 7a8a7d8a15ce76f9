"""Loopback servers that answer as DingTalk, WeCom and Feishu do, and refuse what those refuse. Time is given."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

HOUR_S = 3600.0
Answer = tuple[int, Any]


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        """Start it."""
        self.now = now

    def __call__(self) -> float:
        """Return it, in seconds since the epoch."""
        return self.now

    def forward(self, seconds: float) -> None:
        """Let it go on."""
        self.now += seconds


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return its body, or None where it is no JSON that says so."""
        if not self.headers.get("content-type", "").startswith("application/json"):
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass
class Rate:
    """So many messages in a span; who sends more is blocked for a while."""

    clock: Clock
    most: int
    span_s: float = 60.0
    blocked_s: float = 0.0
    _times: deque[float] = field(default_factory=deque)
    _until: float = 0.0

    def takes(self) -> bool:
        """Count a message, and tell whether it may pass."""
        now = self.clock()
        if now < self._until:
            return False
        while self._times and now - self._times[0] >= self.span_s:
            self._times.popleft()
        if len(self._times) >= self.most:
            self._until = now + self.blocked_s
            return False
        self._times.append(now)
        return True


class Server:
    """A server on loopback: what it was asked is in `asked`, the bodies that it took in `taken`."""

    def __init__(self, clock: Clock | None = None) -> None:
        """Take a clock; `with` starts it."""
        self.clock = clock or Clock()
        self.asked: list[Asked] = []
        self.taken: list[Any] = []
        self.instead: deque[Answer] = deque()
        """Answers that come before its own, one for each request."""

    def answer(self, asked: Asked) -> Answer:
        """Return a status and a body: JSON, or bytes as they are."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Listen."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._serve()

            def do_GET(self) -> None:
                self._serve()

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                query = {
                    key: values[0] for key, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()
                }
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(self.command, parts.path, query, headers, body)
                server.asked.append(asked)
                status, said = server.instead.popleft() if server.instead else server.answer(asked)
                data = said if isinstance(said, bytes) else json.dumps(said, ensure_ascii=False).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"


def _signed(key: str, text: str) -> str:
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), hashlib.sha256)).decode()


def _words(given: object) -> bool:
    return isinstance(given, str) and bool(given.strip())


def _list_of_words(given: object) -> bool:
    return isinstance(given, list) and all(map(_words, given))


class DingTalk(Server):
    """A DingTalk robot; its settings are attributes."""

    token = "ding-token-0123456789"  # noqa: S105 - of this server alone
    path = "/robot/send"

    def __init__(self, clock: Clock | None = None, *, secret: str | None = None, keyword: str | None = None) -> None:
        """Take what its owner chose."""
        super().__init__(clock)
        self.secret, self.keyword, self.known_address = secret, keyword, True
        self.rate = Rate(self.clock, 20, blocked_s=600)

    @property
    def webhook(self) -> str:
        """What its owner copies."""
        return f"https://oapi.dingtalk.com{self.path}?access_token={self.token}"

    def answer(self, asked: Asked) -> Answer:
        """Judge a message."""
        code, words = self._verdict(asked)
        if code == 0:
            self.taken.append(asked.json())
        return 200, {"errcode": code, "errmsg": words}

    def _verdict(self, asked: Asked) -> tuple[int, str]:
        if asked.method != "POST" or asked.path != self.path:
            return 404, "wrong path"
        if asked.query.get("access_token") != self.token:
            return 300005, "token is not exist"
        message = asked.json()
        if message is None:
            return 43004, "invalid HTTP HEADER Content-Type"
        refused = self._unsafe(asked) or self._malformed(asked, message)
        if refused:
            return refused
        return (0, "ok") if self.rate.takes() else (130101, "send too fast, exceed 20 times per minute")

    def _unsafe(self, asked: Asked) -> tuple[int, str] | None:
        if not self.known_address:
            return 310000, "ip 203.0.113.7 not in whitelist"
        if self.secret is not None:
            stamp = asked.query.get("timestamp", "")
            if not stamp.isdigit() or abs(int(stamp) / 1000 - self.clock()) > HOUR_S:
                return 310000, "invalid timestamp, please check more detail"
            if asked.query.get("sign") != _signed(self.secret, f"{stamp}\n{self.secret}"):
                return 310000, "sign not match, more: [https://ding-doc.dingtalk.com]"
        if self.keyword is not None and self.keyword not in asked.json()["markdown"]["text"]:
            return 310000, "keywords not in content, more: [https://ding-doc.dingtalk.com]"
        return None

    def _malformed(self, asked: Asked, message: Any) -> tuple[int, str] | None:
        if len(asked.body) > 20_000:
            return 460101, "message too long"
        said, at = message.get("markdown"), message.get("at")
        if message.get("msgtype") != "markdown" or not isinstance(said, dict) or not isinstance(at, dict):
            return 40035, "param error"
        if set(said) != {"title", "text"} or not all(map(_words, said.values())) or "\n" in said["title"]:
            return 40035, "param error"
        named = [*at["atMobiles"], *at["atUserIds"]]
        if not isinstance(at["isAtAll"], bool) or not _list_of_words(named):
            return 40035, "param error"
        # The real one lets such a message pass and mentions nobody.
        return None if all(f"@{member}" in said["text"] for member in named) else (40035, "no such mention")


class WeComRobot(Server):
    """A WeCom robot."""

    key = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
    path = "/cgi-bin/webhook/send"

    def __init__(self, clock: Clock | None = None) -> None:
        """Take a clock."""
        super().__init__(clock)
        self.rate = Rate(self.clock, 20)

    @property
    def webhook(self) -> str:
        """What its owner copies."""
        return f"https://qyapi.weixin.qq.com{self.path}?key={self.key}"

    def answer(self, asked: Asked) -> Answer:
        """Judge a message."""
        code, words = self._verdict(asked)
        if code == 0:
            self.taken.append(asked.json())
        return 200, {"errcode": code, "errmsg": words}

    def _verdict(self, asked: Asked) -> tuple[int, str]:
        if asked.method != "POST" or asked.path != self.path or asked.query.get("key") != self.key:
            return 93000, "invalid webhook url, hint: [1700000000], from ip: 203.0.113.7"
        message = asked.json()
        kind = message.get("msgtype") if isinstance(message, dict) else None
        if kind not in ("markdown", "text"):
            return 40008, "invalid message type"
        said = message.get(kind)
        if not isinstance(said, dict) or not _words(said.get("content")):
            return 44004, "content empty"
        most = {"markdown": 4096, "text": 2048}[kind]
        if len(said["content"].encode()) > most:
            return 40058, f"{kind}.content exceed max length {most}. invalid Request Parameter"
        lists = [said.get("mentioned_list", []), said.get("mentioned_mobile_list", [])]
        if not all(map(_list_of_words, lists)) or (kind == "markdown" and set(said) != {"content"}):
            return 40058, "invalid Request Parameter"
        return (0, "ok") if self.rate.takes() else (45009, "api freq out of limit")


class WeComApp(Server):
    """A WeCom application, with the members `ann` and `bob`; a token lasts 7200 s."""

    corp_id, agent_id, secret = "wwcorp0123", 1000002, "app-secret-0123456789"
    members = ("ann", "bob")

    def __init__(self, clock: Clock | None = None) -> None:
        """Take a clock."""
        super().__init__(clock)
        self.tokens: dict[str, float] = {}
        self.known_address = True

    def issue(self) -> str:
        """Return a new token."""
        token = f"wecom-token-{len(self.tokens)}-{'x' * 40}"
        self.tokens[token] = self.clock() + 7200
        return token

    def revoke(self) -> None:
        """Let no token hold any more."""
        self.tokens = dict.fromkeys(self.tokens, -1.0)

    @property
    def tokens_asked(self) -> int:
        """How often a token was asked for."""
        return sum(asked.path == "/cgi-bin/gettoken" for asked in self.asked)

    def answer(self, asked: Asked) -> Answer:
        """Issue a token, or judge a message."""
        if asked.path == "/cgi-bin/gettoken" and asked.method == "GET":
            return 200, self._token(asked)
        if asked.path == "/cgi-bin/message/send" and asked.method == "POST":
            return 200, self._judged(asked)
        return 404, b"<html>nothing here</html>"

    def _token(self, asked: Asked) -> dict[str, Any]:
        if asked.query.get("corpid") != self.corp_id:
            return {"errcode": 40013, "errmsg": "invalid corpid"}
        if asked.query.get("corpsecret") != self.secret:
            return {"errcode": 40001, "errmsg": "invalid credential"}
        return {"errcode": 0, "errmsg": "ok", "access_token": self.issue(), "expires_in": 7200}

    def _judged(self, asked: Asked) -> dict[str, Any]:
        refused = self._refused(asked)
        if refused:
            return {"errcode": refused[0], "errmsg": refused[1]}
        message = asked.json()
        wanted = message["touser"].split("|")
        unknown = [name for name in wanted if name not in (*self.members, "@all")]
        if unknown == wanted:
            return {"errcode": 81013, "errmsg": "user & party & tag all invalid"}
        self.taken.append(message)
        return {"errcode": 0, "errmsg": "ok", "msgid": "m1", **({"invaliduser": "|".join(unknown)} if unknown else {})}

    def _refused(self, asked: Asked) -> tuple[int, str] | None:
        until = self.tokens.get(asked.query.get("access_token", ""))
        if until is None or until < 0:
            return 40014, "invalid access_token"
        if self.clock() >= until:
            return 42001, "access_token expired"
        if not self.known_address:
            return 60020, "not allow to access from your ip"
        message = asked.json()
        if not isinstance(message, dict) or message.get("agentid") != self.agent_id:
            return 40056, "invalid agentid"
        if message.get("msgtype") != "markdown" or not _words(message["markdown"].get("content")):
            return 40008, "invalid message type"
        return (45002, "content size out of limit") if len(message["markdown"]["content"].encode()) > 2048 else None


class Feishu(Server):
    """A Feishu robot; its settings are attributes."""

    token = "feishu-hook-0123456789"  # noqa: S105 - of this server alone

    def __init__(self, clock: Clock | None = None, *, secret: str | None = None, keyword: str | None = None) -> None:
        """Take what its owner chose."""
        super().__init__(clock)
        self.secret, self.keyword, self.known_address = secret, keyword, True
        self.rates = (Rate(self.clock, 100), Rate(self.clock, 5, span_s=1))

    @property
    def webhook(self) -> str:
        """What its owner copies."""
        return f"https://open.feishu.cn/open-apis/bot/v2/hook/{self.token}"

    def answer(self, asked: Asked) -> Answer:
        """Judge a message."""
        code, words = self._verdict(asked)
        if code == 0:
            self.taken.append(asked.json())
        return (400 if code in (9499, 19001) else 200), {"code": code, "msg": words, "data": {}}

    def _verdict(self, asked: Asked) -> tuple[int, str]:
        if asked.method != "POST" or asked.path != f"/open-apis/bot/v2/hook/{self.token}":
            return 19001, "param invalid: incoming webhook access token invalid"
        message = asked.json()
        if not isinstance(message, dict) or len(asked.body) > 20 * 1024 or not _is_card(message):
            return 9499, "Bad Request"
        if not self.known_address:
            return 19022, "Ip Not Allowed"
        if self.secret is not None and not self._signed_by_owner(message):
            return 19021, "sign match fail or timestamp is not within one hour from current time"
        if self.keyword is not None and self.keyword not in message["card"]["elements"][0]["content"]:
            return 19024, "Key Words Not Found"
        if sum(rate.takes() for rate in self.rates) < len(self.rates):
            return 11232, "create message trigger rate limit"
        return 0, "success"

    def _signed_by_owner(self, message: Any) -> bool:
        stamp = message.get("timestamp")
        if not isinstance(stamp, str) or not stamp.isdigit() or abs(int(stamp) - self.clock()) > HOUR_S:
            return False
        return bool(message.get("sign") == _signed(f"{stamp}\n{self.secret}", ""))


def _is_card(message: Any) -> bool:
    colours = ("blue", "wathet", "turquoise", "green", "yellow", "orange", "red", "carmine", "violet", "purple", "grey")
    try:
        head = message["card"]["header"]
        return (
            message["msg_type"] == "interactive"
            and head["title"]["tag"] == "plain_text"
            and _words(head["title"]["content"])
            and head["template"] in colours
            and all(
                element["tag"] == "markdown" and _words(element["content"]) for element in message["card"]["elements"]
            )
        )
    except (KeyError, TypeError):
        return False
