"""The commented configuration that `init` writes: every key with a line on it. `config/config.yaml` is a copy of it."""

from __future__ import annotations

import os
from pathlib import Path

from parallel_ml.config.notifications import FILE_NAME
from parallel_ml.config.notifications import template as notifier_template
from parallel_ml.errors import StoreError

PLACE = Path("config", "config.yaml")
"""Where a configuration is looked for if none is named."""


def template() -> str:
    """Return the text."""
    return Path(__file__).with_name("template.yaml").read_text(encoding="utf-8")


def write_templates(folder: Path) -> list[tuple[Path, bool]]:
    """Write the configuration and the settings for messages; what is there is left as it is.

    Returns:
        Each file, and whether it was written.

    Raises:
        StoreError: One could not be written.
    """
    notifier = folder / FILE_NAME
    return [
        (path, _write_new(path, text, mode))
        for path, text, mode in (
            (folder / PLACE, template(), 0o666),
            (notifier, notifier_template(), 0o600),  # passwords will stand in it
        )
    ]


def _write_new(path: Path, text: str, mode: int) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        if path.parent.is_dir():
            return False
        raise StoreError(path.parent, "making folder", "there is a file of that name") from None
    except OSError as error:
        raise StoreError(path, "writing", error.strerror or str(error)) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode())
    except OSError as error:
        path.unlink(missing_ok=True)  # half a configuration is worse than none
        raise StoreError(path, "writing", error.strerror or str(error)) from error
    return True
