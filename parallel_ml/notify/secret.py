"""Texts that nobody may read by accident: passwords, tokens, and URLs that hold one."""

from __future__ import annotations

import base64
import hmac
import html
import json
from collections.abc import Iterable
from typing import NoReturn
from urllib.parse import quote, quote_plus, urlsplit

MASK = "***"


class Secret:
    """A text whose `repr`, `str` and `format` are `***`; `reveal()` alone gives it away.

    It can be compared and copied, and neither pickled nor written as JSON.

    >>> f"{Secret('hunter2')} {Secret('hunter2')!r}", Secret("hunter2").reveal()
    ('*** ***', 'hunter2')
    """

    __slots__ = ("_text",)

    def __init__(self, text: str | Secret) -> None:
        """Keep a text; a secret of a secret is the same one."""
        self._text: str = text.reveal() if isinstance(text, Secret) else text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        """Return the mask."""
        return MASK

    def __str__(self) -> str:
        """Return the mask."""
        return MASK

    def __format__(self, how: str) -> str:
        """Return the mask, laid out as asked."""
        return format(MASK, how)

    def __bool__(self) -> bool:
        """Whether there is any text."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Compare in a time that tells nothing of the text."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._text), _bytes(other._text))

    def __hash__(self) -> int:
        """Return Python's own hash, which is another one in each process."""
        return hash(self._text)

    def __copy__(self) -> Secret:
        """Return the same object: it never changes."""
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        """Return the same object: it never changes."""
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        """Refuse to be pickled: a pickle is a file or a message that others read.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a secret is not pickled")


def mask(text: str, secrets: Iterable[Secret | str | None]) -> str:
    """Return a text with `***` for every secret in it, also where the secret is quoted for a URL, JSON, HTML or base64.

    >>> mask("GET /?key=a%2Fb failed", [Secret("a/b")])
    'GET /?key=*** failed'
    """
    forms = {form for secret in secrets if secret for form in _forms(Secret(secret).reveal()) if form}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def shown_url(url: Secret | str) -> str:
    """Return a URL for people: its host, and nothing that could be a token.

    >>> shown_url("https://user:pw@hooks.example.com:8443/T0/B1/xyz?access_token=1")
    'https://hooks.example.com:8443/***'
    """
    try:
        parts = urlsplit(Secret(url).reveal())
        host, port = parts.hostname, parts.port
    except ValueError:
        return MASK
    if not host:
        return MASK
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{place}{f':{port}' if port else ''}/{MASK}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _forms(text: str) -> Iterable[str]:
    """Yield the ways in which a text may stand in a log, a URL or a payload."""
    data = _bytes(text)
    yield text
    yield from (quote(data), quote(data, safe=""), quote_plus(data))
    yield repr(text)[1:-1]
    yield json.dumps(text)[1:-1]
    yield html.escape(text)
    yield base64.b64encode(data).decode()
