"""What every channel keeps to, whatever its provider does. A new channel adds a line to `CASES`."""

from __future__ import annotations

import importlib.util
import io
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from parallel_ml.notify import http
from parallel_ml.notify.channel import Channel, Fate, Reply
from parallel_ml.notify.channels import sms, wecom_app
from parallel_ml.notify.channels.apprise import AppriseNotifier
from parallel_ml.notify.channels.console import ConsoleNotifier
from parallel_ml.notify.channels.dingtalk import DingTalkNotifier
from parallel_ml.notify.channels.email import EmailNotifier
from parallel_ml.notify.channels.feishu import FeishuNotifier
from parallel_ml.notify.channels.sms_aliyun import AliyunSms
from parallel_ml.notify.channels.sms_tencent import TencentSms
from parallel_ml.notify.channels.webhook import WebhookNotifier
from parallel_ml.notify.channels.wecom_app import WeComAppNotifier
from parallel_ml.notify.channels.wecom_robot import WeComRobotNotifier
from parallel_ml.notify.registry import BUILT_IN
from parallel_ml.notify.secret import Secret
from tests.unit.notify import sms_sdks
from tests.unit.notify.mail_server import Scripted, silent
from tests.unit.notify.messages import hostile, huge, own

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise, before 3.13

TOKEN, SECRET = "token-0123456789abcdef", "SECret-0123456789abcdef"
WAIT_S = 0.3


@dataclass(frozen=True)
class Case:
    """A channel under test.

    Attributes:
        make: Returns it, with TOKEN and SECRET for its secrets, its provider being at a loopback port.
        any_2xx: Whether a 200 reply is success whatever is in it.
        speaks_http: Whether its provider is an HTTP server.
        package: What must be installed for it, or None.
        by_sdk: Whether the provider's own SDK sends, which tells little of what it met, and its own words alone.
    """

    make: Callable[[int], Channel]
    any_2xx: bool = False
    speaks_http: bool = True
    package: str | None = None
    by_sdk: bool = False


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


CASES = {
    "apprise": Case(
        lambda port: AppriseNotifier(f"json://user:{SECRET}@127.0.0.1:{port}/{TOKEN}?rto={WAIT_S}", timeout_s=WAIT_S),
        any_2xx=True,
        package="apprise",
    ),
    "dingtalk": Case(
        lambda port: DingTalkNotifier(
            f"https://oapi.dingtalk.com/robot/send?access_token={TOKEN}", SECRET, base_url=_url(port)
        )
    ),
    "email": Case(
        lambda port: EmailNotifier(
            "a@example.com",
            ["b@example.com"],
            smtp_server="127.0.0.1",
            smtp_port=port,
            password=SECRET,
            security="plain",
            timeout_s=WAIT_S,
        ),
        speaks_http=False,
    ),
    "feishu": Case(
        lambda port: FeishuNotifier(
            f"https://open.feishu.cn/open-apis/bot/v2/hook/{TOKEN}", SECRET, base_url=_url(port)
        )
    ),
    "sms_aliyun": Case(
        lambda port: AliyunSms(
            api_key=Secret(TOKEN),
            api_secret=Secret(SECRET),
            phone_numbers=["13800138000"],
            sign_name="Lab",
            template_code="SMS_1",
            template_params={"name": "{title}"},
            base_url=_url(port),
        ),
        by_sdk=True,
    ),
    "sms_tencent": Case(
        lambda port: TencentSms(
            api_key=Secret(TOKEN),
            api_secret=Secret(SECRET),
            phone_numbers=["13800138000"],
            sign_name="Lab",
            sdk_app_id="1400006666",
            template_id="449739",
            template_params=["{title}"],
            base_url=_url(port),
        ),
        by_sdk=True,
    ),
    "webhook": Case(lambda port: WebhookNotifier(f"{_url(port)}/hook/{TOKEN}", secret=SECRET), any_2xx=True),
    "wecom": Case(
        lambda port: WeComRobotNotifier(
            f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={TOKEN}", base_url=_url(port)
        )
    ),
    "wecom_app": Case(lambda port: WeComAppNotifier("corp", 1, SECRET, base_url=_url(port), timeout_s=WAIT_S)),
    "wecom_app with a token": Case(
        lambda port: WeComAppNotifier(agent_id=1, access_token=TOKEN, base_url=_url(port), timeout_s=WAIT_S)
    ),
}
ELSEWHERE = {"console"}
"""The type that has no provider."""
SMS_TIMEOUT_S = 1.4
"""Below a second nothing is sent to the next number; the SDKs count in whole seconds, and halves of this."""
MOST_SMS_BYTES = 8192
"""A request with all its headers, signed."""


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Return each channel in turn; none waits long."""
    found = CASES[request.param]
    if found.package is not None and importlib.util.find_spec(found.package) is None:
        pytest.skip(f"{found.package} is not installed")
    monkeypatch.setattr(wecom_app, "TIMEOUT_S", WAIT_S)
    if found.by_sdk:
        sms_sdks.see_to(monkeypatch)
        monkeypatch.setattr(sms, "TIMEOUT_S", SMS_TIMEOUT_S)
    for function in (http.request, http.post_json):
        monkeypatch.setitem(function.__kwdefaults__ or {}, "timeout_s", WAIT_S)
    return found


@pytest.fixture
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Look at what every library logs, at all levels."""
    with caplog.at_level(logging.DEBUG):
        yield
    # Of other packages' own, at their lowest level; ours hears of none.
    theirs = ("apprise", "urllib3", "tencentcloud")
    ours = [one.getMessage() for one in caplog.get_records("call") if not one.name.startswith(theirs)]
    assert not [line for line in ours if TOKEN in line or SECRET in line]


