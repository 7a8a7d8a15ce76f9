"""Samples of real process trees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.monitor.samples import tree_use
from tests.process.conftest import until
from tests.process.test_runtime import in_background, layout_of

pytestmark = pytest.mark.process
Write = Callable[..., Path]
Make = Callable[..., ParallelMLExecutor]
PYTHON = sys.executable


def test_a_tree_is_seen_whole() -> None:
    """Grandchildren in sessions of their own, their memory, and the time of those that have ended."""
    deep = "import os, sys, time; os.setsid(); held = bytearray(80 << 20); print(1, flush=True); sys.stdin.read()"
    busy = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    program = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {busy!r}])
subprocess.run([sys.executable, "-c", {deep!r}])
"""
    with subprocess.Popen([PYTHON, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tree:
        assert tree.stdout is not None
        assert tree.stdin is not None
        tree.stdout.readline()
        use = tree_use(tree.pid)
        tree.stdin.close()
    assert use is not None
    assert len(use.pids) == 1
    assert use.threads == 1
    assert use.memory_bytes > 80 << 20
    assert use.cpu_s >= 0.3


def test_a_running_job_is_sampled_and_its_peaks_stay(write: Write, executor: Make, tmp_path: Path) -> None:
    """In its status while it runs, and in its result."""
    hold = tmp_path / "hold"
    hold.touch()
    program = f"import os, time; held = bytearray(120 << 20)\nwhile os.path.exists({str(hold)!r}): time.sleep(0.01)"
    run = executor(write("a", [PYTHON, "-c", program]))
    thread = in_background(run)
    before = time.monotonic()
    until(lambda: run.get_status().jobs[0].resources.get("memory_mb"), "the first sample")
    assert time.monotonic() - before < 5.0
    until(lambda: run.get_status().jobs[0].resources["memory_mb"] > 120, "a sample of all of its memory")
    told = run.get_status().jobs[0].resources
    assert (told["processes"], told["threads"], told["gpu_memory_mb"]) == (1, 1, None)
    hold.unlink()
    thread.join()
    (result,) = run.results()
    totals = {"cpu_seconds", "cpu_mean_percent", "memory_peak_mb", "gpu_memory_peak_mb"}
    assert set(result.resources) == totals | {"energy_wh", "energy_estimated"}
    assert result.resources["energy_wh"] is None
    assert 120 < result.resources["memory_peak_mb"] < 250
    lines = layout_of(run).job("a").attempt(1).samples.read_text().splitlines()
    assert json.loads(lines[-1])["ended"] is True


def test_a_short_job_has_its_totals_too(write: Write, executor: Make) -> None:
    """The kernel keeps them; nobody had to look in time."""
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    (result,) = executor(write("a", [PYTHON, "-c", burn])).run_parallel()
    assert 0.2 <= result.resources["cpu_seconds"] < 2.0
    assert result.resources["memory_peak_mb"] > 1


def test_the_summary_shows_the_most_memory(write: Write, tmp_path: Path) -> None:
    """In a column of its own."""
    config = write("a", [PYTHON, "-c", "held = bytearray(64 << 20)"])
    argv = [PYTHON, "-m", "parallel_ml", "run", str(config), "--runs-dir", str(tmp_path / "runs"), "--gpus", "none"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=dict(os.environ), cwd=tmp_path)
    heading = next(line for line in done.stdout.splitlines() if "memory" in line)
    row = done.stdout.splitlines()[done.stdout.splitlines().index(heading) + 1]
    assert row.split()[-1].endswith("MiB")
