"""Where `notifications:` may stand, and whether anybody asks for messages at all: reading them in full is slow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from parallel_ml.config.env_files import NAME

FILE_NAME = "notifier_config.yaml"
"""What is read from the folder where the command is typed, if it is there."""

KEY = "notifications"
WEBHOOK_VARIABLE, SECRET_VARIABLE = "DINGTALK_WEBHOOK", "DINGTALK_SECRET"


def may_say_something(cwd: Path, environ: Mapping[str, str]) -> bool:
    """Whether a folder or the environment may ask for messages where nobody has named a file."""
    places = (cwd / FILE_NAME, cwd / NAME)
    return WEBHOOK_VARIABLE in environ or any(os.path.lexists(place) for place in places)
