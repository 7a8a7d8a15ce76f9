"""The report that is written when a run ends, and that it never changes how the run ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.runtime.run_report import write_at_end
from parallel_ml.store.layout import RunLayout

CONFIG = "command: [sh, -c, 'echo epoch 1/1 loss 0.5']\n"


@pytest.fixture
def executor(tmp_path: Path) -> ParallelMLExecutor:
    """Return an executor of one small program."""
    (tmp_path / "one.yaml").write_text(CONFIG, encoding="utf-8")
    return ParallelMLExecutor(tmp_path / "one.yaml", runs_dir=tmp_path / "runs", gpus="none", cwd=tmp_path)


@pytest.mark.process
def test_a_run_that_has_ended_has_its_report(executor: ParallelMLExecutor) -> None:
    """In its folder, in all three forms, with how its jobs ended."""
    executor.run_parallel()
    layout = RunLayout(Path(executor.get_status().dir))
    assert all(layout.report(form).exists() for form in ("html", "json"))
    assert "1 completed" in layout.report("md").read_text(encoding="utf-8")


@pytest.mark.process
def test_a_report_that_fails_leaves_the_run_as_it_is(executor: ParallelMLExecutor) -> None:
    """It is told in the supervisor's log."""
    layout = RunLayout(Path(executor.prepare().dir))
    layout.report("html").mkdir()
    (result,) = executor.run_parallel()
    assert result.state == "completed"
    assert "report not written" in layout.log.read_text(encoding="utf-8")


def test_a_run_that_is_not_there_hurts_nobody(tmp_path: Path) -> None:
    """Neither for its report nor for the log that would say so."""
    write_at_end(RunLayout(tmp_path / "gone"), {})
    assert not (tmp_path / "gone").exists()
