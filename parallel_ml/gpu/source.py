"""Where devices come from: the protocol, the source of a machine without cards, and the choice for this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from parallel_ml.gpu.nvml import NvmlDevices
from parallel_ml.gpu.nvml_library import NVIDIA_DRIVER, NoNvml, Nvml

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from parallel_ml.core.model import Device
    from parallel_ml.gpu.sample import DeviceSample


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

    def devices(self, own_pids: Collection[int] = ()) -> tuple[Device, ...]:
        """Return the cards as they are now, by index; a lost card stays in its place, marked.

        Args:
            own_pids: Processes whose memory, and whose descendants', is not foreign.
        """
        ...

    def held(self, roots: Collection[int]) -> Mapping[str, Mapping[int, int]]:
        """Return the bytes on each card, by uuid, that each of `roots` and its descendants held at the last look.

        A process counts for the nearest of `roots` above it. Where that is not measurable, nothing is returned.
        """
        ...

    def samples(self) -> tuple[DeviceSample, ...]:
        """Return what is measured of the cards now."""
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

    def devices(self, own_pids: Collection[int] = ()) -> tuple[Device, ...]:  # noqa: ARG002 - there is nothing to hold
        """Return no card."""
        return ()

    def held(self, roots: Collection[int]) -> Mapping[str, Mapping[int, int]]:  # noqa: ARG002
        """Return nothing: nobody holds what is not there."""
        return {}

    def samples(self) -> tuple[DeviceSample, ...]:
        """Return no card."""
        return ()

    def close(self) -> None:
        """Hold nothing, so give back nothing."""


def detect_devices(nvidia_driver: Path = NVIDIA_DRIVER) -> DeviceSource:
    """Return the source for what this machine has.

    Args:
        nvidia_driver: A file that is there where NVIDIA's driver is loaded.
    """
    cards = NvmlDevices(Nvml(nvidia_driver))
    try:
        cards.open()
    except NoNvml as error:
        return NoDevices("auto", str(error))
    if cards.devices():
        return cards
    cards.close()
    return NoDevices("auto", f"no GPU can be used ({cards.note})" if cards.note else "no GPU found")
