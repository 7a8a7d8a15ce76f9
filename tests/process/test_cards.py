"""Whole runs on the cards of a stand-in for NVIDIA's library: shares, other programs, other runs, a lost card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.core.units import GIB
from parallel_ml.gpu.leases import Leases
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_view import RunView
from tests.nvml.standin import GPU_IS_LOST, Card, StandIn, Use, library, nvml, stranger
from tests.process.conftest import found, until
from tests.process.test_runtime import in_background, layout_of, messages

__all__ = ["library", "nvml", "stranger"]
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
    until(lambda: list(found(runs, "*/jobs/a/log.jsonl")) and leased(), "a lease")
    until(lambda: "GPU-a" in found(runs, "*/jobs/a/log.jsonl")[0].read_text(), "the job")
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


def first_end(run: ParallelMLExecutor, job: str) -> tuple[str, str | None]:
    """Return how a job's first attempt ended."""
    attempt = RunView(RunLayout(Path(run.get_status().dir))).state.jobs[job].attempts[0]
    return str(attempt.outcome), attempt.error


def test_the_jobs_of_a_lost_card_are_tried_on_another_and_those_beside_go_on(
    nvml: StandIn, write: Write, executor: Make, hold: Path
) -> None:
    """Nothing more is placed on it."""
    lost = Card(A.uuid, A.bus, lost=GPU_IS_LOST)
    nvml.show(A, B)
    run = executor(*[write(name, until_gone(hold)) for name in "ab"], gpus="auto")
    told: list[str] = []
    run.subscribe(lambda event: told.append(event.data["text"]), "note")
    thread = in_background(run)
    until(lambda: states(run) == ["running"] * 2, "two jobs")
    nvml.show(lost, B)
    until(lambda: run.get_status().jobs[0].attempt == 2 and states(run) == ["running"] * 2, "the job on the other card")
    hold.unlink()
    thread.join()
    why = "its GPU 0 is lost: it does not answer any more, and needs a restart of the machine"
    assert first_end(run, "a") == ("gpu_lost", why)
    assert told == [f"{why.removeprefix('its ')}; its jobs are tried on another card"]
    assert [(job.state, job.attempt) for job in run.get_status().jobs] == [("completed", 2), ("completed", 1)]
    assert (run.get_status().jobs[0].allocation or {})["gpu_uuid"] == "GPU-b"


def test_a_critical_xid_ends_the_jobs_of_its_card_and_is_named(
    nvml: StandIn, write: Write, executor: Make, hold: Path
) -> None:
    """The card answers, and is used no more all the same; the job beside and the one that waits have the other card."""
    nvml.show(A, B)
    whole = {"exclusive": True}
    run = executor(*[write(name, until_gone(hold), resources=whole) for name in "abc"], gpus="auto")
    thread = in_background(run)
    until(lambda: states(run) == ["running", "running", "pending"], "two jobs")
    until(lambda: nvml.calls("nvmlDeviceRegisterEvents", "GPU-a"), "listening")
    nvml.xid("GPU-a", 48)
    until(lambda: states(run)[0] == "pending", "the loss")
    hold.unlink()
    thread.join()
    why = "its GPU 0 had Xid 48 (double-bit ECC error) and needs a reset or a restart of the machine"
    assert first_end(run, "a") == ("gpu_lost", why)
    jobs = run.get_status().jobs
    assert [(job.state, job.attempt) for job in jobs] == [("completed", 2), ("completed", 1), ("completed", 1)]
    assert {(job.allocation or {})["gpu_uuid"] for job in jobs} == {"GPU-b"}


def test_an_xid_of_a_program_is_evidence_of_why_it_failed(
    nvml: StandIn, write: Write, executor: Make, hold: Path
) -> None:
    """It condemns no card: the job is told of it in its error, and one that succeeds is not."""
    nvml.show(A)
    fails = f"{until_gone(hold)}; echo illegal access >&2; exit 3"
    run = executor(write("bad", fails), write("good", until_gone(hold)), gpus="auto")
    thread = in_background(run)
    until(lambda: states(run) == ["running"] * 2, "two jobs")
    until(lambda: nvml.calls("nvmlDeviceRegisterEvents", "GPU-a"), "listening")
    nvml.xid("GPU-a", 31)
    hold.unlink()
    thread.join()
    bad, good = run.get_status().jobs
    assert (bad.state, bad.outcome, good.state, good.error) == ("failed", "error(3)", "completed", None)
    assert bad.error == "illegal access; GPU 0 reported Xid 31 (GPU memory page fault)"


def test_only_the_cards_that_the_user_left_are_used(
    nvml: StandIn, write: Write, executor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three jobs share the second card; its number is the one among all."""
    nvml.show(A, B)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    run = executor(*[write(name, "echo $CUDA_VISIBLE_DEVICES") for name in "abc"], gpus="auto")
    run.run_parallel()
    status = run.get_status()
    assert [(job.allocation or {})["gpu_index"] for job in status.jobs] == [1, 1, 1]
    assert messages(layout_of(run), "c") == ["GPU-b"]
    assert "CUDA_VISIBLE_DEVICES=1: 1 of 2 GPUs are used" in status.notes


def test_with_all_cards_hidden_jobs_run_on_the_cpu(
    nvml: StandIn, write: Write, executor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And everybody is told why."""
    nvml.show(A)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    run = executor(write("a", "echo $CUDA_VISIBLE_DEVICES"), gpus="auto")
    [result] = run.run_parallel()
    assert result.state == "completed"
    assert (run.get_status().jobs[0].allocation or {})["device"] == "cpu"
    assert "CUDA_VISIBLE_DEVICES=-1 hides all GPUs: jobs run on the CPU" in run.get_status().notes[0]


def test_the_energy_of_a_card_is_divided_among_its_jobs(
    nvml: StandIn, write: Write, executor: Make, hold: Path
) -> None:
    """Two halves of a card that draws 3.6 kW: each is charged for a half, and it is said to be an estimate."""
    nvml.show(Card("GPU-a", power=3_600_000, energy=0))
    run = executor(*[write(name, until_gone(hold)) for name in "ab"], gpus="auto")
    thread = in_background(run)
    until(lambda: states(run) == ["running"] * 2, "two jobs")
    until(lambda: all((job.resources.get("energy_wh") or 0) > 0.5 for job in run.get_status().jobs), "some energy")
    hold.unlink()
    thread.join()
    for result, job in zip(run.results(), run.get_status().jobs, strict=True):
        energy_wh, seconds = result.resources["energy_wh"], job.elapsed_s or 0
        assert 0.5 < energy_wh < 0.5 * seconds + 0.5
        assert result.resources["energy_estimated"] is True


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
