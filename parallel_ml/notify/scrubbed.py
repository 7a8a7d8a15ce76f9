"""A message without secrets, wherever in it a job's words stand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from parallel_ml.notify.message import Block, Excerpt, Facts, Links, Message, Table, Text
from parallel_ml.notify.scrub import Scrubber


def scrubbed(message: Message, scrubber: Scrubber) -> Message:
    """Return the message with every text scrubbed; links stay, since the user wrote them to be sent."""
    return replace(
        message,
        title=scrubber.line(message.title),
        blocks=tuple(_block(block, scrubber) for block in message.blocks),
        data={name: _value(value, scrubber) for name, value in message.data.items()},
    )


def _block(block: Block, scrubber: Scrubber) -> Block:
    if isinstance(block, Text):
        return Text("\n".join(scrubber.lines(block.text.split("\n"))))
    if isinstance(block, Excerpt):
        return Excerpt(block.title, tuple(scrubber.lines(block.lines)))
    if isinstance(block, Table):
        return replace(block, rows=tuple(tuple(map(scrubber.line, row)) for row in block.rows))
    if isinstance(block, Links):
        return block
    return Facts(tuple((scrubber.line(label), scrubber.line(value)) for label, value in block.rows))


def _value(value: Any, scrubber: Scrubber) -> Any:
    if isinstance(value, str):
        return "\n".join(scrubber.lines(value.split("\n")))
    return value
