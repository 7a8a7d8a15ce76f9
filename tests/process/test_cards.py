"""Whole runs on the cards of a stand-in for NVIDIA's library: shares, other programs, other runs, a lost card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.core.units import GIB
from parallel_ml.gpu.leases import Leases
from tests.nvml.standin import Card, StandIn, Use, library, nvml
from tests.process.conftest import until
from tests.process.test_runtime import in_background, layout_of, messages

__all__ = ["library", "nvml"]
pytestmark = pytest.mark.process
Write = Callable[..., Path]
Make = Callable[..., ParallelMLExecutor]
A, B = Card("GPU-a", bus="0000:01:00.0"), Card("GPU-b", bus="0000:41:00.0")


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """Return a file; jobs that `until_gone` wait until it is removed."""
    path = tmp_path / "hold"
    path.touch()
    return path


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that has nothing to do with any run."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def until_gone(hold: Path) -> str:
    """Return a job that shows its cards and then waits."""
    return f"echo $CUDA_DEVICE_ORDER $CUDA_VISIBLE_DEVICES; while [ -e {hold} ]; do sleep 0.02; done"


def states(run: ParallelMLExecutor) -> list[str]:
    """Return the states of a run's jobs."""
    return [job.state for job in run.get_status().jobs]


def leased() -> list[tuple[str, str, int]]:
    """Return what all runs have leased: job, card, bytes."""
    return [(lease.job, lease.gpu_uuid, lease.memory_bytes) for lease in Leases("nobody").others()]


def test_jobs_take_cards_first_and_then_shares_and_give_them_back(
    nvml: StandIn, write: Write, executor: Make, hold: Path
) -> None:
    """Four halves of two cards; the fifth job waits; each process sees its card alone, by UUID."""
    nvml.show(A, B)
    data = {"batch_size": 64}
    configs = [write(name, until_gone(hold), data_preprocessing=data) for name in "abcde"]
    run = executor(*configs, gpus="auto")
    thread = in_background(run)
    until(lambda: states(run) == ["running"] * 4 + ["pending"], "four jobs")
    jobs = run.get_status().jobs
    assert [(job.allocation or {})["gpu_uuid"] for job in jobs[:4]] == ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]
    first = jobs[0].allocation or {}
    expected = {"gpu_index": 0, "gpu_uuid": "GPU-a", "memory_limit": 8192, "memory_fraction": 0.5, "process_id": 0}
    assert {key: first[key] for key in expected} == expected
    assert (jobs[0].batch_size, jobs[0].accumulation) == (32, 2)
    assert "slots" in str(jobs[4].waiting)
    assert sorted(leased()) == [(name, f"GPU-{'ab'[index % 2]}", 8 * GIB) for index, name in enumerate("abcd")]
    hold.unlink()
    thread.join()
    assert states(run) == ["completed"] * 5
    assert messages(layout_of(run), "b") == ["PCI_BUS_ID GPU-b"]
    assert leased() == []


def test_what_another_program_holds_is_never_granted_and_taken_when_it_is_free(
    nvml: StandIn, write: Write, executor: Make, hold: Path, stranger: subprocess.Popen[bytes]
) -> None:
    """A job that needs 12 of 16 GiB waits beside a stranger's 6, and starts when that is gone."""
    nvml.show(A)
    nvml.put(Use("GPU-a", stranger.pid, 6 * GIB))
    run = executor(write("a", until_gone(hold), resources={"gpu_memory": "12GiB"}), gpus="auto")
    thread = in_background(run)
    until(lambda: run.get_status().supervisor == "running" and run.get_status().jobs[0].waiting, "a job that waits")
    waiting = str(run.get_status().jobs[0].waiting)
    assert "12GiB" in waiting
    assert "10GiB" in waiting
    nvml.put()
    until(lambda: states(run) == ["running"], "the job")
    hold.unlink()
    thread.join()
    assert states(run) == ["completed"]


