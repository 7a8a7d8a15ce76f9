"""What a job is charged of its cards' energy."""

from __future__ import annotations

import pytest

from parallel_ml.core.model import GpuShare
from parallel_ml.gpu.sample import DeviceSample, ProcessUse
from parallel_ml.monitor.energy import JobEnergy

WH = 3600.0


def half(uuid: str = "GPU-a") -> GpuShare:
    """Return half of a card."""
    return GpuShare(0, uuid, 1, 0.5, 0.5)


def card(
    energy_j: float | None = None, power_w: float | None = None, uuid: str = "GPU-a", **busy: int | None
) -> DeviceSample:
    """Return a card that tells this; `p7=30` is process 7 with 30 % of its time."""
    uses = tuple(ProcessUse(int(name[1:]), 1, percent) for name, percent in busy.items())
    return DeviceSample(0, uuid, "card", 1, power_w=power_w, energy_j=energy_j, processes=uses)


def charged(*samples: tuple[float, DeviceSample], granted: float = 0.5) -> tuple[float | None, bool]:
    """Return what process 7 with half of a card is charged after these samples, and whether it is an estimate."""
    energy = JobEnergy([half()])
    for now, sample in samples:
        energy.take([sample], {7}, {"GPU-a": granted}, now)
    return energy.wh, energy.estimated


def test_a_job_alone_is_charged_for_all_that_the_card_counted() -> None:
    """It is measured, not estimated, also where the card tells that it alone computes."""
    assert charged((0, card(0)), (1, card(WH)), (2, card(3 * WH))) == (3.0, False)
    assert charged((0, card(0, p7=50)), (1, card(WH, p7=20)), granted=1.0) == (1.0, False)


def test_without_a_counter_power_is_summed_up() -> None:
    """The mean of two readings, for the time between them."""
    assert charged((0, card(power_w=100)), (3600, card(power_w=300))) == (200.0, True)


def test_it_is_divided_by_who_computed() -> None:
    """Other programs count, whether they are ours or not; processes without a figure did not compute."""
    first, second = card(0), card(10 * WH, p7=30, p8=60, p9=10, p10=None)
    assert charged((0, first), (1, second), granted=1.0) == (3.0, True)


def test_a_job_that_did_not_compute_beside_one_that_did_is_charged_nothing() -> None:
    """The card told of all who did."""
    assert charged((0, card(0)), (1, card(WH, p8=90)), granted=1.0) == (0.0, True)


@pytest.mark.parametrize(("granted", "wh"), [(0.5, 10.0), (1.0, 5.0), (2.0, 2.5), (0.0, 10.0)])
def test_else_it_is_divided_by_what_was_granted(granted: float, wh: float) -> None:
    """Other jobs' slots count, also those of other runs; a job is never charged for more than there is."""
    assert charged((0, card(0)), (1, card(10 * WH)), granted=granted)[0] == wh


def test_one_look_measures_nothing() -> None:
    """Not known, never 0; nor where a card tells nothing, or a job has no card."""
    assert charged((0, card(5))) == (None, False)
    assert charged((0, card()), (1, card())) == (None, False)
    assert JobEnergy([]).wh is None


def test_a_look_that_failed_is_made_up_for_by_the_next() -> None:
    """The counter went on meanwhile."""
    assert charged((0, card(0)), (1, card()), (2, card(2 * WH))) == (2.0, False)


def test_a_counter_that_begins_again_loses_what_was_between() -> None:
    """It is an estimate from then on."""
    assert charged((0, card(9 * WH)), (1, card(1 * WH)), (2, card(3 * WH))) == (2.0, True)


def test_the_last_piece_is_charged_like_the_one_before() -> None:
    """Its processes have ended, and the card does not tell of them any more."""
    energy = JobEnergy([half()])
    for now, drawn in ((0, 0.0), (1, WH)):
        energy.take([card(drawn, p7=25, p8=75)], {7}, {}, now)
    energy.finish([card(5 * WH, p8=100)], 2)
    assert energy.wh == 1.25


def test_several_cards_are_added_and_all_must_tell() -> None:
    """A part would be too little; cards of other jobs do not count."""
    energy = JobEnergy([half("GPU-a"), half("GPU-b")])
    for now in (0.0, 1.0):
        energy.take([card(now * WH), card(now * 9 * WH, uuid="GPU-c")], {7}, {}, now)
    assert energy.wh is None
    for now in (2.0, 3.0):
        energy.take([card(now * WH), card(now * WH, uuid="GPU-b")], {7}, {}, now)
    assert energy.wh == 4.0


def test_another_supervisor_goes_on_where_the_first_left() -> None:
    """What was drawn in between is not known."""
    energy = JobEnergy([half()], before_wh=2.0)
    assert energy.wh == 2.0
    for now in (0.0, 1.0):
        energy.take([card(now * WH)], {7}, {}, now)
    assert (energy.wh, energy.estimated) == (3.0, True)
