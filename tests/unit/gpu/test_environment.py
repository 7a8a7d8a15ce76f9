"""What a training process finds in its environment."""

from __future__ import annotations

import pytest

from parallel_ml.core.model import Allocation, GpuShare
from parallel_ml.core.units import GIB
from parallel_ml.gpu.environment import child_environment, child_notes, torch_takes_fraction

CPU = Allocation(0)


def on_cards(*uuids: str, grant_gib: float = 8, cpus: int | None = None) -> Allocation:
    """Return an allocation of a part of cards of 16 GiB."""
    grant = round(grant_gib * GIB)
    return Allocation(0, tuple(GpuShare(i, uuid, grant, grant_gib / 16, 0.5) for i, uuid in enumerate(uuids)), cpus)


@pytest.mark.parametrize("allocation", [CPU, on_cards("SIM-0"), on_cards("SIM-0", "SIM-1")])
def test_real_cards_are_hidden_from_jobs_that_hold_none(allocation: Allocation) -> None:
    """A job on the CPU or on simulated cards sees no card, whatever the user's shell says."""
    found = child_environment(allocation, {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert found == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "-1"}


def test_a_job_sees_its_cards_by_uuid() -> None:
    """Indices differ between CUDA and the driver; uuids do not."""
    assert child_environment(on_cards("GPU-a", "GPU-b"), {}) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_CLIENT_MEM_FRACTION": "0.4688",
        "PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.4688",
    }


def test_a_small_grant_keeps_half_of_it_for_the_pool() -> None:
    """The context is taken off the grant, but never more than half of it."""
    assert child_environment(on_cards("GPU-a", grant_gib=0.5), {})["XLA_CLIENT_MEM_FRACTION"] == "0.0156"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ({"PYTORCH_ALLOC_CONF": "expandable_segments:True"}, "expandable_segments:True,"),
        ({"PYTORCH_CUDA_ALLOC_CONF": "backend:native"}, "backend:native,"),
        ({"PYTORCH_ALLOC_CONF": "a:1", "PYTORCH_CUDA_ALLOC_CONF": "b:2"}, "a:1,"),
        ({"PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.9"}, ""),
        ({"PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.9,a:1"}, "a:1,"),
        (
            {"PYTORCH_ALLOC_CONF": "roundup_power2_divisions:[256:1,512:2], per_process_memory_fraction:1,a:1"},
            "roundup_power2_divisions:[256:1,512:2],a:1,",
        ),
    ],
)
def test_the_users_settings_of_torch_stay(base: dict[str, str], expected: str) -> None:
    """As torch resets what is not said, the user's own settings are said again; only the fraction is ours."""
    found = child_environment(on_cards("GPU-a"), base)
    assert found["PYTORCH_ALLOC_CONF"] == expected + "per_process_memory_fraction:0.4688"


def test_what_would_undo_the_grant_is_overruled_and_said() -> None:
    """JAX refuses both names of its fraction, and two allocators keep to no limit; the user is told."""
    base = {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9",
        "XLA_PYTHON_CLIENT_ALLOCATOR": "platform",
        "TF_GPU_ALLOCATOR": "cuda_malloc_async",
    }
    found = child_environment(on_cards("GPU-a"), base)
    assert {name: found[name] for name in base} == {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "",
        "XLA_PYTHON_CLIENT_ALLOCATOR": "default",
        "TF_GPU_ALLOCATOR": "",
    }
    assert child_notes(on_cards("GPU-a"), base) == (
        (
            "XLA_PYTHON_CLIENT_MEM_FRACTION=0.9 is ignored: the memory granted is said by XLA_CLIENT_MEM_FRACTION, "
            "and JAX refuses both"
        ),
        "XLA_PYTHON_CLIENT_ALLOCATOR=platform is ignored: this allocator of JAX keeps to no limit",
        (
            "TF_GPU_ALLOCATOR=cuda_malloc_async is ignored: with this allocator the memory granted would be no limit "
            "for TensorFlow"
        ),
    )


@pytest.mark.parametrize("allocation", [CPU, on_cards("SIM-0")])
def test_without_a_real_card_nothing_is_overruled(allocation: Allocation) -> None:
    """Settings of a GPU's allocator are no matter for a job that has none."""
    assert child_notes(allocation, {"TF_GPU_ALLOCATOR": "cuda_malloc_async"}) == ()


@pytest.mark.parametrize(
    ("version", "takes"), [("2.9.1", False), ("2.10.0", True), ("2.14.0+cu130", True), ("3.0", True)]
)
def test_torch_from_before_the_fraction_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    takes: bool,  # noqa: FBT001 - pytest passes by name
) -> None:
    """An older torch ends with an error on a key that it does not know."""
    monkeypatch.setattr("importlib.metadata.version", lambda _: version)
    torch_takes_fraction.cache_clear()
    found = child_environment(on_cards("GPU-a"), {"PYTORCH_ALLOC_CONF": "a:1"})
    torch_takes_fraction.cache_clear()
    assert ("PYTORCH_ALLOC_CONF" in found) == takes


def test_threads_follow_the_cores() -> None:
    """Every library that makes threads is told the same number."""
    found = child_environment(Allocation(0, cpus=3), {"OMP_NUM_THREADS": "64"})
    threads = {name: value for name, value in found.items() if name.endswith("_THREADS")}
    assert threads == dict.fromkeys(
        [
            "OMP_NUM_THREADS",
            "MKL_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "TF_NUM_INTRAOP_THREADS",
            "TF_NUM_INTEROP_THREADS",
        ],
        "3",
    )


def test_a_job_alone_keeps_the_users_threads() -> None:
    """Without a share of the cores nothing is said about threads."""
    assert not [name for name in child_environment(CPU, {}) if name.endswith("_THREADS")]
