"""HTTP for channels: bounded in time and size whatever the server does, and silent about the URL."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parallel_ml.notify.http import HttpProblem, HttpReply, check_url, json_bytes, post_json, request
from tests.unit.notify.robots import Answer, Asked, Server

if TYPE_CHECKING:
    import trustme

TOKEN = "token-that-nobody-may-read"  # noqa: S105 - of no account
SHORT_S, LONG_S = 0.2, 5.0
"""For servers that never end, and for those that do: on a loaded machine they may take their time."""
Talk = Callable[[socket.socket, threading.Event], None]


class Echo(Server):
    """Answers what it is told to, else what it was sent."""

    def answer(self, asked: Asked) -> Answer:
        """Send the body back."""
        return 200, asked.body


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Return a server that is listening."""
    with Echo() as server:
        yield server


@contextmanager
def talking(talk: Talk, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Listen on loopback and treat the first client as `talk` does; give the port."""
    over = threading.Event()

    def serve() -> None:
        try:
            client, _ = listener.accept()
            with context.wrap_socket(client, server_side=True) if context else client as connection:
                talk(connection, over)
        except OSError:
            pass  # the client has had enough

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listener.close()
            thread.join()


def hear(connection: socket.socket) -> None:
    """Read a request to its end: closing a connection with something unread resets it."""
    with connection.makefile("rb") as lines:
        size = 0
        for line in iter(lines.readline, b"\r\n"):
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        lines.read(size)


def told(data: bytes) -> Talk:
    """Read the request and answer these bytes."""

    def talk(connection: socket.socket, _: threading.Event) -> None:
        hear(connection)
        connection.sendall(data)

    return talk


def dripping(first: bytes, again: bytes) -> Talk:
    """Answer some bytes, then others every now and then, for ever."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.wait(0.02):
            connection.sendall(again)

    return talk


def silent(_: socket.socket, over: threading.Event) -> None:
    """Say nothing."""
    over.wait()


def resetting(connection: socket.socket, _: threading.Event) -> None:
    """Break off hard."""
    hear(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def problem_with(port: int, *, scheme: str = "http", host: str = "127.0.0.1", timeout_s: float = LONG_S) -> HttpProblem:
    """Return what a request to a port comes to."""
    with pytest.raises(HttpProblem) as caught:
        request(f"{scheme}://{host}:{port}/robot?access_token={TOKEN}", data=b"{}", timeout_s=timeout_s)
    return caught.value


def test_json_arrives_as_it_is_and_its_answer_is_read(echo: Echo) -> None:
    """The body is UTF-8 JSON that says so."""
    reply = post_json(f"{echo.url}/x?y=1", {"text": "损失 0.1"})
    assert (reply.status, reply.json()) == (200, {"text": "损失 0.1"})
    assert (echo.asked[0].method, echo.asked[0].path, echo.asked[0].query) == ("POST", "/x", {"y": "1"})
    assert echo.asked[0].headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(silent, id="nothing"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"), id="a head without an end"),
        pytest.param(dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="continue and continue"),
        pytest.param(dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), id="a body without an end"),
        pytest.param(
            dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            id="chunks without an end",
        ),
    ],
)
def test_the_time_out_is_for_all_of_a_reply(talk: Talk) -> None:
    """A byte now and then gains a server nothing."""
    with talking(talk) as port:
        started = time.monotonic()
        problem = problem_with(port, timeout_s=SHORT_S)
        assert time.monotonic() - started < LONG_S
    assert problem.passing
    assert str(problem) == "127.0.0.1 did not answer within 0.2 s"


@pytest.mark.parametrize(
    ("talk", "text"),
    [
        (resetting, "127.0.0.1 broke the connection off (Connection reset by peer)"),
        (told(b""), "127.0.0.1 broke the connection off (RemoteDisconnected)"),
        (told(b"SSH-2.0-OpenSSH_9.2\r\n"), "127.0.0.1 broke the connection off (BadStatusLine)"),
        (told(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), "127.0.0.1 broke its reply off"),
        (told(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000), "the reply of 127.0.0.1 is larger than 256 KiB"),
    ],
)
def test_what_is_no_reply_is_told_in_words_and_may_pass(talk: Talk, text: str) -> None:
    """A connection that breaks, a foreign protocol, half a reply, a flood."""
    with talking(talk) as port:
        problem = problem_with(port)
    assert problem.passing
    assert str(problem) == text


def test_a_closed_port_is_told_and_may_pass() -> None:
    """The provider may come back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    problem = problem_with(port)
    assert problem.passing
    assert str(problem) == "127.0.0.1 cannot be reached (Connection refused)"


def test_a_redirect_is_a_reply_and_is_not_followed(echo: Echo) -> None:
    """The token would go to another host."""
    with talking(told(f"HTTP/1.1 302 Found\r\nLocation: {echo.url}/stolen\r\n\r\n".encode())) as port:
        reply = request(f"http://127.0.0.1:{port}/?access_token={TOKEN}")
    assert reply.status == 302
    assert echo.asked == []


@pytest.mark.parametrize("status", [204, 400, 404, 429, 500])
def test_every_status_is_a_reply(echo: Echo, status: int) -> None:
    """What it means is the channel's to say."""
    echo.instead.append((status, b""))
    assert request(echo.url).status == status


def test_the_look_up_of_a_host_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own knows no time-out."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait() and [])
    started = time.monotonic()
    problem = problem_with(443, scheme="https", host="oapi.dingtalk.com", timeout_s=SHORT_S)
    over.set()
    assert time.monotonic() - started < LONG_S
    assert str(problem) == "oapi.dingtalk.com did not answer within 0.2 s"


