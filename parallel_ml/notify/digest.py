"""Many messages as one: how many of which kind, the worst first."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from parallel_ml.notify.message import Block, Excerpt, Facts, Kind, Level, Message, Text
from parallel_ml.notify.words import word

MOST_ROWS = 20
_LONGEST_DETAIL = 160


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
    runs = {message.run for message in messages}
    identity = hashlib.sha256("\0".join(message.id for message in messages).encode()).hexdigest()[:20]
    return Message(
        id=f"digest-{identity}",
        kind=Kind.DIGEST,
        level=level,
        title=_title(counts, language),
        blocks=_blocks(messages, rows, sum(counts.values()), language),
        created=created,
        run=runs.pop() if len(runs) == 1 else None,
        data={"counts": counts, "rows": rows, "language": language},
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
    return [{"rank": message.level.rank, "about": about, "kind": message.kind.value, "detail": detail}]


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


def _blocks(
    messages: Sequence[Message], rows: Sequence[dict[str, Any]], total: int, language: str
) -> tuple[Block, ...]:
    colon = word("colon", language)
    told = tuple((word(f"kind_{row['kind']}", language), str(row["detail"])) for row in rows)
    facts = tuple(colon.join(filter(None, one)) for one in told)
    blocks: list[Block] = [Facts(tuple((str(row["about"]), fact) for row, fact in zip(rows, facts, strict=True)))]
    if total > len(rows) >= MOST_ROWS:
        blocks.append(Text(word("more", language, count=total - len(rows))))
    worst = max(messages, key=lambda message: message.level.rank)
    if worst.level is Level.CRITICAL:
        about = worst.job + word("colon", language) if worst.job and worst.kind is not Kind.DIGEST else ""
        excerpts = [block for block in worst.blocks if isinstance(block, Excerpt)]
        blocks += [Excerpt(f"{about}{excerpt.title}", excerpt.lines) for excerpt in excerpts[:1]]
    return tuple(blocks)
