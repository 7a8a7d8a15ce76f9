"""Where devices come from: the protocol, the source of a machine without cards, and the look at what is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from parallel_ml.core.model import Device


_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


class DeviceSource(Protocol):
    """Tells which cards there are, and how full they are now."""

    @property
    def spec(self) -> str:
        """The word for `--gpus` that makes a like source again."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether the cards exist on paper only."""
        ...

    @property
    def note(self) -> str:
        """What a user should know of these devices before a run, or ""."""
        ...

    def devices(self) -> tuple[Device, ...]:
        """Return the cards as they are now, by index; a lost card stays in its place, marked."""
        ...

    def close(self) -> None:
        """Give back what the source holds; further calls do nothing."""
        ...


class NoDevices:
    """A machine without cards: everything runs on the CPU."""

    simulated = False

    def __init__(self, spec: str = "none", note: str = "no GPU is used") -> None:
        """Keep what a user is told.

        Args:
            spec: The word for `--gpus` that led here.
            note: Why there is no card.
        """
        self.spec, self.note = spec, note

    def devices(self) -> tuple[Device, ...]:
        """Return no card."""
        return ()

    def close(self) -> None:
        """Hold nothing, so give back nothing."""


def detect_devices(nvidia_driver: Path = _NVIDIA_DRIVER) -> DeviceSource:
    """Return the source for what this machine has.

    Args:
        nvidia_driver: A file that is there where NVIDIA's driver is loaded.
    """
    note = "no GPU found"
    if nvidia_driver.exists():
        note = "NVIDIA driver found, but this version places jobs on simulated devices and the CPU only"
    return NoDevices("auto", note)
