"""Statuses to format, with everything that a test does not speak of left at a plain value."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from parallel_ml.core.status import JobResult, JobStatus, RunStatus

HOSTILE = "\x1b]0;owned\x07\x1b[2Jred\x1b[31m\r\nalert\x9b31m\u202e"


class MakeJob(Protocol):
    """Makes a job's status."""

    def __call__(self, name: str = ..., state: str = ..., **changes: Any) -> JobStatus:
        """Return one."""


class MakeRun(Protocol):
    """Makes a run's status."""

    def __call__(self, *jobs: JobStatus, **changes: Any) -> RunStatus:
        """Return one."""


class MakeResult(Protocol):
    """Makes a job's result."""

    def __call__(self, name: str = ..., state: str = ..., **changes: Any) -> JobResult:
        """Return one."""


@pytest.fixture
def make_job() -> MakeJob:
    """Return a maker of job statuses."""

    def make(name: str = "config1", state: str = "running", **changes: Any) -> JobStatus:
        return JobStatus(**{"process_id": 0, "name": name, "state": state, **changes})

    return make


@pytest.fixture
def make_run() -> MakeRun:
    """Return a maker of run statuses."""

    def make(*jobs: JobStatus, **changes: Any) -> RunStatus:
        plain: dict[str, Any] = {
            "run": "20260101-120000-3fa9",
            "name": "",
            "dir": "/runs/20260101-120000-3fa9",
            "state": "running",
            "as_of": "2026-01-01T12:01:00.000000+00:00",
            "as_of_age_s": 12.0,
            "created": "2026-01-01T12:00:00.000000+00:00",
            "supervisor": "running",
            "jobs": jobs,
        }
        return RunStatus(**{**plain, **changes})

    return make


@pytest.fixture
def make_result() -> MakeResult:
    """Return a maker of results."""

    def make(name: str = "config1", state: str = "completed", **changes: Any) -> JobResult:
        plain: dict[str, Any] = {"outcome": None, "metrics": {}, "history": {}, "paths": {}, "error": None}
        return JobResult(name, state, **{**plain, **changes})

    return make


@pytest.fixture
def hostile() -> str:
    """Return text that would take a terminal over: a title, a clear screen, colours, line breaks, an override."""
    return HOSTILE
