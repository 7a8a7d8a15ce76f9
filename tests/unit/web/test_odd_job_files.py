"""A job that replaces its files by what is none costs its own figures, and no other answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.web.serving import RUN, Script, Served

MakeScript = Callable[..., Script]
_FILES = ("metrics.jsonl", "log.jsonl", "log.1.jsonl", "alerts.json", "result.json", "config.yaml")
_JOB = f"/api/v1/runs/{RUN}/jobs/one"
_PATHS = ("", "/metrics", "/samples", "/alerts", "/logs", "/logs?tail=3", "/artifacts")
pytestmark = pytest.mark.timeout(60)


def _replaced(script: MakeScript, make: Callable[[Path], object]) -> Script:
    """Return a run whose first job has replaced its files; its second one trains."""
    run = script("one", "two")
    for job in ("one", "two"):
        run.begin(job)
        run.epoch(job, 1)
    folder = run.layout.job("one")
    for path in (*(folder.dir / name for name in _FILES), folder.attempt(1).samples):
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        make(path)
    return run


def test_fifos_hold_nobody_up(served: Served, script: MakeScript) -> None:
    """Every route answers, and the other job is told of in full."""
    _replaced(script, os.mkfifo)
    for path in _PATHS:
        assert served.client.get(_JOB + path).status_code == 200, path
    jobs = served.client.get(f"/api/v1/runs/{RUN}").json()["jobs"]
    assert [job["epoch"] for job in jobs] == [None, 1]
    assert served.client.get(f"/api/v1/runs/{RUN}/differences").json()["jobs"] == ["two"]
    assert served.client.get("/metrics").status_code == 200


def test_links_are_not_followed(served: Served, script: MakeScript, tmp_path: Path) -> None:
    """Whatever they lead to stays where it is."""
    private = tmp_path / "private"
    told = {"epoch": 7, "message": "hunter2", "state": {"rules": {"hunter2": {"status": "firing", "episode": 1}}}}
    private.write_text(json.dumps(told) + "\n", encoding="utf-8")
    _replaced(script, lambda path: path.symlink_to(private))
    for path in _PATHS:
        answer = served.client.get(_JOB + path)
        assert answer.status_code == 200, path
        assert "hunter2" not in answer.text, path


def test_lines_nested_without_end_are_left_out(served: Served, script: MakeScript) -> None:
    """Nobody is told of a bug."""
    deep = b"[" * 100_000 + b"]" * 100_000 + b"\n"
    _replaced(script, lambda path: path.write_bytes(deep))
    for path in _PATHS:
        assert served.client.get(_JOB + path).status_code == 200, path
