"""Who is on a card, with the stand-in for NVIDIA's library: jobs by their leases, and all others."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from parallel_ml.adapters.cli.main import main
from parallel_ml.core.model import Allocation, GpuShare, ProcessId
from parallel_ml.core.units import GIB
from parallel_ml.gpu.leases import Claim, Leases
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.store.identity import identify
from tests.nvml.standin import FUNCTION_NOT_FOUND, GPU_IS_LOST, Card, StandIn, Use

if TYPE_CHECKING:
    import pytest

A = Card("GPU-a", temp=55, power=120_000, util=80)


def lease(holder: ProcessId, *jobs: str) -> None:
    """Grant jobs of a run 4 GiB of the card each."""
    share = GpuShare(0, "GPU-a", 4 * GIB, 0.25, 0.25)
    claims = [Claim(job, 1, Allocation(0, (share,))) for job in jobs]
    assert len(Leases("run-1").acquire(claims, holder, GPUManager.detect().snapshot().devices)) == len(jobs)


def me() -> ProcessId:
    """Return this process."""
    found = identify()
    assert found is not None
    return found


def look(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the first card as `gpus --json` tells it."""
    assert main(["gpus", "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out)["gpus"][0])


def test_jobs_and_others_are_told_apart(
    nvml: StandIn, stranger: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """A process under a lease's holder is the job's; what is free is what neither holds."""
    nvml.show(A)
    holder = identify(stranger.pid)
    assert holder is not None
    lease(holder, "a")
    nvml.put(Use("GPU-a", stranger.pid, 3 * GIB), Use("GPU-a", os.getpid(), 2 * GIB, sm=7))
    card = look(capsys)
    job = {"run": "run-1", "job": "a", "attempt": 1, "pid": stranger.pid}
    assert card["jobs"] == [{**job, "granted_bytes": 4 * GIB, "used_bytes": 3 * GIB}]
    [program] = card["programs"]
    assert (program["pid"], program["used_bytes"], program["utilization_percent"]) == (os.getpid(), 2 * GIB, 7)
    assert "python" in program["name"] or "pytest" in program["name"]
    assert program["user"]
    assert (card["used_bytes"], card["foreign_bytes"], card["free_bytes"]) == (5 * GIB, 2 * GIB, 10 * GIB)
    assert (card["temperature_c"], card["power_w"], card["utilization_percent"]) == (55, 120.0, 80)


def test_jobs_of_one_holder_cannot_be_told_apart(nvml: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """For the moment in which the supervisor holds the leases of jobs that it starts."""
    nvml.show(A)
    lease(me(), "a", "b")
    nvml.put(Use("GPU-a", os.getpid(), 3 * GIB))
    card = look(capsys)
    assert [job["used_bytes"] for job in card["jobs"]] == [None, None]
    assert card["programs"] == []


def test_a_holder_on_another_machine_is_not_taken_for_a_process_here(
    nvml: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its number may be that of a stranger here."""
    nvml.show(A)
    lease(replace(me(), host="another", boot_id="of another"), "a")
    nvml.put(Use("GPU-a", os.getpid(), GIB))
    card = look(capsys)
    assert [job["used_bytes"] for job in card["jobs"]] == [None]
    assert [program["pid"] for program in card["programs"]] == [os.getpid()]


def test_a_process_of_another_container_has_no_name(nvml: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """Its memory is told all the same."""
    nvml.show(A)
    nvml.put(Use("GPU-a", 4_000_000, GIB, foreign=1))
    told = look(capsys)["programs"]
    assert told == [{"pid": 4_000_000, "name": "", "user": "", "used_bytes": GIB, "utilization_percent": None}]


def test_a_card_without_a_list_of_processes_says_so(nvml: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """Null, not an empty list; and a note."""
    nvml.show(replace(A, used=GIB))
    for function in ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"):
        nvml.fail(function, FUNCTION_NOT_FOUND)
    assert look(capsys)["programs"] is None
    assert main(["gpus"]) == 0
    shown = capsys.readouterr().out
    assert "other programs: not measurable here" in shown
    assert "note: " in shown


def test_a_lost_card_is_shown_with_what_is_wrong(nvml: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    """In a line with its number, beside those that are well; with the uuid that others have leased and nobody sees."""
    nvml.show(A)
    lease(me(), "a")
    nvml.show(Card("GPU-a", lost=GPU_IS_LOST), Card("GPU-b", bus="0000:41:00.0"))
    assert main(["gpus"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split()[:6] == ["0", "-", "-", "-", "0B", "-"]
    assert "is lost" in shown[1]
    assert [line.startswith("note: GPU 0 is lost") for line in shown].count(True) == 1
    assert main(["gpus", "--json"]) == 0
    lost, well = json.loads(capsys.readouterr().out)["gpus"]
    assert (lost["index"], lost["uuid"], lost["health"][:7], lost["free_bytes"]) == (0, "GPU-a", "is lost", 0)
    assert (well["index"], well["bus"], well["health"]) == (1, "0000:41:00.0", "ok")
