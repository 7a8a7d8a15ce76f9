"""The files of a job, and which of them are given away: what it has left, never its configuration or environment."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from parallel_ml.adapters.web.parts import Parts
from parallel_ml.adapters.web.problems import not_found
from parallel_ml.config.kept import read_config
from parallel_ml.store.layout import JobLayout, RunLayout

MOST_FILES = 10_000
_LEFT = ("history.json", "log.1.jsonl", "log.jsonl", "metrics.jsonl", "result.json")
_FOLDER = "checkpoints"


def files_of(server: Parts, run: str, job: str) -> JobLayout:
    """Return where the files of a job are.

    Raises:
        Problem: There is no such job.
    """
    with server.runs.opened(run) as client:
        if job not in client.job_names:
            raise not_found(f"run {run} has no job {job}")
        return RunLayout(client.dir).job(job)


def configs_of(server: Parts, run: str, most: int) -> dict[str, dict[str, Any]]:
    """Return what is written in the configurations of a run's first jobs, by their names."""
    with server.runs.opened(run) as client:
        names, layout = client.job_names[:most], RunLayout(client.dir)
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        if told := read_config(layout.job(name).dir):
            found[name] = told
    return found


def artifacts_of(files: JobLayout) -> list[dict[str, Any]]:
    """Return the files that a job has left."""
    found = []
    for path in _paths(files):
        try:
            look = os.lstat(files.dir / path)
        except OSError:
            continue
        if stat.S_ISREG(look.st_mode):
            modified = datetime.fromtimestamp(look.st_mtime, timezone.utc).isoformat(timespec="seconds")
            found.append({"path": path, "bytes": look.st_size, "modified": modified})
        if len(found) >= MOST_FILES:
            break
    return found


def find_artifact(files: JobLayout, path: str) -> Path:
    """Return a file that a job has left.

    Raises:
        Problem: There is none of this name, or it is a link.
    """
    parts = path.split("/")
    named = parts[0] == _FOLDER and len(parts) > 1 if len(parts) > 1 else path in _LEFT
    if not named or any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise not_found(f"the job has no artifact {path[:200]!r}")
    return _regular(files.dir, path)


def find_report(server: Parts, run: str, form: str) -> Path:
    """Return a report of a run.

    Raises:
        Problem: There is none yet.
    """
    with server.runs.opened(run) as client:
        path = RunLayout(client.dir).report(form)
    return _regular(path.parent, path.name)


def _paths(files: JobLayout) -> Iterator[str]:
    yield from _LEFT
    for folder, folders, names in os.walk(files.dir / _FOLDER):  # links are not followed
        folders.sort()
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), files.dir)  # noqa: PTH118


def _regular(folder: Path, path: str) -> Path:
    """Return a plain file below a folder that no link leads to.

    Raises:
        Problem: It is none.
    """
    try:
        real = folder.resolve(strict=True)
        found = (real / path).resolve(strict=True)
        plain = found == real / path and stat.S_ISREG(os.lstat(found).st_mode)
    except (OSError, RuntimeError, ValueError):
        plain = False
    if not plain:
        raise not_found(f"there is no file {path[:200]!r}")
    return found