def answering(status: str, body: bytes = b"", *headers: str) -> Callable[[socket.socket], object]:
    """Return what reads a request, if one comes, and gives an HTTP reply."""

    def treat(connection: socket.socket) -> None:
        connection.settimeout(0.05)
        asked = b""
        try:
            while b"\r\n\r\n" not in asked and (more := connection.recv(65536)):
                asked += more
            connection.recv(65536)  # the body
        except TimeoutError:
            pass
        head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers])
        connection.sendall(head.encode() + b"\r\n\r\n" + body)

    return treat


def resetting(connection: socket.socket) -> None:
    """Reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def check(reply: Reply, channel: Channel) -> None:
    """Check that a reply says something, and nothing that is secret."""
    assert isinstance(reply, Reply)
    assert reply.text
    for text in (reply.text, repr(reply), repr(channel), str(vars(channel))):
        assert TOKEN not in text
        assert SECRET not in text


def delivered(case: Case, treat: Callable[[socket.socket], object], message: Any = None) -> Reply:
    """Return what becomes of a message at a provider that treats its connections in some way."""
    with Scripted(treat) as server:
        channel = case.make(server.port)
        reply = channel.deliver(message or own())
    check(reply, channel)
    return reply


def test_every_type_has_a_case() -> None:
    """Or is named as one that is looked after elsewhere."""
    assert {name.partition(" ")[0] for name in CASES} | ELSEWHERE == set(BUILT_IN)


@pytest.mark.usefixtures("no_secret_is_logged")
@pytest.mark.parametrize(
    "treat",
    [
        pytest.param(silent, id="hangs"),
        pytest.param(resetting, id="resets"),
        pytest.param(lambda _: None, id="closes"),
        pytest.param(answering("500 Internal Server Error", b"<html>oh</html>"), id="500"),
        pytest.param(answering("503 Service Unavailable"), id="503"),
        pytest.param(answering("429 Too Many Requests", b"", "Retry-After: 7"), id="429"),
    ],
)
def test_trouble_that_passes_is_worth_another_attempt(case: Case, treat: Callable[[socket.socket], object]) -> None:
    """The message is kept, and sent later."""
    assert delivered(case, treat).fate is Fate.RETRY


@pytest.mark.usefixtures("no_secret_is_logged")
def test_nobody_there_is_worth_another_attempt(case: Case) -> None:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    channel = case.make(port)
    reply = channel.deliver(own())
    check(reply, channel)
    assert reply.fate is Fate.RETRY


def test_a_wait_that_is_asked_for_is_told(case: Case) -> None:
    """`Retry-After` of an HTTP provider reaches the dispatcher."""
    if not case.speaks_http or case.by_sdk or case.package == "apprise":
        pytest.skip("its provider says no such thing, or nobody tells it")
    assert delivered(case, answering("429 Too Many Requests", b"", "Retry-After: 7")).retry_after_s == 7


@pytest.mark.usefixtures("no_secret_is_logged")
@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Please log in to the network</body></html>",
        b"",
        b"null",
        b"[]",
        b'{"ok": true}',
        b'{"errcode": "0", "code": "0"}',
        b"[" * 100_000,
        b"\xff\xfe\x00",
    ],
    ids=["HTML", "nothing", "null", "a list", "no code", "a code that is text", "deep", "no text"],
)
def test_a_page_is_no_success(case: Case, body: bytes) -> None:
    """A log-in page of the network answers 200 to everything."""
    fate = delivered(case, answering("200 OK", body, "Content-Type: text/html")).fate
    assert (fate is Fate.SENT) == case.any_2xx


@pytest.mark.usefixtures("no_secret_is_logged")
@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
def test_a_redirect_is_no_success_and_is_not_followed(case: Case, status: str) -> None:
    """The token goes to the host that the user named, and to no other."""
    with Scripted(answering("200 OK", b'{"errcode": 0, "code": 0}')) as elsewhere:
        reply = delivered(case, answering(status, b"", f"Location: {_url(elsewhere.port)}/stolen"))
        # An SDK follows it, with a signature that is for one host alone.
        assert elsewhere.connections == 0 or case.by_sdk
    assert reply.fate is not Fate.SENT


@pytest.mark.usefixtures("no_secret_is_logged")
@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found"])
def test_an_address_that_is_not_known_is_no_success(case: Case, status: str) -> None:
    """What the user must mend is not tried for ever."""
    reply = delivered(case, answering(status, f"no {TOKEN} here".encode()))
    # An SDK tells of a provider's own codes alone: without one, something stands between.
    lasting = case.speaks_http and not case.by_sdk
    assert reply.fate in ((Fate.DISABLED, Fate.FAILED) if lasting else (Fate.RETRY,))


def test_an_endless_reply_ends(case: Case) -> None:
    """By its size or by the time it takes."""

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    if case.package == "apprise" or case.by_sdk:
        pytest.skip("Apprise reads whatever comes; its thread is given up in time")
    assert delivered(case, flood).fate is not Fate.SENT


@pytest.mark.parametrize("message", [huge(), hostile()], ids=["huge", "hostile"])
def test_no_message_is_too_much(case: Case, message: Any) -> None:
    """Whatever a job printed, the request is made, and its size is bounded."""
    sizes: list[int] = []

    def measure(connection: socket.socket) -> None:
        connection.settimeout(0.05)
        size = 0
        try:
            while more := connection.recv(65536):
                size += len(more)
        except TimeoutError:
            sizes.append(size)

    assert delivered(case, measure, message).fate is Fate.RETRY
    with Scripted(measure) as server:
        most = MOST_SMS_BYTES if case.by_sdk else case.make(server.port).limits.max_bytes
    assert most is not None
    assert all(size < 3 * most + 8192 for size in sizes)


def test_a_preview_shows_the_message_and_no_secret(case: Case) -> None:
    """Nothing is sent for it, also where the message itself repeats a secret."""
    with Scripted(silent) as server:
        channel = case.make(server.port)
        shown = channel.preview(own("Backup", "The data set is copied."))
        told = channel.preview(own("Backup", f"key={SECRET}"))
        assert server.connections == 0
    assert "Backup" in shown
    assert "copied" in shown or case.by_sdk  # a template has room for a few words
    for text in (shown, told):
        assert TOKEN not in text
    assert SECRET not in shown


def test_a_level_that_does_not_exist_is_refused(case: Case) -> None:
    """A user's own message has one of three levels."""
    with pytest.raises(ValueError, match="loud"):
        case.make(1).send("Backup", "The data set is copied.", "loud")


def test_the_console_gets_the_message_without_what_a_terminal_obeys() -> None:
    """Title, then what it says, indented; a closed stream is no catastrophe."""
    stream = io.StringIO()
    channel = ConsoleNotifier(stream=stream)
    assert channel.send("Backup", "One\nTwo", "warning").fate is Fate.SENT
    assert stream.getvalue() == "[warning] Backup\n  One\n  Two\n"
    channel.deliver(hostile())
    assert "\x1b" not in stream.getvalue()
    stream.close()
    assert channel.send("Backup", "One").fate is Fate.FAILED
