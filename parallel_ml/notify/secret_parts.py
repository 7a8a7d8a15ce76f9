"""The parts of a secret that are secrets by themselves: the key in a robot's URL, the password in a mail server's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from parallel_ml.notify.secret import Secret

_LEAST_IN_A_PATH = 8
_LEAST_IN_A_QUERY = 6
_LONG = 20
_DIGIT = re.compile(r"\d")
_LETTER = re.compile(r"[A-Za-z]")


def secrets_in(value: object) -> list[str]:
    """Return the texts of every secret in the settings of channels, however deep it stands."""
    if isinstance(value, Secret):
        return [value.reveal()]
    if isinstance(value, Mapping):
        return [text for one in value.values() for text in secrets_in(one)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [text for one in value for text in secrets_in(one)]
    return []


def parts_of(secret: str) -> set[str]:
    """Return a secret, its lines, and of a URL what opens a door by itself.

    >>> sorted(parts_of("https://robot.example.com/send?access_token=0a1b2c3d&lang=en"))
    ['0a1b2c3d', 'https://robot.example.com/send?access_token=0a1b2c3d&lang=en']
    """
    found = {secret, *secret.splitlines()}
    for line in list(found):
        if "://" in line:
            for part in _of_a_url(line.strip()):
                plain = unquote(part)
                found |= {part, plain, quote(plain, safe="")}
    return found


def _of_a_url(url: str) -> Iterator[str]:
    try:
        pieces = urlsplit(url)
    except ValueError:  # an address in square brackets that is none
        return
    door, _, place = pieces.netloc.rpartition("@")
    if door:
        yield door
        user, colon, password = door.partition(":")
        # Where a password follows, the user is a name that stands everywhere; alone it is the key.
        yield password if colon else user
    if pieces.scheme not in ("http", "https"):  # Apprise writes tokens where others have a host
        yield from (part for part in (place, *re.split(r"[:/]", door), *place.split(":")) if _is_key(part))
    yield from (part for part in pieces.path.split("/") if _is_key(part))
    for pair in pieces.query.split("&"):
        value = pair.partition("=")[2]
        if len(value) >= _LEAST_IN_A_QUERY and (_DIGIT.search(value) or len(value) >= _LONG):
            yield value
    named = (value for name, value in parse_qsl(pieces.query) if _OPENS.search(name))
    yield from (value for value in named if len(value) >= _LEAST_IN_A_QUERY)


_OPENS = re.compile(r"token|key|sign?$|secret|pass|pwd|auth|code|hash", re.IGNORECASE)


def _is_key(part: str) -> bool:
    """Whether a part of a path was made by a machine: long, and letters with digits, as no word and no number is."""
    text = unquote(part)
    if len(text) < _LEAST_IN_A_PATH or "." in text:
        return False
    return bool(_DIGIT.search(text) and _LETTER.search(text)) or (len(text) >= _LONG and "-" not in text)
