"""Many messages as one: how many of which kind, the worst first."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from parallel_ml.notify.message import Block, Excerpt, Facts, Kind, Level, Message, Text
from parallel_ml.notify.moment import when
from parallel_ml.notify.words import word

MOST_ROWS = 20
_LONGEST_DETAIL = 160
_DETAILS = ("place", "advice")


def digest(messages: Sequence[Message], language: str, created: float) -> Message:
    """Return one message in the place of several; digests among them are taken apart.

    Args:
        messages: At least one, in the order in which they came.
        language: `en` or `zh`.
        created: Seconds since the epoch.
    """
    counts = _counts(messages)
    rows = sorted(_newest_bests(messages), key=lambda row: -row["rank"])[:MOST_ROWS]
    level = max((message.level for message in messages), key=lambda found: found.rank)
    worst = _worst(messages)
    details = {key: str(worst.data.get(key) or "") for key in _DETAILS} if worst is not None else {}
    runs = {message.run for message in messages}
    identity = hashlib.sha256("\0".join(message.id for message in messages).encode()).hexdigest()[:20]
    return Message(
        id=f"digest-{identity}",
        kind=Kind.DIGEST,
        level=level,
        title=_title(counts, language),
        blocks=(*_blocks(rows, sum(counts.values()), language, created), *_excerpt(worst, details, language)),
        created=created,
        run=runs.pop() if len(runs) == 1 else None,
        data={"counts": counts, "rows": rows, "language": language, **details},
    )


def size_of(message: Message) -> int:
    """Return how many messages a message stands for."""
    return sum(_counts([message]).values())


def _counts(messages: Sequence[Message]) -> dict[str, int]:
    """Return how many there are of each kind, the worst kind first."""
    found: Counter[str] = Counter()
    worst: dict[str, int] = {}
    for message in messages:
        parts = message.data.get("counts") if message.kind is Kind.DIGEST else None
        told = parts if isinstance(parts, dict) and parts else {message.kind.value: 1}
        for kind, count in told.items():
            found[kind] += int(count)
            worst[kind] = max(worst.get(kind, 0), message.level.rank)
    return {kind: found[kind] for kind in sorted(found, key=lambda kind: (kind != Kind.FAILED, -worst[kind]))}


def _rows(message: Message) -> list[dict[str, Any]]:
    rows = message.data.get("rows") if message.kind is Kind.DIGEST else None
    if isinstance(rows, list) and rows:
        return rows
    detail = str(message.data.get("summary") or (message.title if message.kind is Kind.OWN else ""))[:_LONGEST_DETAIL]
    about = message.job or message.run or ""
    return [
        {
            "rank": message.level.rank,
            "about": about,
            "kind": message.kind.value,
            "detail": detail,
            "at": message.created,
        }
    ]


def _newest_bests(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the rows of all messages, of each job's new bests only the newest."""
    rows = [row for message in messages for row in _rows(message)]
    last = {row["about"]: at for at, row in enumerate(rows) if row["kind"] == Kind.NEW_BEST}
    return [row for at, row in enumerate(rows) if row["kind"] != Kind.NEW_BEST or last[row["about"]] == at]


def _title(counts: dict[str, int], language: str) -> str:
    told = [(word(f"kind_{kind}", language), count) for kind, count in counts.items()]
    if len(told) == 1 and next(iter(counts)) not in (Kind.OWN, Kind.TEST, Kind.DIGEST):
        return word("digest_alike", language, count=told[0][1], what=told[0][0])
    listed = word("comma", language).join(word("counted", language, count=count, what=what) for what, count in told)
    return word("digest", language, count=sum(counts.values()), counts=listed)


def _blocks(rows: Sequence[dict[str, Any]], total: int, language: str, now: float) -> list[Block]:
    """Return a line for each message that is told of, with its time where it is not of this moment."""
    colon = word("colon", language)
    facts = []
    for row in rows:
        told = colon.join(filter(None, (word(f"kind_{row['kind']}", language), str(row["detail"]))))
        facts.append((str(row["about"]), told + when(float(row.get("at") or 0.0), now, language)))
    blocks: list[Block] = [Facts(tuple(facts))]
    if total > len(rows) >= MOST_ROWS:
        blocks.append(Text(word("more", language, count=total - len(rows))))
    return blocks


def _worst(messages: Sequence[Message]) -> Message | None:
    """Return the critical message that has the most to say: one with lines of a log, of a failure first."""
    telling = [
        message
        for message in messages
        if message.level is Level.CRITICAL and any(isinstance(block, Excerpt) for block in message.blocks)
    ]
    failures = [one for one in telling if Kind.FAILED in (one.kind, *(one.data.get("counts") or ()))]
    return next(iter([*failures, *telling]), None)


def _excerpt(worst: Message | None, details: dict[str, str], language: str) -> list[Block]:
    """Return where a failure happened, what to try, and its last lines."""
    if worst is None:
        return []
    about = worst.job + word("colon", language) if worst.job and worst.kind is not Kind.DIGEST else ""
    rows = tuple((about + word(f"label_{key}", language), text) for key, text in details.items() if text)
    excerpt = next(block for block in worst.blocks if isinstance(block, Excerpt))
    return [*([Facts(rows)] if rows else []), Excerpt(f"{about}{excerpt.title}", excerpt.lines)]
