"""The commented configuration that `init` writes: every key with a line on it. `config/config.yaml` is a copy of it."""

from __future__ import annotations

import os
from pathlib import Path

from parallel_ml.errors import StoreError

PLACE = Path("config", "config.yaml")
"""Where a configuration is looked for if none is named."""


def template() -> str:
    """Return the text."""
    return Path(__file__).with_name("template.yaml").read_text(encoding="utf-8")


def write_template(folder: Path) -> tuple[Path, bool]:
    """Write the configuration under `folder`, whose own folders are made; a file that is there is left as it is.

    Returns:
        The file, and whether it was written.

    Raises:
        StoreError: It could not be written.
    """
    path = folder / PLACE
    data = template().encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        if path.parent.is_dir():
            return path, False
        raise StoreError(path.parent, "making folder", "there is a file of that name") from None
    except OSError as error:
        raise StoreError(path, "writing", error.strerror or str(error)) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
    except OSError as error:
        path.unlink(missing_ok=True)  # half a configuration is worse than none
        raise StoreError(path, "writing", error.strerror or str(error)) from error
    return path, True
