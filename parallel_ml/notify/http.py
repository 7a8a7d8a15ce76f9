"""HTTP for channels, with the standard library: bounded in time and size, no redirects, no URL in any error.

A provider's URL holds its token, so it must not reach a log or an exception: `HttpProblem` has the host alone.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import json
import math
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from parallel_ml.notify.bounded import BoundedReader, connect

TIMEOUT_S = 10.0
MAX_REPLY_BYTES = 256 * 1024
_DAY_S = 86400.0


class HttpProblem(Exception):
    """No reply that can be read; the text says why, with the host alone.

    Attributes:
        passing: Whether the same request may succeed later.
    """

    def __init__(self, text: str, *, passing: bool) -> None:
        """Keep the reason."""
        super().__init__(text)
        self.passing = passing


@dataclass(frozen=True)
class HttpReply:
    """A reply: its status, its headers in lower case, its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON, or None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def retry_after_s(self) -> float | None:
        """What a Retry-After header says, in seconds, at most a day; a date in it counts from the reply's own Date."""
        said = self.headers.get("retry-after", "")
        try:
            seconds = float(said)
        except ValueError:
            try:
                wait = parsedate_to_datetime(said) - parsedate_to_datetime(self.headers["date"])
            except (KeyError, TypeError, ValueError, IndexError, OverflowError):
                return None
            seconds = wait.total_seconds()
        return min(max(0.0, seconds), _DAY_S) if math.isfinite(seconds) else None


def check_url(url: str) -> str | None:
    """Return what is wrong with a provider's URL, or None. Plain http is for this machine alone."""
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        return "holds a space or another character that no URL may hold"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not host:
        return "must begin with https://"
    if "@" in parts.netloc:
        return "must not hold a user name or a password"
    if parts.scheme == "http" and not is_loopback(host):
        return f"must begin with https:// (plain http to {host} would show the token to the network)"
    return None


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def rebased(url: str, base_url: str | None) -> str:
    """Return a provider's URL at another address (a gateway, a test's server); None leaves it as it is.

    >>> rebased("https://oapi.dingtalk.com/robot/send?access_token=t", "http://127.0.0.1:8080/ding/")
    'http://127.0.0.1:8080/ding/robot/send?access_token=t'
    """
    if base_url is None:
        return url
    parts, base = urlsplit(url), urlsplit(base_url)
    return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + parts.path, parts.query, ""))


