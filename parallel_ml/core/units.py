"""Sizes and durations as people write them, to bytes and seconds and back."""

from __future__ import annotations

import math
import re

KIB = 1024
MIB = 1024**2
GIB = 1024**3

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": KIB,
    "kb": KIB,
    "kib": KIB,
    "m": MIB,
    "mb": MIB,
    "mib": MIB,
    "g": GIB,
    "gb": GIB,
    "gib": GIB,
    "t": 1024 * GIB,
    "tb": 1024 * GIB,
    "tib": 1024 * GIB,
}
_TIME_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*"


def parse_size(text: str | float) -> int:
    """Return the bytes that a size names; MB and MiB both mean 2**20 bytes, as the tools of the field have it.

    >>> parse_size("4GiB"), parse_size("4000 MB"), parse_size(1024)
    (4294967296, 4194304000, 1024)

    Raises:
        ValueError: The text is not a size.
    """
    value, unit = _split(text, "a size such as 4GiB or 512MiB")
    if unit not in _SIZE_UNITS:
        message = f"{text!r} is not a size such as 4GiB or 512MiB"
        raise ValueError(message)
    return int(value * _SIZE_UNITS[unit])


def parse_duration(text: str | float) -> float:
    """Return the seconds that a duration names; a bare number is seconds. Parts may follow one another.

    >>> parse_duration("90s"), parse_duration("1h30m"), parse_duration(10)
    (90.0, 5400.0, 10.0)

    Raises:
        ValueError: The text is not a duration.
    """
    wanted = "a duration such as 10s, 5m or 2h"
    if isinstance(text, str) and len(parts := re.findall(r"\d+(?:\.\d+)?\s*[a-zA-Z]+", text)) > 1:
        if "".join(parts).replace(" ", "") == text.replace(" ", ""):
            return sum(parse_duration(part) for part in parts)
        message = f"{text!r} is not {wanted}"
        raise ValueError(message)
    value, unit = _split(text, wanted)
    if unit not in _TIME_UNITS:
        message = f"{text!r} is not {wanted}"
        raise ValueError(message)
    return value * _TIME_UNITS[unit]


def format_size(size_bytes: int | None) -> str:
    """Return a size for people, in binary units; "-" where it is not known.

    >>> format_size(8 * GIB), format_size(1536 * MIB), format_size(None)
    ('8GiB', '1.5GiB', '-')
    """
    if size_bytes is None:
        return "-"
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f}".removesuffix(".0") + name
    return f"{size_bytes}B"


def format_duration(seconds: float | None) -> str:
    """Return a duration for people; "-" where it is not known.

    >>> format_duration(4.2), format_duration(75), format_duration(7260)
    ('4.2s', '1m15s', '2h01m')
    """
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _split(text: str | float, wanted: str) -> tuple[float, str]:
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        message = f"{text!r} is not {wanted}"
        raise ValueError(message)  # noqa: TRY004 - callers treat every bad size alike
    if isinstance(text, (int, float)):
        if not math.isfinite(text) or text < 0:
            message = f"{text!r} is not {wanted}"
            raise ValueError(message)
        return float(text), ""
    match = re.fullmatch(_NUMBER, text)
    if match is None:
        message = f"{text!r} is not {wanted}"
        raise ValueError(message)
    value = float(match[1])
    if not math.isfinite(value):
        message = f"{text[:20]!r}... is out of all reason"
        raise ValueError(message)
    return value, match[2].lower()
