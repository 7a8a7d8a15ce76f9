"""PyTorch that really runs out of memory, on the CPU: an own program goes down the ladder by what it prints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from parallel_ml import ParallelMLExecutor

pytest.importorskip("torch")
pytestmark = pytest.mark.process

SCRIPT = """
import resource, sys
import torch
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 600 * 2**20, -1))
layer = torch.nn.Linear(2048, 2048)
batch = int(sys.argv[1])
print("loss", layer(torch.ones(batch, 2048)).sum().item())
"""


def test_the_batch_is_halved_until_it_fits(tmp_path: Path) -> None:
    """131,072 samples of 8 KiB are 1 GiB, and as much again for the result; 600 MiB are there."""
    (tmp_path / "train.py").write_text(SCRIPT)
    config = tmp_path / "a.yaml"
    command = [sys.executable, "train.py", "{batch_size}"]
    config.write_text(yaml.safe_dump({"command": command, "data_preprocessing": {"batch_size": 131072}}))
    run = ParallelMLExecutor([config], runs_dir=tmp_path / "runs", cwd=tmp_path, gpus="none")
    (result,) = run.run_parallel()
    (job,) = run.get_status().jobs
    assert result.state == "completed", result.error
    assert (job.batch_size or 0) < 131072
    assert (job.batch_size or 0) * (job.accumulation or 0) == 131072