def request(
    url: str,
    *,
    data: bytes | None = None,
    headers: dict[str, str] | None = None,
    method: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> HttpReply:
    """Send a request and return the reply, whatever its status.

    `timeout_s` is for all of it: the look-up of the host, the connection, TLS, and the last byte of the reply. The
    proxy of the environment (`https_proxy`, `no_proxy`) is used, except for loopback.

    Raises:
        HttpProblem: There was none, it was too large, or the URL is refused.
    """
    wrong = check_url(url)
    if wrong is not None:
        raise HttpProblem(f"the URL {wrong}", passing=False)
    wanted = urllib.request.Request(url, data=data, headers=headers or {}, method=method)  # noqa: S310 - checked above
    outcome = _ask(wanted, urlsplit(url).hostname or "", timeout_s)
    # Raised out here it has no context: neither the URL nor an open connection hangs on it.
    if isinstance(outcome, HttpProblem):
        raise outcome
    return outcome


def post_json(
    url: str, payload: Any, *, headers: dict[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> HttpReply:
    """Send JSON; as `request`."""
    typed = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return request(url, data=json_bytes(payload), headers=typed, timeout_s=timeout_s)


def json_bytes(payload: Any) -> bytes:
    """Return JSON as it is sent; what UTF-8 cannot hold (half a surrogate pair, from a job's output) is a `?`.

    Raises:
        ValueError: There is a number that JSON does not have.
    """
    return json.dumps(payload, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _ask(wanted: urllib.request.Request, host: str, timeout_s: float) -> HttpReply | HttpProblem:
    if timeout_s <= 0:
        return HttpProblem(f"no time was left to ask {host}", passing=True)
    proxies = {} if is_loopback(host) else urllib.request.getproxies()
    proxied = "https" in proxies and not urllib.request.proxy_bypass(host)
    if proxied and re.match(r"(?!https?:)\w+://", proxies["https"]):
        text = f"the proxy of the environment, through which {host} is asked, must be an http:// one"
        return HttpProblem(text, passing=False)
    try:
        with _open(wanted, proxies, timeout_s) as reply:
            return _read(reply, host)
    except urllib.error.URLError as error:
        return _problem(error.reason, host, timeout_s, proxied=proxied)
    except (http.client.HTTPException, OSError) as error:
        return _problem(error, host, timeout_s)
    except ValueError as error:
        return HttpProblem(f"{host} cannot be asked ({type(error).__name__})", passing=False)


def _open(wanted: urllib.request.Request, proxies: dict[str, str], timeout_s: float) -> http.client.HTTPResponse:
    # Without urllib's own list of handlers: none follows a redirect, which would hand the token to another host, and
    # none opens a file or FTP.
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", "parallel-ml")]
    opener.add_handler(urllib.request.ProxyHandler(proxies))
    opener.add_handler(_HttpsHandler() if wanted.type == "https" else _HttpHandler())
    return cast("http.client.HTTPResponse", opener.open(wanted, timeout=timeout_s))


def _read(reply: http.client.HTTPResponse, host: str) -> HttpReply | HttpProblem:
    body = reply.read(MAX_REPLY_BYTES + 1)
    if len(body) > MAX_REPLY_BYTES:
        return HttpProblem(f"the reply of {host} is larger than 256 KiB", passing=True)
    if reply.length:  # what Content-Length announced and never came
        return HttpProblem(f"{host} broke its reply off", passing=True)
    return HttpReply(reply.status, {name.lower(): value for name, value in reply.headers.items()}, body)


def _problem(reason: object, host: str, timeout_s: float, *, proxied: bool = False) -> HttpProblem:
    through = " through the proxy of the environment" if proxied else ""
    if isinstance(reason, TimeoutError):
        return HttpProblem(f"{host} did not answer within {timeout_s:.3g} s{through}", passing=True)
    if isinstance(reason, ssl.SSLCertVerificationError):
        # It may pass: a log-in page of the network, a clock that is still wrong.
        return HttpProblem(f"{host}: its certificate is not accepted ({reason.verify_message})", passing=True)
    if isinstance(reason, ssl.SSLError):
        return HttpProblem(f"{host}: no secure connection ({reason.reason}){through}", passing=True)
    refused = re.match(r"Tunnel connection failed: (\d+)", str(reason))
    if refused:
        return HttpProblem(f"the proxy of the environment refused {host} ({refused[1]})", passing=True)
    if isinstance(reason, (socket.gaierror, ConnectionRefusedError)) or proxied:
        return HttpProblem(f"{host} cannot be reached{through} ({_words(reason)})", passing=True)
    return HttpProblem(f"{host} broke the connection off ({_words(reason)})", passing=True)


def _words(reason: object) -> str:
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__


class _Response(http.client.HTTPResponse):
    def __init__(self, deadline: float, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(BoundedReader(self.fp.detach(), sock, deadline))


def _bind(connection: http.client.HTTPConnection, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    connection._create_connection = lambda address, *_: connect(address, deadline)  # type: ignore[attr-defined]  # noqa: SLF001 - the one seam
    connection.response_class = cast("type[http.client.HTTPResponse]", partial(_Response, deadline))


class _HttpConnection(http.client.HTTPConnection):
    def __init__(self, host: str, *, timeout: float = TIMEOUT_S, **others: Any) -> None:
        super().__init__(host, timeout=timeout, **others)
        _bind(self, timeout)


class _HttpsConnection(http.client.HTTPSConnection):
    def __init__(self, host: str, *, timeout: float = TIMEOUT_S, **others: Any) -> None:
        super().__init__(host, timeout=timeout, **others)
        _bind(self, timeout)


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpConnection, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def __init__(self) -> None:
        self._trusted = ssl.create_default_context()
        super().__init__(context=self._trusted)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpsConnection, req, context=self._trusted)
