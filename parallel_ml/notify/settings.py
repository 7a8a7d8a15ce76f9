"""What a user asks for in `notifications:`, checked. `parallel_ml.config.notifications` reads it from files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from parallel_ml.notify.message import Kind, Level

LANGUAGES = ("en", "zh")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class QuietHours:
    """A part of each day in which nobody is disturbed, in the machine's local time; it may go past midnight.

    Attributes:
        start: The minute of the day with which it begins.
        end: The minute of the day with which it is over.
        let_through: Messages of this level and above are sent all the same; None lets none through.
    """

    start: int
    end: int
    let_through: Level | None = Level.CRITICAL

    def holds(self, minute: int) -> bool:
        """Whether a minute of the day (0 to 1439) is quiet.

        >>> night = QuietHours(22 * 60, 7 * 60)
        >>> night.holds(23 * 60), night.holds(6 * 60 + 59), night.holds(7 * 60)
        (True, True, False)
        """
        return (minute - self.start) % _DAY_MINUTES < (self.end - self.start) % _DAY_MINUTES

    def holds_back(self, level: Level, minute: int) -> bool:
        """Whether a message of a level has to wait at a minute of the day."""
        return self.holds(minute) and (self.let_through is None or level.rank < self.let_through.rank)

    @property
    def ends_at(self) -> str:
        """The time of the day at which it is over, as `07:00`."""
        return f"{self.end // 60:02}:{self.end % 60:02}"

    def minutes_left(self, minute: int) -> int:
        """Return how long it still is quiet, in minutes; 0 where it is not."""
        return (self.end - minute) % _DAY_MINUTES if self.holds(minute) else 0


@dataclass(frozen=True)
class ChannelSettings:
    """One channel.

    Attributes:
        name: As the user knows it; unique among the settings.
        type: What `registry.channel_types()` knows.
        options: What the channel's class takes as keyword arguments; secrets are `Secret`.
        min_severity: Messages below this level are not for it.
        quiet_hours: When it is left alone, or None.
        language: `en` or `zh`: that of the messages for it.
        jobs: The jobs that it hears of, beside what is about the whole run; none is all.
    """

    name: str
    type: str
    options: Mapping[str, object] = field(default_factory=dict)
    min_severity: Level = Level.INFO
    quiet_hours: QuietHours | None = None
    language: str = "en"
    jobs: frozenset[str] = frozenset()

    def is_same(self, other: ChannelSettings) -> bool:
        """Whether another one is the same but for its name and jobs."""
        return replace(self, name="", jobs=frozenset()) == replace(other, name="", jobs=frozenset())

    def also_about(self, other: ChannelSettings) -> ChannelSettings:
        """Return it for the jobs of another one too."""
        return replace(self, jobs=self.jobs | other.jobs if self.jobs and other.jobs else frozenset())


@dataclass(frozen=True)
class NotificationSettings:
    """All of a `notifications:` section.

    Attributes:
        channels: Those that are switched on, in the order of the file.
        language: `en` or `zh`: that of the channels that have none of their own.
        links: Labels with URL patterns; `{run}` and `{job}` stand for their names.
        templates: The user's own templates, by the kind of message they are for.
        warnings: What is allowed and probably not meant (a password in a file that others can read), a line each.
        secret_files: The paths of files that hold nothing but a secret.
    """

    channels: tuple[ChannelSettings, ...] = ()
    language: str = "en"
    links: tuple[tuple[str, str], ...] = ()
    templates: Mapping[Kind, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    secret_files: tuple[str, ...] = ()

    def about(self, jobs: Iterable[str]) -> NotificationSettings:
        """Return these settings for channels that hear of these jobs; none is all."""
        only = frozenset(jobs)
        return replace(self, channels=tuple(replace(channel, jobs=only) for channel in self.channels))

    def joined(self, others: Iterable[NotificationSettings]) -> NotificationSettings:
        """Return these settings with the channels of others added: the same one once, each under a name of its own.

        One that several ask for hears of the jobs of all of these.
        """
        channels, warnings = list(self.channels), list(self.warnings)
        links, templates, secret_files = dict(self.links), dict(self.templates), list(self.secret_files)
        for other in others:
            for channel in other.channels:
                at = next((at for at, known in enumerate(channels) if known.is_same(channel)), None)
                if at is None:
                    channels.append(channel)
                else:
                    channels[at] = channels[at].also_about(channel)
            warnings += [warning for warning in other.warnings if warning not in warnings]
            links = {**dict(other.links), **links}
            templates = {**other.templates, **templates}
            secret_files += other.secret_files
        return replace(
            self,
            channels=with_unique_names(channels),
            links=tuple(links.items()),
            templates=templates,
            warnings=tuple(warnings),
            secret_files=tuple(dict.fromkeys(secret_files)),
        )


def with_unique_names(channels: Iterable[ChannelSettings]) -> tuple[ChannelSettings, ...]:
    """Return the same channels, those whose name is taken renamed to `name-2`, `name-3` ..."""
    given = list(channels)
    wanted = {channel.name for channel in given}
    taken: set[str] = set()
    unique = []
    for channel in given:
        name, number = channel.name, 1
        while name in taken or (number > 1 and name in wanted):
            number += 1
            name = f"{channel.name}-{number}"
        taken.add(name)
        unique.append(replace(channel, name=name))
    return tuple(unique)
