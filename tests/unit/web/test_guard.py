"""Who is refused, over real sockets: foreign names, foreign pages, no token, no JSON, too much, too slow."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from parallel_ml.adapters.web import guard, slow_clients
from parallel_ml.adapters.web.guard import Guard
from parallel_ml.adapters.web.parts import MOST_STRANGERS
from parallel_ml.adapters.web.routes import sockets
from parallel_ml.adapters.web.server import NEEDED_FILES, allow_files
from tests.process.conftest import until
from tests.unit.web.serving import RUN, TOKEN, Served, serving, settings_in

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return one server for all tests here: none of them leaves anything in it."""
    yield from serving(settings_in(tmp_path_factory.mktemp("root")))


def sent(server: Served, *lines: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Send a request as it stands, and return status, headers and body of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode() + body)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, rest = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in headers)
    return int(status.split()[1]), {name.lower(): value for name, _, value in pairs}, rest


def socket_to(server: Served, query: str = "", **options: Any) -> ClientConnection:
    """Open a WebSocket."""
    return connect(f"ws://127.0.0.1:{server.port}/ws{query}", open_timeout=20, close_timeout=1, **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "evil.example", "localhost:{port}x", ""]
)
def test_a_name_that_is_not_ours_is_refused(server: Served, method: str, host: str) -> None:
    """DNS rebinding: the page of evil.example that was pointed here still says its name, whatever the method."""
    named = host.format(port=server.port)
    status, _, _ = sent(server, f"{method} /api/v1/runs HTTP/1.1", f"Host: {named}", f"Authorization: Bearer {TOKEN}")
    assert status == 421


def test_two_names_are_refused(server: Served) -> None:
    """A proxy and the server might believe different ones."""
    hosts = f"Host: 127.0.0.1:{server.port}", "Host: evil.example"
    assert sent(server, "GET / HTTP/1.1", *hosts)[0] in {400, 421}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_names_of_the_loopback_are_ours(server: Served, host: str) -> None:
    """With the port that is listened on."""
    lines = f"Host: {host}:{server.port}", f"Authorization: Bearer {TOKEN}"
    assert sent(server, "GET /api/v1/runs HTTP/1.1", *lines)[0] == 200


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost:{port}", "x"]
)
def test_a_page_of_somebody_else_is_refused(server: Served, method: str, origin: str) -> None:
    """Also one from another port of this machine, or from another of its names; with the token as well."""
    headers = {"Origin": origin.format(port=server.port)}
    assert server.client.request(method, "/api/v1/runs", headers=headers).status_code == 403


def test_our_own_page_is_let_through(server: Served) -> None:
    """Its origin is the name that the request came to."""
    headers = {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin"}
    assert server.client.get("/api/v1/runs", headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_what_a_browser_says_of_a_foreign_page_is_believed(server: Served, site: str) -> None:
    """Requests without an Origin, such as of an image, are told by Sec-Fetch-Site."""
    assert server.client.get("/api/v1/runs", headers={"Sec-Fetch-Site": site}).status_code == 403


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path", ["/api/v1/runs", "/metrics", "/openapi.json", "/training/progress/x", "/nothing", "/page"]
)
def test_nothing_is_told_without_the_token(server: Served, method: str, path: str) -> None:
    """Not even whether a path is there."""
    status, headers, _ = sent(server, f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}")
    assert status == 401
    assert headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: Bearer {TOKEN}x",
        f"Authorization: Bearer {TOKEN[:-1]}",
        "Authorization: Bearer ",
        f"Authorization: Basic {TOKEN}",
        f"Authorization: {TOKEN}",
        f"Cookie: token={TOKEN}",
        "Authorization: Bearer \xe9\xff",
        f"Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}",
    ],
)
def test_only_the_token_in_its_header_counts(server: Served, line: str) -> None:
    """Not a part of it, not a cookie, which every port of a host would get, not two of them."""
    status, _, _ = sent(server, "GET /api/v1/runs HTTP/1.1", f"Host: 127.0.0.1:{server.port}", line)
    assert status == 401


def test_a_token_in_the_url_does_not_count(server: Served) -> None:
    """URLs end up in logs and histories."""
    lines = f"GET /api/v1/runs?token={TOKEN} HTTP/1.1", f"Host: 127.0.0.1:{server.port}"
    assert sent(server, *lines)[0] == 401


