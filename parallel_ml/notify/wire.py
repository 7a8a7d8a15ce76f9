"""A message as JSON values and back: for the outbox, and for webhooks."""

from __future__ import annotations

import json
from typing import Any

from parallel_ml.notify.message import Block, Excerpt, Facts, Kind, Level, Links, Message, Table, Text


def message_to_dict(message: Message) -> dict[str, Any]:
    """Return a message as JSON values; what `data` holds that JSON has no value for becomes its text."""
    return {
        "id": message.id,
        "kind": message.kind.value,
        "level": message.level.value,
        "title": message.title,
        "blocks": [_block_to_dict(block) for block in message.blocks],
        "created": message.created,
        "run": message.run,
        "job": message.job,
        "data": json.loads(json.dumps(message.data, default=str)),
    }


def message_from_dict(told: dict[str, Any]) -> Message:
    """Return the message that `message_to_dict` was given.

    Raises:
        KeyError, TypeError, ValueError: It is not one.
    """
    return Message(
        id=str(told["id"]),
        kind=Kind(told["kind"]),
        level=Level(told["level"]),
        title=str(told["title"]),
        blocks=tuple(_block_from_dict(block) for block in told["blocks"]),
        created=float(told["created"]),
        run=told["run"],
        job=told["job"],
        data=dict(told["data"]),
    )


def _block_to_dict(block: Block) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"text": block.text}
    if isinstance(block, Excerpt):
        return {"excerpt": block.title, "lines": list(block.lines)}
    if isinstance(block, Table):
        return {"header": list(block.header), "rows": [list(row) for row in block.rows], "marked": block.marked}
    name = "facts" if isinstance(block, Facts) else "links"
    return {name: [list(row) for row in block.rows]}


def _block_from_dict(told: dict[str, Any]) -> Block:
    if "text" in told:
        return Text(str(told["text"]))
    if "excerpt" in told:
        return Excerpt(str(told["excerpt"]), tuple(map(str, told["lines"])))
    if "header" in told:
        rows = tuple(tuple(map(str, row)) for row in told["rows"])
        return Table(tuple(map(str, told["header"])), rows, told["marked"])
    if "facts" in told:
        return Facts(tuple((str(label), str(value)) for label, value in told["facts"]))
    return Links(tuple((str(label), str(url)) for label, url in told["links"]))
