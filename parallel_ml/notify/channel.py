"""The port of all ways to reach a person: a channel delivers a message and says plainly what became of it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Protocol

from parallel_ml.core.outcome import StrEnum
from parallel_ml.notify.message import Kind, Level, Message, Text


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
    """A channel's `send`, in terms of its `deliver`."""

    name: str
    limits: Limits

    def deliver(self, message: Message) -> Reply:
        """Send a message; see `Channel`."""
        raise NotImplementedError

    def send(self, title: str, content: str, level: str = "info") -> Reply:
        """Send a message of one's own, at once.

        Args:
            title: One line.
            content: Plain text.
            level: `info`, `warning` or `critical`.

        Raises:
            ValueError: There is no such level.
        """
        return self.deliver(own_message(title, content, level))


def own_message(title: str, content: str, level: str = "info") -> Message:
    """Return a message with a user's own words.

    Raises:
        ValueError: There is no such level.
    """
    now = time.time()
    return Message(f"own-{now:.6f}-{secrets.token_hex(4)}", Kind.OWN, Level(level), title, (Text(content),), now)
