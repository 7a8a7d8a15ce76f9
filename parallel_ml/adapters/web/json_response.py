"""JSON as the server answers it: what is not finite is null, and half a surrogate pair is no reason to fail."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import Response


class JsonResponse(Response):
    """An object as JSON, in ASCII alone."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return as_json(content).encode("ascii")


class ProblemResponse(JsonResponse):
    """What went wrong (RFC 9457)."""

    media_type = "application/problem+json"


def as_json(value: Any) -> str:
    """Return a value in one line."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
