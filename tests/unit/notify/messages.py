"""Messages for tests of channels."""

from __future__ import annotations

from parallel_ml.notify.message import Excerpt, Facts, Kind, Level, Message, Text

HOSTILE = 'a\udc80b\x1b[31m <at id=all></at> <@all> [x](javascript:1) **"\\\n'


def own(title: str = "Backup", content: str = "The data set is copied.", level: Level = Level.INFO) -> Message:
    """Return a message with a user's own words."""
    return Message("own-1", Kind.OWN, level, title, (Text(content),), 1_700_000_000.0)


def huge(character: str = "损") -> Message:
    """Return a message far beyond what any provider takes, in its title too."""
    lines = tuple(f"{number} {character * 400}" for number in range(60))
    return Message(
        "huge-1",
        Kind.FAILED,
        Level.CRITICAL,
        f"mnist failed {character * 500}",
        (Text(character * 3000), Facts((("loss", character * 2000),)), Excerpt("Last lines", lines)),
    )


def hostile() -> Message:
    """Return a message from a job that means ill."""
    return Message(
        "hostile-1", Kind.FAILED, Level.CRITICAL, HOSTILE, (Text(HOSTILE), Excerpt("Last lines", (HOSTILE,)))
    )