def test_an_unknown_host_is_told_and_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it looks where the network is down."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    problem = problem_with(443, scheme="https", host="oapi.dingtalk.com")
    assert problem.passing
    assert str(problem) == "oapi.dingtalk.com cannot be reached (Name or service not known)"


def test_no_time_left_is_no_request(echo: Echo) -> None:
    """What came before took all of it."""
    with pytest.raises(HttpProblem, match="no time was left"):
        request(echo.url, timeout_s=-1.0)
    assert echo.asked == []


def test_loopback_is_asked_without_the_proxy(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy has another loopback."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert request(echo.url, data=b"here").body == b"here"


def test_other_hosts_are_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses says so, and is told apart from the provider; it never sees the token."""
    heard = []

    def talk(connection: socket.socket, _: threading.Event) -> None:
        heard.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with talking(talk) as port:
        monkeypatch.setenv("https_proxy", f"http://user:{TOKEN}@127.0.0.1:{port}")
        problem = problem_with(443, scheme="https", host="oapi.dingtalk.com")
    assert str(problem) == "the proxy of the environment refused oapi.dingtalk.com (407)"
    assert heard[0].startswith(b"CONNECT oapi.dingtalk.com:443 HTTP/1.")
    assert TOKEN.encode() not in heard[0]


def test_a_proxy_that_is_gone_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a person looks for the fault at the provider's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
    problem = problem_with(443, scheme="https", host="oapi.dingtalk.com")
    assert (
        str(problem) == "oapi.dingtalk.com cannot be reached through the proxy of the environment (Connection refused)"
    )


def test_a_proxy_of_another_kind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOCKS is not spoken here."""
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    problem = problem_with(443, scheme="https", host="oapi.dingtalk.com")
    assert not problem.passing
    assert "must be an http:// one" in str(problem)


@pytest.mark.parametrize(
    "url",
    [
        f"http://oapi.dingtalk.com/robot/send?access_token={TOKEN}",
        f"ftp://oapi.dingtalk.com/{TOKEN}",
        f"file:///etc/{TOKEN}",
        f"//{TOKEN}",
        f"https:///{TOKEN}",
        f"https://[{TOKEN}",
        f"https://host:port/{TOKEN}",
        f"https://user:{TOKEN}@host/",
        f"https://host/{TOKEN}\nX: y",
        f"https://host/ {TOKEN}",
        f"https://hóst/{TOKEN}",
        "",
    ],
)
def test_a_url_that_may_not_be_used_is_refused_without_being_told(url: str) -> None:
    """Plain http, other schemes, passwords, bent lines."""
    with pytest.raises(HttpProblem, match=r"^the URL ") as caught:
        request(url)
    assert TOKEN not in str(caught.value)
    assert not caught.value.passing


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1:80", "localhost:1", "[::1]:8080"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    """Whatever it calls itself."""
    assert check_url(f"http://{host}/x") is None


@pytest.mark.parametrize("talk", [resetting, told(b"junk\r\n"), told(b"")])
def test_no_trace_of_a_problem_holds_the_url(talk: Talk) -> None:
    """Neither its text nor an exception that stands behind it."""
    with talking(talk) as port:
        problem = problem_with(port)
    assert TOKEN not in repr(problem)
    assert problem.__cause__ is None
    assert problem.__context__ is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "1e30"}, 86400.0),
        (
            {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", "date": "Fri, 31 Dec 1999 23:59:29 GMT"},
            30.0,
        ),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon", "date": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    """What makes no sense says nothing."""
    assert HttpReply(429, headers, b"").retry_after_s == seconds


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_none(body: bytes) -> None:
    """A log-in page, nothing, other bytes, a trap."""
    assert HttpReply(200, {}, body).json() is None


def test_half_a_surrogate_pair_can_be_sent() -> None:
    """Python reads such out of a job's broken output."""
    assert json_bytes({"text": "a\udc80b"}) == b'{"text": "a?b"}'


def test_a_number_that_json_lacks_is_refused() -> None:
    """No provider reads NaN."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes({"loss": float("nan")})


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Trust the authority of the tests, as a company trusts its own."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(certificate: ssl.SSLContext) -> None:
    """Somebody may listen in; the network's log-in page is such a one too, so it may pass."""
    with talking(told(b"HTTP/1.1 200 OK\r\n\r\n"), certificate) as port:
        problem = problem_with(port, scheme="https", host="localhost")
    assert str(problem).startswith("localhost: its certificate is not accepted (")
    assert problem.passing


@pytest.mark.usefixtures("trusted")
def test_a_trusted_certificate_is_accepted(certificate: ssl.SSLContext) -> None:
    """A company's own authority is named by SSL_CERT_FILE."""
    with talking(told(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), certificate) as port:
        assert request(f"https://127.0.0.1:{port}/").body == b"ok"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("talk", [silent, dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x")])
def test_the_time_out_holds_within_tls(talk: Talk, certificate: ssl.SSLContext) -> None:
    """Dripping gains nothing there either."""
    with talking(talk, certificate) as port:
        problem = problem_with(port, scheme="https", timeout_s=SHORT_S)
    assert str(problem) == "127.0.0.1 did not answer within 0.2 s"


def test_the_time_out_holds_while_tls_is_agreed_on() -> None:
    """A server that never answers the greeting."""
    with talking(silent) as port:
        problem = problem_with(port, scheme="https", timeout_s=SHORT_S)
    assert str(problem) == "127.0.0.1 did not answer within 0.2 s"
