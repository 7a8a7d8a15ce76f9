"""Servers and runs for the tests of the web."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.web.serving import Script, Served, serving, settings_in


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Return a maker of runs below the root's `runs`."""
    made: list[Script] = []

    def make(*jobs: str, **more: Any) -> Script:
        made.append(Script(tmp_path / "runs", *(jobs or ("one", "two")), **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Return a server over the test's folder."""
    yield from serving(settings_in(tmp_path))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Return a maker of servers over the test's folder."""
    running: list[Iterator[Served]] = []

    def make(**more: Any) -> Served:
        running.append(serving(settings_in(tmp_path, **more)))
        return next(running[-1])

    yield make
    for one in running:
        next(one, None)
