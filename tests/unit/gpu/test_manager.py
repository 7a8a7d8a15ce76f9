"""GPUManager: what --gpus names, what is noted, and what jobs would get."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parallel_ml.core.batch import BatchPlan
from parallel_ml.core.model import Allocation, GpuShare, JobSpec, Resources
from parallel_ml.core.units import GIB
from parallel_ml.errors import PlacementError, UsageError
from parallel_ml.gpu import GPUManager, NoDevices, SimulatedDevices
from parallel_ml.gpu.source import detect_devices

if TYPE_CHECKING:
    from pathlib import Path


def spec(position: int, resources: Resources = Resources()) -> JobSpec:  # noqa: B008 - it is frozen
    """Return a job."""
    return JobSpec(position, f"job{position}", "config.yaml", "training", 1, resources, 32)


@pytest.mark.parametrize(
    ("word", "cards", "simulated"),
    [("sim:2x16GiB", 2, True), ("sim:2x16GiB,1x8GiB", 3, True), ("none", 0, False), ("auto", 0, False)],
)
def test_what_gpus_names(word: str, cards: int, simulated: bool) -> None:  # noqa: FBT001 - pytest passes by name
    """Each word makes a manager that knows it, so that a run can be taken up again."""
    manager = GPUManager.from_spec(word)
    assert (manager.spec, len(manager.snapshot().devices), manager.simulated) == (word, cards, simulated)


@pytest.mark.parametrize("word", ["", "2", "cuda", "sim", "all", "none,none"])
def test_other_words_are_refused_with_what_is_allowed(word: str) -> None:
    """A usage error names the words that are known."""
    with pytest.raises(UsageError, match=r"sim:2x16GiB.*none.*auto"):
        GPUManager.from_spec(word)


def test_no_gpu_is_noted(tmp_path: Path) -> None:
    """A machine without a card says that the CPU is used, and for how many jobs at a time."""
    manager = GPUManager(detect_devices(tmp_path / "no driver"), cores=8)
    assert manager.notes == ("no GPU found: jobs run on the CPU, 4 at a time",)


def test_the_cpu_by_choice_is_noted() -> None:
    """With --gpus none the note does not claim to have looked."""
    assert GPUManager(NoDevices(), cores=2).notes == ("no GPU is used: jobs run on the CPU, 2 at a time",)


def test_simulated_cards_are_noted() -> None:
    """Nobody takes simulated cards for real ones."""
    manager = GPUManager.from_spec("sim:2x16GiB,1x8GiB")
    assert manager.notes == (
        "simulated GPUs (2 x 16GiB, 1 x 8GiB): jobs are placed as on real ones and run on the CPU",
    )


def test_each_snapshot_looks_again() -> None:
    """What other programs take between two looks is seen."""
    cards = SimulatedDevices([16 * GIB])
    manager = GPUManager(cards)
    before = manager.snapshot().devices[0].usable_bytes
    cards.set_foreign(0, 4 * GIB)
    assert (before, manager.snapshot().devices[0].usable_bytes) == (16 * GIB, 12 * GIB)


def test_the_host_is_looked_at_or_given() -> None:
    """Cores and memory come from the machine unless they are said."""
    looked, given = GPUManager(NoDevices()).snapshot(), GPUManager(NoDevices(), cores=5, memory_bytes=7).snapshot()
    assert looked.cores >= 1
    assert looked.memory_bytes > 2**20
    assert (given.cores, given.memory_bytes) == (5, 7)


def test_allocate_tells_what_jobs_would_get() -> None:
    """The allocations come in the order of the jobs, None for those that wait."""
    jobs = [spec(0), spec(1, Resources(gpus=0)), spec(2), spec(3)]
    first, on_cpu, second, waiting = GPUManager.from_spec("sim:1x16GiB").allocate(jobs)
    assert [share and share.memory_limit_mb for share in (first, second)] == [8192, 8192]
    assert on_cpu is not None
    assert on_cpu.shares == ()
    assert waiting is None


def test_allocate_refuses_what_never_fits() -> None:
    """A job that is too large for the machine is an error, not a job that waits."""
    with pytest.raises(PlacementError, match="job0: wants 2 GPUs, but this machine has 1"):
        GPUManager.from_spec("sim:16GiB").allocate([spec(0, Resources(gpus=2))])


def test_environment_is_over_the_given_or_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inherited environment is this process's unless another is given."""
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "ours:1")
    allocation = Allocation(0, (GpuShare(0, "GPU-a", 8 * GIB, 0.5, 0.5),))
    manager = GPUManager(NoDevices())
    assert manager.environment(allocation)["PYTORCH_ALLOC_CONF"].startswith("ours:1,")
    assert manager.environment(allocation, {})["PYTORCH_ALLOC_CONF"].startswith("per_process")


def test_samples_of_simulated_cards_are_what_is_on_paper() -> None:
    """What other programs hold is known of them; everything that is measured is not."""
    cards = SimulatedDevices([16 * GIB, 8 * GIB])
    cards.set_foreign(0, GIB)
    cards.lose(1)
    first, second = GPUManager(cards).samples()
    assert (first.used_bytes, first.temperature_c, first.processes, first.trouble) == (GIB, None, None, "")
    assert (second.uuid, second.trouble) == ("SIM-1", "is lost")


def test_whose_pids_they_are_does_not_matter_to_simulated_cards() -> None:
    """Nobody is on a card of paper, whatever is asked."""
    manager = GPUManager.from_spec("sim:16GiB")
    assert manager.snapshot((1, 2, 3)) == manager.snapshot()


def test_scale_batch_follows_the_grant() -> None:
    """64 samples on half of a card of 16 GiB are 32, twice."""
    manager = GPUManager.from_spec("sim:16GiB")
    (allocation,) = manager.allocate([spec(0)])
    assert allocation is not None
    assert manager.scale_batch(64, allocation) == BatchPlan(32, 2)
    assert manager.scale_batch(64, allocation).effective == 64