def test_tokens_are_compared_in_constant_time() -> None:
    """The comparison is the standard library's, and takes anything that a header may hold."""
    assert guard.is_token(TOKEN, TOKEN)
    assert not any(guard.is_token(one, TOKEN) for one in ("", TOKEN[:-1], f"{TOKEN} ", "\xff", "\ud800"))


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/json; charset=utf-7"],
)
def test_a_body_is_json_or_nothing(server: Served, kind: str) -> None:
    """What a form of a foreign page could send without asking first is refused."""
    body = json.dumps({"configs": ["x"]}).encode()
    answer = server.client.post("/api/v1/runs", content=body, headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == 415


def test_nobody_is_allowed_to_ask_from_elsewhere(server: Served) -> None:
    """A preflight is answered by no header that allows anything."""
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = server.client.options("/api/v1/runs", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/api/v1/runs", "/nothing", "/page/nothing.js"])
def test_every_answer_says_what_a_page_may_do(server: Served, path: str) -> None:
    """Nothing foreign, nothing inline, no frame around it, nothing kept."""
    headers = server.client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] in {"no-store", "no-cache"}
    assert "server" not in headers


def test_a_body_that_is_too_large_is_refused(server: Served) -> None:
    """By its length before it comes, and by what came where it names none."""
    lines = f"Host: 127.0.0.1:{server.port}", f"Authorization: Bearer {TOKEN}", "Content-Type: application/json"
    much = guard.MAX_BODY_BYTES + 1
    assert sent(server, "POST /api/v1/runs HTTP/1.1", *lines, f"Content-Length: {much}")[0] == 413
    chunk = f"{much:x}\r\n".encode() + b"x" * much + b"\r\n0\r\n\r\n"
    assert sent(server, "POST /api/v1/runs HTTP/1.1", *lines, "Transfer-Encoding: chunked", body=chunk)[0] == 413


def test_a_body_that_does_not_come_is_not_waited_for(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is answered and closed."""
    monkeypatch.setattr(guard, "BODY_S", 0.1)
    lines = f"Host: 127.0.0.1:{server.port}", f"Authorization: Bearer {TOKEN}", "Content-Type: application/json"
    assert sent(server, "POST /api/v1/runs HTTP/1.1", *lines, "Content-Length: 9", body=b"{")[0] == 408


@pytest.mark.parametrize(
    "told",
    [
        [{"type": "http.disconnect"}],
        [{"type": "http.request", "body": b'{"job"', "more_body": True}, {"type": "http.disconnect"}],
        [{"type": "http.request", "body": b'{"job"', "more_body": False}],
    ],
    ids=["nothing", "a-part", "too-short"],
)
def test_a_request_whose_body_is_cut_off_is_not_carried_out(tmp_path: Path, told: list[dict[str, Any]]) -> None:
    """Half of `stop this job` would be `stop the run`."""
    carried_out: list[Any] = []
    messages = iter(told)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        carried_out.append(scope)

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        pass

    length = ("content-length", "14"), ("content-type", "application/json")
    pairs = [("host", "localhost:80"), ("authorization", f"Bearer {TOKEN}"), *length]
    headers = [(name.encode(), value.encode()) for name, value in pairs]
    scope = {"type": "http", "method": "POST", "path": f"/api/v1/runs/{RUN}/stop", "headers": headers}
    asyncio.run(Guard(application, settings_in(tmp_path, port=80))(scope, receive, send))
    assert not carried_out


def test_one_connection_too_many_is_cut_off_at_once(
    serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are there go on; where one of them leaves, the next is let in."""
    monkeypatch.setattr(slow_clients, "MOST_CONNECTIONS", 1)
    port = serve().port
    with socket.create_connection(("127.0.0.1", port), 20) as first:
        with socket.create_connection(("127.0.0.1", port), 10) as second, contextlib.suppress(ConnectionResetError):
            assert second.recv(1) == b""
        first.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert first.recv(12) == b"HTTP/1.1 200"

    def let_in() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as third:
            third.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            return third.recv(12) == b"HTTP/1.1 200"
        return False

    until(let_in, "a place")


def test_the_limit_of_open_files_is_raised_to_what_is_needed() -> None:
    """As far as the system lets it; one that is higher stays."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (NEEDED_FILES - 1, limits[1]))
        allow_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (NEEDED_FILES, limits[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (NEEDED_FILES + 1, limits[1]))
        allow_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (NEEDED_FILES + 1, limits[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_request_that_does_not_come_is_not_waited_for(
    server: Served, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    """Neither one that never begins nor one whose head drips in."""
    monkeypatch.setattr(slow_clients, "HEAD_S", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(begin)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_a_head_without_end_is_refused(server: Served) -> None:
    """A megabyte of headers is none."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (1 << 20))
            answer = connection.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            answer = b""
    assert answer[:12] in {b"", b"HTTP/1.1 400", b"HTTP/1.1 431"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://evil.example"}, 403), ({"Origin": "http://127.0.0.1:1"}, 403), ({"Origin": "null"}, 403)],
)
def test_a_foreign_page_opens_no_websocket(
    server: Served, headers: dict[str, str], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A browser asks nobody before it does; the server must, and says nothing of it in its own log."""
    with pytest.raises(InvalidStatus) as refused:
        socket_to(server, additional_headers={**headers, **BEARER})
    assert refused.value.response.status_code == status
    assert server.client.get("/").status_code == 200  # what the refusal leaves to be done is done
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_foreign_name_opens_no_websocket(server: Served) -> None:
    """The same check as for every other request."""
    shake = "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        lines = (
            "GET /ws HTTP/1.1",
            "Host: evil.example",
            "Connection: Upgrade",
            *shake,
            f"Authorization: Bearer {TOKEN}",
        )
        connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize(
    "options",
    [
        {"additional_headers": {"Authorization": "Bearer wrong"}},
        {"additional_headers": {"Authorization": f"Basic {TOKEN}"}},
        {"subprotocols": ["parallel-ml", "parallel-ml.token.wrong"]},
    ],
)
def test_a_wrong_token_opens_no_websocket(server: Served, options: dict[str, Any]) -> None:
    """It is refused before it is open."""
    with pytest.raises(InvalidStatus) as refused:
        socket_to(server, **options)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("first", ['{"type": "auth", "token": "wrong"}', "[", '"x"', '{"type": "auth"}'])
def test_a_first_message_without_the_token_closes_a_websocket(server: Served, first: str) -> None:
    """Nothing is told before."""
    with socket_to(server) as connection:
        connection.send(first)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_websocket_that_says_nothing_is_closed(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open one without the token is not kept; one in the URL is no token."""
    monkeypatch.setattr(sockets, "FIRST_S", 0.1)
    with socket_to(server, f"?token={TOKEN}") as connection, pytest.raises(ConnectionClosed):
        connection.recv(20)


def test_only_some_websockets_may_keep_the_server_waiting(server: Served) -> None:
    """Those that are open without having said the token; with one more there is none, but for who brings the token."""
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_STRANGERS):
            stack.enter_context(socket_to(server))
        with pytest.raises(InvalidStatus):
            socket_to(server)
        assert json.loads(stack.enter_context(socket_to(server, additional_headers=BEARER)).recv(20))["type"] == "hello"
    until(lambda: server.parts.strangers == 0, "the end of the strangers")
    with socket_to(server) as connection:
        assert connection.subprotocol is None


@pytest.mark.parametrize(
    ("options", "first", "protocol"),
    [
        ({"additional_headers": BEARER}, None, None),
        ({"subprotocols": ["parallel-ml", f"parallel-ml.token.{TOKEN}"]}, None, "parallel-ml"),
        ({}, json.dumps({"type": "auth", "token": TOKEN}), None),
    ],
)
def test_the_token_opens_a_websocket(
    server: Served, options: dict[str, Any], first: str | None, protocol: str | None
) -> None:
    """By a header, by a subprotocol (which is not echoed), or by the first message."""
    with socket_to(server, **options) as connection:
        if first is not None:
            connection.send(first)
        assert json.loads(connection.recv(20))["type"] == "hello"
        assert connection.subprotocol == protocol


def test_a_server_for_others_answers_to_addresses_and_known_names(tmp_path: Path) -> None:
    """A name takes a resolver that somebody else may have; a number does not."""
    settings = settings_in(tmp_path, host="0.0.0.0", port=80, names=frozenset({"gpu.lan"}))  # noqa: S104
    assert settings.is_open
    assert all(settings.is_called(host) for host in ("gpu.lan", "GPU.lan:80", "10.0.0.5", "localhost", "[fe80::1]:80"))
    assert not any(settings.is_called(host) for host in ("evil.example", "gpu.lan:81", "gpu.lan.evil.example", ""))


def test_the_name_of_a_proxy_is_believed_with_any_port(tmp_path: Path) -> None:
    """The proxy listens on one of its own; the server's own names still need the server's port."""
    settings = settings_in(tmp_path, port=8765, proxy_names=frozenset({"ml.lan"}))
    assert all(settings.is_called(host) for host in ("ml.lan", "ML.lan:443", "ml.lan:8443", "localhost:8765"))
    wrong = ("localhost", "localhost:443", "ml.lan:x", "ml.lan:99999", "evil.example", "ml.lan.evil.example")
    assert not any(settings.is_called(host) for host in wrong)
