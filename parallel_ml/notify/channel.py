"""The port of all ways to reach a person: a channel delivers a message and says plainly what became of it."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Protocol

from parallel_ml.core.outcome import StrEnum
from parallel_ml.notify.message import Kind, Level, Message, Text
from parallel_ml.notify.secret import Secret


class Fate(StrEnum):
    """What became of a delivery."""

    SENT = "sent"
    RETRY = "retry"
    DISABLED = "disabled"
    FAILED = "failed"


@dataclass(frozen=True)
class Reply:
    """What a delivery led to.

    Attributes:
        fate: `sent`; `retry` (later, the same message may get through); `disabled` (nothing will get through until the
            user mends the settings: a wrong password, a robot that was removed); `failed` (this message never will).
        text: What the provider's answer means, in a sentence, with its code; no secret and no URL with a token in it.
        retry_after_s: With `retry`: not before so many seconds have passed; None leaves it to the dispatcher.
    """

    fate: Fate
    text: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Limits:
    """What a provider allows.

    Attributes:
        per_minute: Messages in any minute, or None.
        per_second: Messages in any second, or None.
        per_day: Messages a day, or None.
        max_bytes: The size of a message's text, UTF-8 encoded; renderers cut to it. None is no limit.
    """

    per_minute: int | None = None
    per_second: int | None = None
    per_day: int | None = None
    max_bytes: int | None = None

    @property
    def is_endless(self) -> bool:
        """Whether any number of messages may be sent."""
        return self.per_minute is None and self.per_second is None and self.per_day is None

    @property
    def most_counted(self) -> int:
        """How many of the messages that were sent have to be remembered."""
        return max(self.per_minute or 0, self.per_second or 0, self.per_day or 0, 1)


class Notifier(Protocol):
    """What a user's own code calls."""

    def send(self, title: str, content: str, level: str = "info") -> Reply:
        """Send a message of one's own, at once."""


class Channel(Notifier, Protocol):
    """What the dispatcher calls. A channel never raises for what a network or a provider does: it returns a `Reply`.

    Attributes:
        name: As the user knows it (`email`, `dingtalk`, or what the settings call it); unique among the settings.
        limits: What the provider allows.
    """

    name: str
    limits: Limits

    def deliver(self, message: Message) -> Reply:
        """Send a message; blocks no longer than its time-out (10 s)."""

    def preview(self, message: Message) -> str:
        """Return what would be sent, for people: the payload with every secret masked."""


class BaseChannel:
    """A channel's `send`, in terms of its `deliver`.

    Attributes:
        endpoint: Of `endpoint_of`: what the provider counts by. Channels with the same one share its limits, in all
            processes of a user; "" shares with nobody.
        for_programs: Whether programs read what it sends, rather than people.
    """

    name: str
    limits: Limits
    endpoint: str = ""
    for_programs: bool = False

    def deliver(self, message: Message) -> Reply:
        """Send a message; see `Channel`."""
        raise NotImplementedError

    def preview(self, message: Message) -> str:
        """Return what would be sent; see `Channel`."""
        raise NotImplementedError

    def send(self, title: str, content: str, level: str = "info") -> Reply:
        """Send a message of one's own, at once; what the provider allows counts, as for every other message.

        Args:
            title: One line.
            content: Plain text.
            level: `info`, `warning` or `critical`.

        Returns:
            What became of it. With `retry` it was not sent and nobody sends it later: do it again, not before
            `retry_after_s`.

        Raises:
            ValueError: There is no such level.
        """
        from parallel_ml.notify.endpoint import delivered_now  # noqa: PLC0415 - it takes channels

        return delivered_now(self, own_message(title, content, level))


def endpoint_of(kind: str, *parts: str | Secret | None) -> str:
    """Return a name for a robot or an account that does not give away what it is made of, fit for a file.

    >>> endpoint_of("dingtalk", Secret("https://...")) == endpoint_of("dingtalk", "https://...")
    True
    """
    told = [kind, *("" if part is None else Secret(part).reveal() for part in parts)]
    return hashlib.sha256("\0".join(["parallel_ml endpoint", *told]).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def own_message(title: str, content: str, level: str = "info") -> Message:
    """Return a message with a user's own words.

    Raises:
        ValueError: There is no such level.
    """
    now = time.time()
    return Message(f"own-{now:.6f}-{secrets.token_hex(4)}", Kind.OWN, Level(level), title, (Text(content),), now)
