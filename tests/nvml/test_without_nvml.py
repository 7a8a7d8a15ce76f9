"""Machines whose NVML cannot be opened: each has a plain line, and its jobs run on the CPU."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from parallel_ml.gpu import GPUManager
from parallel_ml.gpu.source import detect_devices
from parallel_ml.runtime.installed import gpu_findings
from tests.nvml.standin import (
    DRIVER_NOT_LOADED,
    GPU_IS_LOST,
    LIBRARY_NOT_FOUND,
    MISMATCH,
    NO_PERMISSION,
    UNKNOWN,
    Card,
    StandIn,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (LIBRARY_NOT_FOUND, "no GPU found"),
        (DRIVER_NOT_LOADED, "NVIDIA's driver is installed but not loaded (run nvidia-smi, or restart the machine)"),
        (
            MISMATCH,
            "NVIDIA's driver was updated without a reboot, so no GPU can be used until the machine is restarted",
        ),
        (NO_PERMISSION, "no permission to use the NVIDIA driver (is this user allowed to open /dev/nvidia*?)"),
        (GPU_IS_LOST, "NVIDIA's driver cannot be used (GPU is lost)"),
        (UNKNOWN, "NVIDIA's driver cannot be used (Unknown Error)"),
    ],
)
def test_each_failure_has_its_line(nvml: StandIn, tmp_path: Path, code: int, line: str) -> None:
    """The user reads why the CPU is used, and what to do."""
    nvml.init = code
    nvml.show(Card("GPU-a"))
    manager = GPUManager(detect_devices(tmp_path / "no driver"), cores=4)
    assert manager.notes == (f"{line}: jobs run on the CPU, 2 at a time",)
    assert (manager.snapshot().devices, manager.samples(), manager.spec) == ((), (), "auto")


def test_a_driver_without_its_library_is_not_called_absent(nvml: StandIn, tmp_path: Path) -> None:
    """In a container that was started without its GPUs, the user reads what to change."""
    driver = tmp_path / "version"
    driver.touch()
    nvml.init = LIBRARY_NOT_FOUND
    nvml.write()
    assert "libnvidia-ml.so.1 is not here (a container needs `--gpus all`)" in detect_devices(driver).note


def test_a_driver_without_cards(nvml: StandIn) -> None:
    """NVML that works and counts none is a machine without a GPU; it is let go."""
    assert detect_devices().note == "no GPU found"
    assert nvml.calls("nvmlShutdown") == 1


def test_a_driver_with_lost_cards_only(nvml: StandIn) -> None:
    """The CPU is not taken silently where a card is broken."""
    nvml.show(Card("GPU-a", lost=GPU_IS_LOST))
    assert detect_devices().note.startswith("no GPU can be used (GPU 0 is lost")


def test_without_the_package_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation is a line too."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert detect_devices().note == "no GPU is looked for, as the package nvidia-ml-py is not installed"


def test_a_driver_that_goes_in_the_middle_of_a_run(nvml: StandIn) -> None:
    """What ran goes on; nothing is placed on cards that nobody can read."""
    nvml.show(Card("GPU-a"))
    manager = GPUManager.detect()
    manager.snapshot()
    nvml.init = MISMATCH
    nvml.write()
    assert [(card.usable_bytes, card.lost) for card in manager.snapshot().devices] == [(0, False)]


def test_cards_that_cannot_be_used_are_a_problem_to_doctor(nvml: StandIn, tmp_path: Path) -> None:
    """Whether the driver's file is there or not."""
    nvml.show(Card("GPU-a", lost=GPU_IS_LOST))
    [found] = gpu_findings(GPUManager.detect(), tmp_path / "none", tmp_path)
    assert (found.name, found.state, "lost" in found.text) == ("gpus", "problem", True)