def test_two_runs_never_grant_the_same_memory(nvml: StandIn, write: Write, executor: Make, hold: Path) -> None:
    """The second run waits for a slot of the first, says whose it is, and goes on when it is given back."""
    nvml.show(A)
    first = executor(write("a", until_gone(hold)), write("b", until_gone(hold)), gpus="auto")
    one = in_background(first)
    until(lambda: states(first) == ["running"] * 2, "the first run")
    second = executor(write("c", "true"), gpus="auto")
    two = in_background(second)
    until(lambda: second.get_status().jobs[0].waiting, "the second run")
    until(lambda: first.get_status().run in str(second.get_status().jobs[0].waiting), "the reason")
    assert len(leased()) == 2
    hold.unlink()
    one.join()
    two.join()
    assert states(first) + states(second) == ["completed"] * 3


def test_leases_outlive_their_supervisor_and_end_with_their_jobs(
    nvml: StandIn, write: Write, tmp_path: Path, hold: Path
) -> None:
    """A killed supervisor frees no card whose job goes on; the next one knows what is held."""
    nvml.show(A)
    driver_code = (
        "import sys; from parallel_ml import ParallelMLExecutor; "
        "ParallelMLExecutor(sys.argv[2:], runs_dir=sys.argv[1]).run_parallel()"
    )
    runs = tmp_path / "runs"
    argv = [sys.executable, "-c", driver_code, str(runs), str(write("a", until_gone(hold)))]
    driver = subprocess.Popen(argv, cwd=tmp_path, env={**os.environ, **nvml.env})
    until(lambda: list(runs.glob("*/jobs/a/log.jsonl")) and leased(), "a lease")
    until(lambda: "GPU-a" in next(runs.glob("*/jobs/a/log.jsonl")).read_text(), "the job")
    driver.kill()
    driver.wait()
    assert leased() == [("a", "GPU-a", 8 * GIB)]
    successor = ParallelMLExecutor.resume(next(runs.iterdir()))
    thread = in_background(successor)
    until(lambda: successor.get_status().supervisor == "running", "the successor")
    assert leased() == [("a", "GPU-a", 8 * GIB)]
    hold.unlink()
    thread.join()
    assert states(successor) == ["completed"]
    assert leased() == []


def test_the_jobs_of_a_lost_card_fail_and_those_beside_go_on(
    nvml: StandIn, write: Write, executor: Make, hold: Path
) -> None:
    """Nothing more is placed on it."""
    lost = Card(A.uuid, A.bus, lost=1)
    nvml.show(A, B)
    run = executor(*[write(name, until_gone(hold)) for name in "ab"], gpus="auto")
    thread = in_background(run)
    until(lambda: states(run) == ["running"] * 2, "two jobs")
    nvml.show(lost, B)
    until(lambda: states(run) == ["failed", "running"], "the loss")
    hold.unlink()
    thread.join()
    job = run.get_status().jobs[0]
    assert (job.outcome, job.error) == ("gpu_lost", "its GPU was lost: it fell off the bus or needs a reset")
    assert states(run) == ["failed", "completed"]


def test_the_log_is_not_flooded_by_memory_that_moves_a_little(
    nvml: StandIn, write: Write, executor: Make, hold: Path, stranger: subprocess.Popen[bytes]
) -> None:
    """A card in use is never twice the same; only what matters is written down."""
    nvml.show(A)
    run = executor(write("a", until_gone(hold), resources={"gpu_memory": "15GiB"}), gpus="auto")
    nvml.put(Use("GPU-a", stranger.pid, 3 * GIB))
    thread = in_background(run)
    for step in range(40):
        nvml.put(Use("GPU-a", stranger.pid, 3 * GIB + step * (1 << 20)))
        thread.join(0.05)
    nvml.put()
    hold.unlink()
    thread.join()
    kinds = [json.loads(line)["type"] for line in layout_of(run).events.read_text().splitlines()]
    assert kinds.count("MachineSeen") <= 3
