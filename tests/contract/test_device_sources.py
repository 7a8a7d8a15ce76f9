"""What every source of devices keeps to, whatever it reads from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from parallel_ml.core.units import GIB
from parallel_ml.gpu import DeviceSource, GPUManager, NoDevices, SimulatedDevices
from parallel_ml.gpu.source import detect_devices
from tests.nvml.standin import Card, StandIn, library, nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["library", "nvml"]

SOURCES: dict[str, Callable[[], DeviceSource]] = {
    "none": NoDevices,
    "detected none": detect_devices,
    "one simulated": lambda: SimulatedDevices([8 * GIB]),
    "mixed simulated": lambda: SimulatedDevices([16 * GIB, 16 * GIB, 8 * GIB]),
}
DETECTED: dict[str, list[Card]] = {
    "cards": [Card("GPU-b", bus="0000:41:00.0", used=GIB), Card("GPU-a", reserved=GIB, used=99 * GIB)],
    "MIG": [
        Card("GPU-a", mig=1),
        Card("MIG-1", parent="GPU-a", total=5 * GIB),
        Card("MIG-2", parent="GPU-a", total=5 * GIB),
    ],
}


@pytest.fixture(params=[*SOURCES, *DETECTED])
def source(request: pytest.FixtureRequest) -> Iterator[DeviceSource]:
    """Return each source in turn, and close it."""
    if request.param in DETECTED:
        stand_in: StandIn = request.getfixturevalue("nvml")
        stand_in.show(*DETECTED[request.param])
        made = detect_devices()
        assert len(made.devices()) == 2
    else:
        made = SOURCES[request.param]()
    yield made
    made.close()


def test_devices_come_by_index(source: DeviceSource) -> None:
    """The index of a device is its place."""
    assert [device.index for device in source.devices()] == list(range(len(source.devices())))


def test_uuids_are_unique_and_stay(source: DeviceSource) -> None:
    """A device keeps its name from look to look, and shares it with none."""
    uuids = [device.uuid for device in source.devices()]
    assert len(set(uuids)) == len(uuids)
    assert uuids == [device.uuid for device in source.devices()]


def test_sizes_are_possible(source: DeviceSource) -> None:
    """No device is empty, and none is fuller than full."""
    assert all(0 <= device.foreign_bytes <= device.memory_bytes > 0 for device in source.devices())


def test_a_sample_for_each_device(source: DeviceSource) -> None:
    """What is measured stands beside what is placed on."""
    told = [(sample.index, sample.uuid, sample.memory_bytes) for sample in source.samples()]
    assert told == [(device.index, device.uuid, device.memory_bytes) for device in source.devices()]


def test_nobody_holds_more_than_there_is(source: DeviceSource) -> None:
    """Processes that are not asked for hold nothing, and no card that is not there is spoken of."""
    uuids = {device.uuid for device in source.devices()}
    held = source.held(())
    assert set(held) <= uuids
    assert not any(held.values())


def test_where_nothing_happened_nothing_is_heard(source: DeviceSource) -> None:
    """Also while jobs run."""
    source.devices((os.getpid(),))
    assert source.xids() == ()


def test_the_spec_makes_a_like_source(source: DeviceSource) -> None:
    """What is written down of a run is enough to look at the same devices again."""
    again = GPUManager.from_spec(source.spec)
    assert again.snapshot().devices == source.devices()
    assert again.simulated == source.simulated


def test_a_source_without_cards_says_why(source: DeviceSource) -> None:
    """Nobody is left to wonder why the CPU is used."""
    assert source.devices() or source.note


def test_closing_twice_does_nothing(source: DeviceSource) -> None:
    """The owner may close in any order."""
    source.close()
    source.close()
