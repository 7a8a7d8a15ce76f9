"""What robots put around a message, and how all of it fits into what a provider takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from parallel_ml.notify.escape import clean, cut
from parallel_ml.notify.http import json_bytes
from parallel_ml.notify.message import Message

_TITLE = 100
"""Characters of a title that goes beside the text (a list of chats, the head of a card)."""

_NOTHING = "…"
"""Stands for an empty text, which every provider refuses."""


def short_title(message: Message) -> str:
    """Return a message's title for a field of its own: one line, of a length that every provider takes."""
    title = clean(message.title).strip() or _NOTHING
    return title if len(title) <= _TITLE else cut(title, _TITLE - 1) + "…"


def members(given: object) -> tuple[str, ...]:
    """Return the names in a setting that holds one or several, text or numbers.

    >>> members(13800138000), members(["a", "b"]), members(())
    (('13800138000',), ('a', 'b'), ())
    """
    several = given if isinstance(given, (list, tuple, set, frozenset)) else [given]
    return tuple(name for name in (str(one).strip() for one in several if one is not None) if name)


def text_within(
    render: Callable[[int], str], max_bytes: int, *, below: Iterable[str] = (), keyword: str | None = None
) -> str:
    """Return a rendered text with paragraphs below it, together at most `max_bytes` in UTF-8.

    Args:
        render: Renders a message into so many bytes.
        max_bytes: The size of all of it.
        below: What must be there in full and as it is (mentions); empty ones are left out.
        keyword: Goes there too where the text lacks it: its robot drops a message that does not hold it as it is.
    """
    parts = [part for part in below if part]
    text = _joined(render, parts, max_bytes)
    if not text.strip() and not keyword:
        return _NOTHING
    return text if not keyword or keyword in text else _joined(render, [*parts, keyword], max_bytes)


def _joined(render: Callable[[int], str], parts: list[str], max_bytes: int) -> str:
    below = "".join(f"\n\n{part}" for part in parts)
    return (render(max(0, max_bytes - len(below.encode("utf-8", "replace")))) + below).lstrip("\n")


def payload_within(text_of: Callable[[int], str], wrap: Callable[[str], Any], max_bytes: int) -> Any:
    """Return the payload whose JSON takes at most `max_bytes`.

    Args:
        text_of: Returns the text in so many bytes.
        wrap: Returns the payload with a text.
        max_bytes: The size of the body.
    """
    room = most = max(0, max_bytes - len(json_bytes(wrap(""))))
    while True:
        text = text_of(room)
        payload = wrap(text)
        taken = len(json_bytes(payload)) - max_bytes + most
        if taken <= most or room == 0:
            return payload
        # JSON needs more bytes than the text has: two for a line break or a quote, six for a control character.
        room = min(room - 1, len(text.encode("utf-8", "replace")) * most // taken)
