"""Simulated devices: how they are named, and how they are filled and lost."""

from __future__ import annotations

import pytest

from parallel_ml.core.units import GIB, MIB
from parallel_ml.errors import UsageError
from parallel_ml.gpu import SimulatedDevices


def sizes(spec: str) -> list[int]:
    """Return the sizes that a word for --gpus names, in MiB."""
    return [device.memory_bytes // MIB for device in SimulatedDevices.from_spec(spec).devices()]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("sim:16GiB", [16_384]),
        ("sim:2x16GiB", [16_384, 16_384]),
        ("sim:2x16GiB,1x8GiB", [16_384, 16_384, 8192]),
        ("sim:8gb, 2 x 4000MB", [8192, 4000, 4000]),
        ("sim:1.5GiB", [1536]),
    ],
)
def test_what_a_spec_names(spec: str, expected: list[int]) -> None:
    """Counts are optional, groups are joined by commas, units are those of every size."""
    assert sizes(spec) == expected


@pytest.mark.parametrize(
    "spec",
    [
        "sim:",
        "sim:two",
        "sim:2x",
        "sim:x16GiB",
        "sim:-1x16GiB",
        "sim:0x16GiB",
        "sim:65x16GiB",
        "sim:2x16",
        "sim:2x16XiB",
        "sim:2x0GiB",
        "sim:2x1MiB",
        "sim:2x9999TiB",
        "sim:16GiB,",
        "sim:" + "9" * 500 + "GiB",
        "sim:" + "9" * 5000 + "x1GiB",
    ],
)
def test_what_names_nothing_is_refused(spec: str) -> None:
    """A spec that is not one, or out of all reason, is a usage error in one line."""
    with pytest.raises(UsageError) as refused:
        SimulatedDevices.from_spec(spec)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("spec", ["sim:1x16GiB", "sim:2x16GiB,1x8GiB,1x16GiB", "sim:3x1500MiB", "sim:1x70000000B"])
def test_the_spec_comes_back_exactly(spec: str) -> None:
    """Cards made from a spec know it."""
    assert SimulatedDevices.from_spec(spec).spec == spec


def test_other_programs_take_memory_and_give_it_back() -> None:
    """What set_foreign takes is not usable until it is freed."""
    cards = SimulatedDevices([16 * GIB, 8 * GIB])
    cards.set_foreign(1, 3 * GIB)
    assert [card.usable_bytes for card in cards.devices()] == [16 * GIB, 5 * GIB]
    cards.set_foreign(1, 0)
    assert [card.usable_bytes for card in cards.devices()] == [16 * GIB, 8 * GIB]


def test_a_lost_card_stays_in_its_place() -> None:
    """A lost card is marked and has nothing usable; the others keep their index."""
    cards = SimulatedDevices([16 * GIB, 8 * GIB])
    cards.lose(0)
    assert [(card.index, card.lost, card.usable_bytes) for card in cards.devices()] == [
        (0, True, 0),
        (1, False, 8 * GIB),
    ]
