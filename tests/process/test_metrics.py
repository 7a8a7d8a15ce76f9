"""`metrics --every`: a file for node_exporter that is kept fresh."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("prometheus_client", reason="an extra")

from tests.process.conftest import until
from tests.process.test_cli import QUICK, Shell, shell

__all__ = ["shell"]
pytestmark = pytest.mark.process


def test_the_file_is_replaced_again_and_again(shell: Shell) -> None:
    """A run that is started meanwhile is in it; Ctrl-C ends it without a word."""
    target = shell.folder / "parallel_ml.prom"
    process = shell.start("metrics", "--output", target.name, "--every", "1s")
    until(target.exists, "the file")
    assert "parallel_ml_run_info{" not in target.read_text(encoding="utf-8")
    assert shell.run("run", shell.config("quick", QUICK), "--name", "night")[0] == 0
    until(lambda: 'parallel_ml_run_info{name="night"' in target.read_text(encoding="utf-8"), "the run in the file")
    process.send_signal(signal.SIGINT)
    assert (process.wait(timeout=30), *process.communicate()) == (130, "", "")
