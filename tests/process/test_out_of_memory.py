"""A real kill by the kernel for want of memory, in a control group of our own; where none can be made it is skipped."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.runtime.client import RunClient

pytestmark = pytest.mark.process
Write = Callable[..., Path]
LIMIT_BYTES = 160 * 2**20
EATS = (
    "import sys\nbatch = int(sys.argv[1])\nprint('batch', batch, flush=True)\n"
    "held = bytearray(batch * 16 * 2**20)\nfor place in range(0, len(held), 4096): held[place] = 1\nprint('fits')"
)
"""Takes 16 MiB a sample, page by page, as the kernel counts them."""
DRIVE = (
    "import os, sys\nopen(sys.argv[1], 'w').write(str(os.getpid()))\n"
    "from parallel_ml import ParallelMLExecutor\n"
    "run = ParallelMLExecutor([sys.argv[2]], runs_dir=sys.argv[3], gpus='none')\nrun.run_parallel()\n"
    "print(run.get_status().dir)"
)


@pytest.fixture
def group() -> Iterator[Path]:
    """Return a control group (v1 or v2) with room for little; it is removed at the end."""
    found = None
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        made = Path(root) / f"parallel_ml_test_{secrets.token_hex(4)}"
        try:
            made.mkdir()
            (made / limit).write_text(str(LIMIT_BYTES))
            found = made
            break
        except OSError:
            if made.is_dir():
                made.rmdir()
    if found is None:
        pytest.skip("no control group with a memory limit can be made here")
    yield found
    found.rmdir()


def test_a_kill_by_the_kernel_is_out_of_memory_and_halves_the_batch(group: Path, write: Write, tmp_path: Path) -> None:
    """It exits by SIGKILL without a word; the control group's counter says why."""
    config = write("a", [sys.executable, "-c", EATS, "{batch_size}"], data_preprocessing={"batch_size": 16})
    argv = [sys.executable, "-c", DRIVE, str(group / "cgroup.procs"), str(config), str(tmp_path / "runs")]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (job,) = RunClient(done.stdout.splitlines()[-1]).status().jobs
    assert (job.state, job.batch_size, job.accumulation) == ("completed", 4, 4)
    assert job.recoveries[0] == "batch 16 x 1 becomes 8 x 2: as many samples an update (16)"


def test_a_sigkill_without_a_rise_of_the_counter_is_not_out_of_memory(
    write: Write, executor: Callable[..., ParallelMLExecutor]
) -> None:
    """Somebody killed it: it is tried again as it was, three times at most."""
    config = write("a", "kill -9 $$", data_preprocessing={"batch_size": 16})
    run = executor(config)
    (result,) = run.run_parallel()
    (job,) = run.get_status().jobs
    assert (result.state, result.outcome, job.attempt, job.recoveries) == ("failed", "signal(9)", 3, ())
