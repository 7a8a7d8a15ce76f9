"""The token that every request must bring: `$PARALLEL_ML_TOKEN`, else one that is made once and kept in a file."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from parallel_ml.errors import StoreError, UsageError
from parallel_ml.store.files import make_dir, store_errors
from parallel_ml.store.state_folder import state_folder

VARIABLE = "PARALLEL_ML_TOKEN"
LEAST_CHARACTERS = 16
_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
"""What an Authorization header and a WebSocket's subprotocol can both say (RFC 6750, RFC 9110)."""


def token_path(environ: Mapping[str, str]) -> Path:
    """Return where the token is kept."""
    return state_folder(environ) / "server-token"


def read_token(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the token and where it comes from; one is made where there is none yet.

    Raises:
        UsageError: It is too weak, or others can read it.
        StoreError: It could not be read or written.
    """
    named = environ.get(VARIABLE)
    if named is not None:
        return _checked(named, f"${VARIABLE}"), f"${VARIABLE}"
    path = token_path(environ)
    made = _make(path)
    return _checked(made or _read(path), str(path)), str(path)


def _make(path: Path) -> str | None:
    """Write a new token; None where there is one."""
    make_dir(path.parent, mode=0o700)
    token = secrets.token_urlsafe(_BYTES)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with store_errors(path, "writing"):
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(token + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.link(temporary, path)  # of two servers that start at once, one token counts
        except FileExistsError:
            return None
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
    return token


def _read(path: Path) -> str:
    with store_errors(path, "reading"):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise UsageError(f"{path} is not a file of yours", "remove it; a new one is made")
            if found.st_mode & 0o077:
                raise UsageError(f"others can read the token in {path}", "remove it; a new one is made")
            try:
                return stream.read(4096).decode("ascii").strip()
            except UnicodeDecodeError:
                raise StoreError(path, "reading", "this is no token; remove it, and a new one is made") from None


def _checked(token: str, source: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise UsageError(f"the token of {source} must be letters, digits, '.', '_', '~' and '-' alone")
    if len(token) < LEAST_CHARACTERS:
        raise UsageError(f"the token of {source} is too short", f"give at least {LEAST_CHARACTERS} characters")
    return token
