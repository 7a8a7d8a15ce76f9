"""Where devices come from: the protocol, the source of a machine without cards, and the choice for this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from parallel_ml.gpu.nvml import NvmlDevices
from parallel_ml.gpu.nvml_library import NVIDIA_DRIVER, NoNvml, Nvml
from parallel_ml.gpu.visible import VisibleDevices, choose

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from parallel_ml.core.model import Device
    from parallel_ml.gpu.sample import DeviceSample
    from parallel_ml.gpu.xid import XidEvent


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

    def xids(self) -> tuple[XidEvent, ...]:
        """Return the Xids that were heard of since the first look with processes of ours, the oldest first."""
        ...

    def close(self) -> None:
        """Give back what the source holds; further calls do nothing."""
        ...


UNUSABLE = "no GPU can be used"
"""So begins the note of a machine whose cards are there and cannot be used."""


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

    def xids(self) -> tuple[XidEvent, ...]:
        """Return none."""
        return ()

    def close(self) -> None:
        """Hold nothing, so give back nothing."""


def detect_devices(nvidia_driver: Path = NVIDIA_DRIVER, environ: Mapping[str, str] | None = None) -> DeviceSource:
    """Return the source for what this machine has, and CUDA_VISIBLE_DEVICES leaves of it.

    Args:
        nvidia_driver: A file that is there where NVIDIA's driver is loaded.
        environ: Where the variable is looked for; None is this process's environment.
    """
    cards = NvmlDevices(Nvml(nvidia_driver))
    try:
        cards.open()
    except NoNvml as error:
        return NoDevices("auto", str(error))
    devices = cards.devices()
    choice = choose(os.environ if environ is None else environ, devices, cards.gpus()) if devices else None
    if devices and choice is None:
        return cards
    if choice is not None and choice.uuids:
        return VisibleDevices(cards, choice)
    cards.close()
    if choice is not None:
        return NoDevices("auto", choice.note)
    return NoDevices("auto", f"{UNUSABLE} ({cards.note})" if cards.note else "no GPU found")
