"""The list of all runs, in brief. What has finished is read once: a server may show thousands, again and again."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from parallel_ml.adapters.web.settings import ServerSettings
from parallel_ml.errors import StoreError
from parallel_ml.runtime.client import UNREADABLE, RunClient
from parallel_ml.store.runs import run_layouts, runs_folder

FINISHED = frozenset({"completed", "failed", "stopped", UNREADABLE})


@dataclass
class _Known:
    """A run as it was when it was looked at last; `client` is None where nothing more is expected of it."""

    look: tuple[int, int]
    brief: dict[str, Any]
    client: RunClient | None


class Listing:
    """All runs, newest first."""

    def __init__(self, settings: ServerSettings) -> None:
        """Know none yet."""
        self._settings = settings
        self._known: dict[Path, _Known] = {}
        self._lock = threading.Lock()

    def runs(self) -> list[dict[str, Any]]:
        """Return what there is to say of each run in a line."""
        settings = self._settings
        folder = runs_folder(settings.runs_dir, settings.environ, settings.root)
        with self._lock:
            dirs = [layout.dir for layout in run_layouts(folder, settings.environ, damaged=True)]
            self._known = {path: self._look_at(path) for path in dirs}
            return [_aged(known.brief) for known in self._known.values()]

    def _look_at(self, path: Path) -> _Known:
        try:
            found = os.stat(path / "events.jsonl")  # noqa: PTH116
            look = found.st_size, found.st_mtime_ns
        except OSError:
            look = -1, 0
        known = self._known.get(path)
        if known is not None and known.look == look and known.client is None:
            return known
        client = known.client if known else None
        try:
            client = client or RunClient(path)
            brief = _brief(client)
        except StoreError as error:
            client, brief = None, _unreadable(path, error)
        is_over = brief["state"] in FINISHED and brief["supervisor"] == "gone"
        return _Known(look, brief, None if is_over else client)


def _brief(client: RunClient) -> dict[str, Any]:
    status = client.status_of([])
    counts = Counter(client.job_states().values())
    return {
        "run": status.run,
        "name": status.name,
        "dir": status.dir,
        "state": status.state,
        "supervisor": status.supervisor,
        "created": status.created,
        "as_of": status.as_of,
        "as_of_age_s": status.as_of_age_s,
        "jobs": sum(counts.values()),
        "states": dict(counts),
    }


def _aged(brief: dict[str, Any]) -> dict[str, Any]:
    if brief["as_of"] is None or brief["supervisor"] == "running":
        return brief
    age_s = time.time() - datetime.fromisoformat(brief["as_of"]).timestamp()
    return {**brief, "as_of_age_s": round(max(0.0, age_s), 1)}


def _unreadable(path: Path, error: StoreError) -> dict[str, Any]:
    return {
        "run": path.name,
        "name": "",
        "dir": str(path),
        "state": UNREADABLE,
        "supervisor": "gone",
        "created": None,
        "as_of": None,
        "as_of_age_s": None,
        "jobs": 0,
        "states": {},
        "error": str(error),
    }
