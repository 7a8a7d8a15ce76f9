"""A message to a person: what it says, apart from how any medium shows it. Frozen data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parallel_ml.core.outcome import StrEnum


class Level(StrEnum):
    """How much a message matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the least, 2 for the most."""
        return list(Level).index(self)


class Kind(StrEnum):
    """What a message is about."""

    STARTED = "started"
    NEW_BEST = "new_best"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    OUT_OF_MEMORY = "out_of_memory"
    ALERT = "alert"
    ALERT_RESOLVED = "alert_resolved"
    RUN_DONE = "run_done"
    DIGEST = "digest"
    TEST = "test"
    OWN = "own"


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text; its line breaks count."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Labels with values, a line each."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        header: The titles of its columns.
        rows: As many cells each.
        marked: The row that stands out, from 0, or None.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: int | None = None


@dataclass(frozen=True)
class Excerpt:
    """Lines of a log, to be shown as they are."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Links:
    """Labels with URLs."""

    rows: tuple[tuple[str, str], ...]


Block = Text | Facts | Table | Excerpt | Links


@dataclass(frozen=True)
class Message:
    """One message. All texts are plain, and may hold anything that a job printed: each renderer escapes for its medium.

    Attributes:
        id: Unique; a message with the same id is the same message.
        title: One line.
        blocks: What it says, in order.
        created: Seconds since the epoch.
        run: The run's id, or None.
        job: The job's name, or None where it is about more than one.
        data: The same facts for programs (webhooks), JSON values.
    """

    id: str
    kind: Kind
    level: Level
    title: str
    blocks: tuple[Block, ...] = ()
    created: float = 0.0
    run: str | None = None
    job: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
