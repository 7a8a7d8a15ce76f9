"""Who may ask, and how much: every request, HTTP and WebSocket, passes here before anything else looks at it.

The page and its files are the only things that are given without the token: they hold no data, and a browser cannot
send one with the first request. A cookie would do so by itself, but every port of a host gets it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from parallel_ml.adapters.web.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from parallel_ml.adapters.web.settings import ServerSettings

MAX_BODY_BYTES = 1 << 20
BODY_S = 15.0
"""A body that is not there by then is not waited for."""
_CHANGES_NOTHING = frozenset({"GET", "HEAD"})
_PAGE = "/page/"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may do: nothing that is not ours, nothing inline, and nobody may frame it."""
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NO_STORE = (b"cache-control", b"no-store")


class Guard:
    """Refuses what comes under a foreign name, from a foreign page, without the token, as anything but JSON."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        """Stand before `app`."""
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = _Headers(scope)
        is_socket = scope["type"] == "websocket"
        try:
            self._check_names(headers)
            if not is_socket:
                self._check_request(scope, headers)
                receive = await _with_body(receive, headers)
        except Problem as problem:
            await _refuse(problem, scope, receive, send)
            return
        except _CutOffError:
            return  # half a request is none, and nobody is there to be told
        await self._app(scope, receive, send if is_socket else _with_headers(send))

    def _check_names(self, headers: _Headers) -> None:
        """Refuse a name that is not ours, and pages that are not.

        Raises:
            Problem: It is refused.
        """
        hosts = headers.all("host")
        if len(hosts) != 1 or not self._settings.is_called(hosts[0]):
            hint = "open the address that serve printed; --allow-host NAME adds one"
            raise Problem(421, "unknown-host", "this server is not called by that name", hint)
        ours = {f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}"}
        origins = headers.all("origin")
        if any(origin.lower() not in ours for origin in origins) or len(origins) > 1:
            raise Problem(403, "foreign-origin", "only this server's own page may ask")

    def _check_request(self, scope: Scope, headers: _Headers) -> None:
        """Refuse a request without the token, and bodies that are no JSON.

        Raises:
            Problem: It is refused.
        """
        method, path = scope["method"], scope["path"]
        is_page = method in _CHANGES_NOTHING and (path in {"/", "/favicon.ico"} or path.startswith(_PAGE))
        if not is_page:
            if set(headers.all("sec-fetch-site")) - {"same-origin", "none"}:
                raise Problem(403, "foreign-origin", "only this server's own page may ask")
            if not is_token(_bearer(headers), self._settings.token):
                hint = "send Authorization: Bearer TOKEN; serve says where the token is"
                challenge = {"WWW-Authenticate": 'Bearer realm="parallel_ml"'}
                raise Problem(401, "no-token", "the token is missing or wrong", hint, headers=challenge)
        _check_body(headers)


class _CutOffError(Exception):
    """The client left before its request was whole."""


class _Headers:
    """The headers of a request."""

    def __init__(self, scope: Scope) -> None:
        self._pairs = [(name.lower(), value) for name, value in scope["headers"]]

    def all(self, name: str) -> list[str]:
        """Return the values of a header, one for each time that it was sent."""
        return [value.decode("latin-1").strip() for key, value in self._pairs if key == name.encode()]


def is_token(given: str, token: str) -> bool:
    """Whether this is the token; how long that takes tells nothing of it."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def bearer(scope: Scope) -> str:
    """Return what a request's `Authorization: Bearer` holds; nothing where it has another header, or several."""
    return _bearer(_Headers(scope))


def _bearer(headers: _Headers) -> str:
    values = headers.all("authorization")
    scheme, _, token = (values[0] if len(values) == 1 else "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _check_body(headers: _Headers) -> None:
    """Refuse a body that is too large, or no JSON.

    Raises:
        Problem: It is refused.
    """
    length = _length(headers)
    if length > MAX_BODY_BYTES:
        raise _too_large()
    if not length and not headers.all("transfer-encoding"):
        return
    kinds = headers.all("content-type")
    kind, _, parameters = (kinds[0] if len(kinds) == 1 else "").lower().partition(";")
    if kind.strip() != "application/json" or parameters.strip() not in {"", "charset=utf-8"}:
        raise Problem(415, "not-json", "a body must be JSON", "send Content-Type: application/json")


def _length(headers: _Headers) -> int:
    """Return how long a body is said to be; 0 where nothing is said."""
    lengths = headers.all("content-length")
    return int(lengths[0]) if lengths and lengths[0].isascii() and lengths[0].isdigit() else 0


async def _with_body(receive: Receive, headers: _Headers) -> Receive:
    """Return a `receive` that has the whole body already; nobody waits for it longer, or takes more, than is right.

    Raises:
        Problem: It is too large, too slow, or not as long as was said.
        _CutOffError: The client left before its end.
    """
    if not (headers.all("content-length") or headers.all("transfer-encoding")):
        return receive
    body, more = b"", True
    give_up_at = asyncio.get_running_loop().time() + BODY_S
    while more:
        left_s = give_up_at - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, left_s))
        except (TimeoutError, asyncio.TimeoutError):
            raise Problem(408, "too-slow", "the body did not come in time") from None
        if message["type"] == "http.disconnect":
            raise _CutOffError
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    if not headers.all("transfer-encoding") and len(body) != _length(headers):
        raise Problem(400, "cut-off", "the body is not as long as its Content-Length says")
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return whole.pop() if whole else await receive()

    return receiving


def _too_large() -> Problem:
    return Problem(413, "too-large", f"a body may have {MAX_BODY_BYTES} bytes at most")


def _with_headers(send: Send) -> Send:
    """Return a `send` that adds what every answer has."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", ())}
            more = [pair for pair in (*_HEADERS, _NO_STORE) if pair[0] not in there]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that is not let through; a WebSocket's handshake as well. Its connection ends with it."""
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = problem.body()["detail"].encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "websocket.http.response.start", "status": problem.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": answer})
        return
    response = problem.response()
    response.headers["connection"] = "close"
    await response(scope, receive, _with_headers(send))
