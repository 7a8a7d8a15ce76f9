"""A hundred further services, through the package Apprise (the extra `apprise`), told by its URLs."""

from __future__ import annotations

import importlib
import queue
import re
import threading
from collections.abc import Sequence
from typing import Any

from parallel_ml.errors import MissingPackage
from parallel_ml.notify import render
from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply, endpoint_of
from parallel_ml.notify.channels.fitting import short_title
from parallel_ml.notify.escape import clean
from parallel_ml.notify.http import TIMEOUT_S
from parallel_ml.notify.message import Level, Message
from parallel_ml.notify.secret import MASK, Secret, mask

REFUSED = {
    "dingtalk": "dingtalk",
    "feishu": "feishu",
    "lark": "feishu",
    "mailto": "email",
    "mailtos": "email",
    "wechat": "wecom_app",
    "wecombot": "wecom",
}
"""Apprise's plugins that are not used, with our own channel in their place.

That of DingTalk signs wrongly, those of the chat services take an error code in a 200 reply for success, and that of
e-mail logs in without encryption at hosts it does not know (Apprise 2.2).
"""

_TYPES = {Level.INFO: "info", Level.WARNING: "warning", Level.CRITICAL: "failure"}
_STATUS = re.compile(r"error\s*[=:]?\s*(\d{3})")
_LONGEST = 200


class AppriseNotifier(BaseChannel):
    """Hands each message to Apprise; all of the URLs are one channel.

    Apprise says no more than yes or no, and what it logs: that is read for the HTTP status.
    """

    def __init__(
        self, urls: str | Secret | Sequence[str | Secret], *, name: str = "apprise", timeout_s: float = TIMEOUT_S
    ) -> None:
        """Take Apprise's URLs.

        Args:
            urls: One or several, such as `tgram://TOKEN/CHAT`.
            name: As the user knows the channel.
            timeout_s: The most a delivery takes.

        Raises:
            MissingPackage: Apprise is not installed.
            ValueError: A URL is none of Apprise's, or one of a plugin that is not used; the text holds no token.
        """
        several = [urls] if isinstance(urls, (str, Secret)) else list(urls)
        self.name, self._timeout_s = name, timeout_s
        self.limits = Limits(per_minute=10, max_bytes=32 * 1024)
        self._urls = tuple(Secret(url) for url in several)
        self.endpoint = endpoint_of("apprise", *self._urls)
        for url in self._urls:
            refuse(url)
        self._package = _apprise()
        # A redirect would hand the token to another host.
        self._asset = self._package.AppriseAsset(http_redirects=False)
        self._services = self._package.Apprise(asset=self._asset)
        for url in self._urls:
            self._services.add(self._service(url))
        self._secrets = _parts(self._urls)
        self._busy = threading.Lock()

    def deliver(self, message: Message) -> Reply:
        """Send a message; see `Channel`."""
        # Apprise waits between sends and knows no time-out for all of one: a thread of its own does.
        if not self._busy.acquire(blocking=False):
            return Reply(Fate.RETRY, "Apprise is still busy with the message before")
        answers: queue.SimpleQueue[Reply] = queue.SimpleQueue()

        def send() -> None:
            try:
                answers.put(self._send(message))
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the thread tells it
                answers.put(Reply(Fate.RETRY, f"Apprise failed ({type(error).__name__})"))
            finally:
                self._busy.release()

        threading.Thread(target=send, name=f"apprise {self.name}", daemon=True).start()
        try:
            return answers.get(timeout=self._timeout_s)
        except queue.Empty:
            return Reply(Fate.RETRY, f"{self._shown()} did not answer within {self._timeout_s:g} s")

    def preview(self, message: Message) -> str:
        """Return the services and the text; see `Channel`."""
        return mask(f"{self._shown()}\n{clean(message.title)}\n\n{self._body(message)}", self._secrets)

    def _send(self, message: Message) -> Reply:
        with self._package.LogCapture(level=self._package.logging.WARNING) as log:
            taken = self._services.notify(
                title=short_title(message),
                body=self._body(message),
                notify_type=_TYPES[message.level],
                body_format=self._package.NotifyFormat.TEXT,
            )
            said = log.getvalue()
        return Reply(Fate.SENT, f"{self._shown()} took the message") if taken else self._meaning(said)

    def _meaning(self, said: str) -> Reply:
        words = mask(clean(said.strip().partition("\n")[0]), self._secrets)[:_LONGEST] or "no reason was given"
        found = _STATUS.search(said)
        status = int(found[1]) if found else None
        if status in (401, 403, 404, 410):
            return Reply(Fate.DISABLED, f"{self._shown()} does not take it (HTTP {status}); check the URL: {words}")
        if status is not None and 400 <= status < 500 and status not in (408, 425, 429):
            return Reply(Fate.FAILED, f"{self._shown()} refused the message (HTTP {status}): {words}")
        return Reply(Fate.RETRY, f"{self._shown()} did not take it: {words}")

    def _body(self, message: Message) -> str:
        return render.plain(message, self.limits.max_bytes, title=False) or clean(message.title)

    def _service(self, url: Secret) -> Any:
        found = self._package.Apprise.instantiate(url.reveal(), asset=self._asset, suppress_exceptions=True)
        if found is None:
            raise ValueError(
                f"{scheme_of(url)}://{MASK} is no URL that Apprise knows; a program of your own is type: webhook"
            )
        for scheme in _schemes(found):  # an https URL of a robot becomes its plugin
            if scheme in REFUSED:
                raise _Refused(scheme)
        return found

    def _shown(self) -> str:
        return ", ".join(dict.fromkeys(f"{scheme_of(url)}://{MASK}" for url in self._urls))


def scheme_of(url: Secret | str) -> str:
    """Return what stands before `://`, which tells the service and holds no token."""
    scheme, separator, _ = Secret(url).reveal().strip().partition("://")
    return scheme.lower() if separator and scheme.isalnum() and len(scheme) < 30 else "?"


def refuse(url: Secret | str) -> None:
    """Refuse the URL of a plugin that is not used; Apprise need not be installed.

    Raises:
        ValueError: It is one.
    """
    if scheme_of(url) in REFUSED:
        raise _Refused(scheme_of(url))


class _Refused(ValueError):
    def __init__(self, scheme: str) -> None:
        own = REFUSED[scheme]
        super().__init__(f"{scheme}:// of Apprise is not used, for it loses messages or secrets; use type: {own}")


def _schemes(service: Any) -> set[str]:
    found: set[str] = set()
    for schemes in (service.protocol, service.secure_protocol):
        found |= {schemes} if isinstance(schemes, str) else set(schemes or ())
    return found


def _parts(urls: Sequence[Secret]) -> tuple[Secret, ...]:
    """Return the URLs and every part of them that may be a token, as a service's own words may repeat one."""
    parts = {
        part for url in urls for part in re.split(r"[/:@?&=,]+", url.reveal().partition("://")[2]) if len(part) > 3
    }
    return (*urls, *map(Secret, sorted(parts)))


def _apprise() -> Any:
    try:
        return importlib.import_module("apprise")
    except ImportError:
        raise MissingPackage("apprise", "a channel told by an Apprise URL", "apprise") from None
