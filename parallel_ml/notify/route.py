"""Which messages go to a channel, and what is told of those that did not arrive."""

from __future__ import annotations

from dataclasses import dataclass

from parallel_ml.notify.channel import Channel
from parallel_ml.notify.message import Level, Message
from parallel_ml.notify.settings import QuietHours


@dataclass(frozen=True)
class Route:
    """A channel, and what of the messages is for it.

    Attributes:
        min_severity: Messages below it are not for this channel.
        quiet_hours: When it is left alone, or None.
        language: Messages in another language are not for it; those in none are.
        name: What outbox and user know it by; "" is the channel's own name.
        jobs: The jobs that it hears of, beside what is about the whole run; none is all.
    """

    channel: Channel
    min_severity: Level = Level.INFO
    quiet_hours: QuietHours | None = None
    language: str = "en"
    name: str = ""
    jobs: frozenset[str] = frozenset()

    def takes(self, message: Message) -> bool:
        """Whether a message is for this channel."""
        if self.jobs and message.job is not None and message.job not in self.jobs:
            return False
        language = message.data.get("language")
        return message.level.rank >= self.min_severity.rank and language in (None, self.language)


@dataclass(frozen=True)
class Undelivered:
    """What did not reach a person through a channel.

    Attributes:
        count: How many messages.
        reason: Why, in a sentence.
        waiting: Whether they are kept and tried again at the next start; else they are given up.
        quiet_until: When the quiet hours end for which they wait (`07:00`), or "".
    """

    channel: str
    count: int
    reason: str
    waiting: bool
    quiet_until: str = ""

    @property
    def line(self) -> str:
        """Say so in a line.

        >>> Undelivered("phone", 2, "quiet hours", waiting=True, quiet_until="07:00").line
        '2 messages by phone wait for 07:00 (quiet hours)'
        """
        what = f"{self.count} message{'' if self.count == 1 else 's'} by {self.channel}"
        if self.quiet_until:
            return f"{what} wait{'s' if self.count == 1 else ''} for {self.quiet_until} ({self.reason})"
        return f"{what} not sent: {self.reason}"
