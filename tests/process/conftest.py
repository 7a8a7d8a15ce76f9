"""Runs of real processes: small programs in place of trainings."""

from __future__ import annotations

import glob
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from parallel_ml import ParallelMLExecutor
from parallel_ml.runtime.sweep import carriers
from parallel_ml.store.files import read_json
from parallel_ml.store.layout import RunLayout

PATIENCE_S = 30.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds; fail saying what did not come true."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, f"{what} did not come true within {PATIENCE_S} s"
        time.sleep(0.01)


def found(folder: Path, pattern: str) -> list[Path]:
    """Return the files below a folder that fit; unlike `Path.glob` it does not mind what comes and goes meanwhile."""
    return [folder / name for name in glob.glob(pattern, root_dir=folder)]  # noqa: PTH207


def tokens(layout: RunLayout) -> list[str]:
    """Return the tokens of all attempts of a run."""
    return [read_json(path)["token"] for path in layout.dir.glob("jobs/*/attempt-*/start.json")]


def survivors(layout: RunLayout) -> list[int]:
    """Return the processes that still carry the token of one of the run's attempts."""
    return [pid for token in tokens(layout) for pid in carriers(token)]


def leftovers(layout: RunLayout) -> list[str]:
    """Return the temporary files in a run's directory."""
    return [str(path) for path in layout.dir.rglob("*") if path.name.endswith(".tmp")]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the configuration of an own program."""

    def written(name: str, program: str | list[str], **more: object) -> Path:
        command = ["bash", "-c", program] if isinstance(program, str) else program
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"command": command, **more}))
        return path

    return written


@pytest.fixture
def executor(tmp_path: Path) -> Callable[..., ParallelMLExecutor]:
    """Return a function that makes an executor over configurations, in a runs folder of its own."""

    def made(*configs: Path, **more: object) -> ParallelMLExecutor:
        options = {"runs_dir": tmp_path / "runs", "cwd": tmp_path, "gpus": "none", **more}
        return ParallelMLExecutor(list(configs), **options)  # type: ignore[arg-type]

    return made
