"""The kinds of values that a configuration has: each reads what people write, or says in plain words what it takes.

Every function here either returns the value or raises a ValueError whose text continues "model_training.epochs: ...".
"""

from __future__ import annotations

import difflib
import math
import os
import re
import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from parallel_ml.config.yaml_text import scalar
from parallel_ml.core.units import format_size, parse_duration, parse_size

_SHOWN_CHARACTERS = 40
_QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""")
_OPERATOR = re.compile(r"&&|\|\||[|<>;&]")


def shown(value: Any) -> str:
    """Return a value as it is shown in a message: short, and as YAML has it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    told = repr(value)
    return told if len(told) <= _SHOWN_CHARACTERS else f"{told[:_SHOWN_CHARACTERS]}..."


def nearest(word: str, known: Collection[str]) -> str | None:
    """Return the known word that `word` is most likely a misspelling of, or None."""
    by_lower = {name.lower(): name for name in known}
    begun = [name for lower, name in by_lower.items() if len(word) >= 3 and lower.startswith(word.lower())]
    if len(begun) == 1:
        return begun[0]
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def located(path: str, base: Path) -> Path:
    """Return where a path leads that the user wrote: `~` is the home, and a relative one begins at `base`."""
    return base / os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises for an unknown user


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Return a reader of whole numbers in [low, high]."""

    def read(value: Any) -> int:
        number = _number(value)
        if number is None or not low <= number <= high or number != int(number):
            raise ValueError(f"must be a whole number from {low} to {high}, not {shown(value)}")
        return int(number)

    return read


def number(low: float, high: float, *, above: bool = False, below: bool = False) -> Callable[[Any], float]:
    """Return a reader of numbers in [low, high]; `above` and `below` leave out the end itself."""
    words = (
        f"{'above' if above else 'from'} {low:g} {'and below' if below else 'and up to' if above else 'to'} {high:g}"
    )

    def read(value: Any) -> float:
        found = _number(value)
        if found is None or not low <= found <= high or (above and found == low) or (below and found == high):
            raise ValueError(f"must be a number {words}, not {shown(value)}")
        return float(found)

    return read


def flag(value: Any) -> bool:
    """Read true or false."""
    found = scalar(value) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")  # noqa: TRY004 - pydantic wants ValueError
    return found


def text(value: Any) -> str:
    """Read text; a whole number is taken as the text it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {shown(value)}; put it into quotes")  # noqa: TRY004
    if not value.strip():
        raise ValueError("must not be empty")
    if "\0" in value or "\n" in value:
        raise ValueError("must be text of one line")
    return value


def choice(*known: str) -> Callable[[Any], str]:
    """Return a reader of one of some words, upper or lower case alike."""

    def read(value: Any) -> str:
        return one_of(value, known)

    return read


def one_of(value: Any, known: Collection[str]) -> str:
    """Return the word of `known` that is meant.

    Raises:
        ValueError: It is none of them; the nearest one is named.
    """
    by_lower = {name.lower(): name for name in known}
    if isinstance(value, str) and value.lower() in by_lower:
        return by_lower[value.lower()]
    guess = nearest(value, known) if isinstance(value, str) else None
    words = ", ".join(known)
    raise ValueError(f"must be one of {words}, not {shown(value)}" + (f"; did you mean {guess}?" if guess else ""))


def duration(low: float, high: float) -> Callable[[Any], float]:
    """Return a reader of durations in seconds, in [low, high]; a bare number is seconds."""

    def read(value: Any) -> float:
        try:
            seconds = parse_duration(value)
        except (ValueError, OverflowError):
            seconds = math.nan
        if not low <= seconds <= high:
            raise ValueError(
                f"must be a duration such as 10s, 5m or 2h, not {shown(value)}{_range(seconds, low, high)}"
            )
        return seconds

    return read


def size(low: int, high: int) -> Callable[[Any], int]:
    """Return a reader of sizes in bytes, in [low, high]."""

    def read(value: Any) -> int:
        try:
            found = parse_size(value)
        except (ValueError, OverflowError):
            raise ValueError(f"must be a size such as 4GiB or 512MiB, not {shown(value)}") from None
        if not low <= found <= high:
            limits = f"from {format_size(low)} to {format_size(high)}"
            raise ValueError(f"must be a size {limits}, not {shown(value)}; write the unit, such as 4GiB")
        return found

    return read


def listed(at_most: int = 64) -> Callable[[Any], list[Any]]:
    """Return a reader of lists, a single value being a list of one; the entries are left to be read one by one."""

    def read(value: Any) -> list[Any]:
        items = value if isinstance(value, list) else [value]
        if not 0 < len(items) <= at_most:
            raise ValueError(f"must be a list of 1 to {at_most} values, not of {len(items)}")
        return items

    return read


def command(value: Any) -> list[str]:
    """Read a command: a list of its parts, or one text that is split as a shell would; no shell runs it."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError:
            raise ValueError("has a quote that is not closed") from None
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list such as [python, train.py], or one text")
    for part in value:
        if not isinstance(part, str) or "\0" in part:
            raise ValueError(f"must be a list of texts, and one part is {shown(part)}")
    if not value[0].strip():
        raise ValueError("must begin with the program to run")
    return list(value)


def shell_operator(text: str) -> str | None:
    """Return the first operator of a shell that stands outside quotes, or None.

    >>> shell_operator("cd src && python train.py"), shell_operator("python train.py --note 'a && b'")
    ('&&', None)
    """
    found = _OPERATOR.search(_QUOTED.sub("", text))
    return found[0] if found else None


def mapping(value: Any) -> dict[str, Any]:
    """Read a mapping with free keys; an empty one may be written as nothing."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"must be keys with values, not {shown(value)}")  # noqa: TRY004
    return value


def _number(value: Any) -> int | float | None:
    """Return a number, also one written as text (as `${VARIABLE}` gives it), or None."""
    found = scalar(value.strip()) if isinstance(value, str) else value
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _range(found: float, low: float, high: float) -> str:
    return "" if math.isnan(found) else f"; at least {low:g}s and at most {high:g}s"
