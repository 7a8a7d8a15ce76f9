"""NvmlDevices against the stand-in: what is seen of cards, and whose memory it is."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from parallel_ml.core.units import GIB, MIB
from parallel_ml.gpu import DeviceSample, GPUManager, ProcessUse
from parallel_ml.gpu.nvml import NvmlDevices
from parallel_ml.gpu.nvml_library import Nvml
from tests.nvml.standin import (
    FUNCTION_NOT_FOUND,
    GPU_IS_LOST,
    NO_PERMISSION,
    NOT_SUPPORTED,
    RESET_REQUIRED,
    TIMEOUT,
    UNKNOWN,
    Card,
    StandIn,
    Use,
    run_python,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A = Card("GPU-a", bus="0000:01:00.0")
B = Card("GPU-b", bus="0000:41:00.0", total=8 * GIB)
ME = os.getpid()


@pytest.fixture
def cards(nvml: StandIn) -> Iterator[NvmlDevices]:
    """Return two cards of 16 and 8 GiB, empty."""
    nvml.show(A, B)
    source = NvmlDevices()
    yield source
    source.close()


def foreign(source: NvmlDevices, *own_pids: int) -> list[int]:
    """Return the foreign memory of each card in MiB."""
    return [device.foreign_bytes // MIB for device in source.devices(own_pids)]


class TestCards:
    """Which cards there are."""

    def test_cards_come_in_the_order_of_the_bus(self, nvml: StandIn) -> None:
        """The order is that of PCI_BUS_ID in the children, whatever NVML's own is."""
        nvml.show(B, A, Card("GPU-c", bus="0001:01:00.0"))
        assert [(card.index, card.uuid) for card in NvmlDevices().devices()] == [
            (0, "GPU-a"),
            (1, "GPU-b"),
            (2, "GPU-c"),
        ]

    def test_other_numbers_change_nothing(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """A card is its uuid: NVML may count anew."""
        before = cards.devices()
        nvml.show(B, A)
        assert cards.devices() == before

    def test_what_the_driver_reserves_is_not_there(self, nvml: StandIn) -> None:
        """Half of a card is half of what programs can have of it, as CUDA says it too."""
        nvml.show(Card("GPU-a", reserved=512 * MIB))
        (card,) = NvmlDevices().devices()
        assert (card.memory_bytes, card.foreign_bytes) == (16 * GIB - 512 * MIB, 0)

    def test_an_old_driver_counts_what_it_reserves_as_used(self, nvml: StandIn) -> None:
        """Without version 2 of the memory's structure nothing reserved is taken for free."""
        nvml.show(Card("GPU-a", reserved=512 * MIB))
        nvml.fail("nvmlDeviceGetMemoryInfo_v2", FUNCTION_NOT_FOUND)
        (card,) = NvmlDevices().devices()
        assert (card.memory_bytes, card.foreign_bytes) == (16 * GIB, 512 * MIB)

    def test_mig_instances_are_devices(self, nvml: StandIn) -> None:
        """Each instance stands in the place of its card, with its own memory and its own processes."""
        nvml.show(
            B,
            Card("GPU-a", mig=1),
            Card("MIG-2", parent="GPU-a", total=5 * GIB, name="A100 MIG 1g.5gb"),
            Card("MIG-1", parent="GPU-a", total=10 * GIB, name="A100 MIG 2g.10gb"),
        )
        nvml.put(Use("MIG-2", ME, GIB))
        seen = [(card.uuid, card.name, card.memory_bytes, card.foreign_bytes) for card in NvmlDevices().devices()]
        assert seen == [
            ("MIG-2", "A100 MIG 1g.5gb", 5 * GIB, GIB),
            ("MIG-1", "A100 MIG 2g.10gb", 10 * GIB, 0),
            ("GPU-b", "NVIDIA Stand-in", 8 * GIB, 0),
        ]

    def test_mig_without_an_instance_is_said(self, nvml: StandIn) -> None:
        """A card that only its administrator can make usable is left out, with a line."""
        nvml.show(Card("GPU-a", mig=1), B)
        source = NvmlDevices()
        assert [card.uuid for card in source.devices()] == ["GPU-b"]
        assert source.note == "GPU-a is in MIG mode and has no instance, so it is not used"

    def test_a_card_that_does_not_tell_its_memory_is_left_out(self, nvml: StandIn) -> None:
        """Nothing can be granted of a card whose size nobody knows."""
        nvml.show(A, B)
        nvml.fail("nvmlDeviceGetMemoryInfo", NOT_SUPPORTED, "GPU-a")
        nvml.fail("nvmlDeviceGetMemoryInfo_v2", NOT_SUPPORTED, "GPU-a")
        source = NvmlDevices()
        assert [card.uuid for card in source.devices()] == ["GPU-b"]
        assert source.note == "GPU-a does not tell how much memory it has, so it is not used"


class TestLost:
    """Cards that fall off the bus."""

    @pytest.mark.parametrize("code", [GPU_IS_LOST, RESET_REQUIRED])
    def test_a_lost_card_stays_in_its_place(self, nvml: StandIn, cards: NvmlDevices, code: int) -> None:
        """A card that is lost in the middle of a run is marked, and the others keep their numbers."""
        cards.devices()
        nvml.show(Card("GPU-a", lost=code), B)
        assert [(card.index, card.uuid, card.lost, card.usable_bytes) for card in cards.devices()] == [
            (0, "GPU-a", True, 0),
            (1, "GPU-b", False, 8 * GIB),
        ]
        assert cards.note.startswith("GPU 0 is lost" if code == GPU_IS_LOST else "GPU 0 needs a reset")

    def test_a_card_that_is_not_listed_any_more_is_lost(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """A card that has vanished without an error is gone all the same."""
        cards.devices()
        nvml.show(B)
        assert [(card.uuid, card.lost) for card in cards.devices()] == [("GPU-a", True), ("GPU-b", False)]
        assert cards.note == "GPU 0 is gone"

    def test_a_card_that_comes_back_is_used_again(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """After a reset the card is as good as new."""
        cards.devices()
        nvml.show(Card("GPU-a", lost=RESET_REQUIRED), B)
        cards.devices()
        nvml.show(A, B)
        assert [card.lost for card in cards.devices()] == [False, False]

    @pytest.mark.parametrize("function", ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetComputeRunningProcesses_v3"])
    def test_a_card_may_be_lost_between_two_questions(self, nvml: StandIn, cards: NvmlDevices, function: str) -> None:
        """Whichever question it does not answer any more, the card is lost."""
        cards.devices()
        nvml.fail(function, GPU_IS_LOST, "GPU-b")
        assert [card.lost for card in cards.devices()] == [False, True]

    def test_a_card_lost_from_the_start_is_said(self, nvml: StandIn) -> None:
        """Nothing can be placed on it; it keeps its number, which a run that knew it goes by."""
        nvml.show(Card("GPU-a", lost=GPU_IS_LOST), B)
        source = NvmlDevices()
        assert [(card.index, card.uuid) for card in source.devices()] == [(1, "GPU-b")]
        lost, well = source.samples()
        assert (lost.index, lost.uuid, well.index, well.bus) == (0, "", 1, "0000:41:00.0")
        assert source.note == f"GPU 0 {lost.trouble}"
        assert lost.trouble.startswith("is lost")

    def test_a_card_lost_from_the_start_is_named_by_the_drivers_files(self, nvml: StandIn, tmp_path: Path) -> None:
        """They are there for a card that does not answer any more, beside those that do."""
        for bus, model, uuid in ((A.bus, "NVIDIA A100", "GPU-a"), (B.bus, "NVIDIA A100", "GPU-????????-????")):
            folder = tmp_path / "gpus" / bus
            folder.mkdir(parents=True)
            (folder / "information").write_text(f"Model: \t\t {model}\nGPU UUID: \t {uuid}\nBus Location: \t {bus}\n")
        nvml.show(A, Card("GPU-b", bus=B.bus, lost=GPU_IS_LOST))
        source = NvmlDevices(Nvml(tmp_path / "version"))
        lost = source.samples()[1]
        assert (lost.index, lost.bus, lost.name, lost.uuid) == (1, B.bus, "NVIDIA A100", "")
        assert source.note.startswith(f"GPU 1 (NVIDIA A100, {B.bus}) is lost")
        nvml.show(Card("GPU-a", bus=A.bus, lost=GPU_IS_LOST), B)
        assert NvmlDevices(Nvml(tmp_path / "version")).samples()[0].uuid == "GPU-a"

    def test_instances_of_a_card_without_mig_any_more_are_lost(self, nvml: StandIn) -> None:
        """Where an administrator takes an instance away, nothing more is placed on it."""
        nvml.show(Card("GPU-a", mig=1), Card("MIG-1", parent="GPU-a", total=5 * GIB))
        source = NvmlDevices()
        source.devices()
        nvml.show(A)
        assert {card.uuid: card.lost for card in source.devices()} == {"GPU-a": False, "MIG-1": True}


class TestMemory:
    """Whose the memory is."""

    def test_other_programs_are_foreign(
        self, nvml: StandIn, cards: NvmlDevices, stranger: subprocess.Popen[bytes]
    ) -> None:
        """What any process holds is taken, computing, drawing or under MPS, and is free when the process has ended."""
        uses = [Use("GPU-a", stranger.pid, 3 * GIB), Use("GPU-b", ME, GIB, "G"), Use("GPU-b", ME, GIB, "M")]
        nvml.put(*uses)
        assert foreign(cards) == [3072, 2048]
        stranger.kill()
        stranger.wait()
        assert foreign(cards) == [0, 2048]

    def test_our_own_processes_are_not_foreign(
        self, nvml: StandIn, cards: NvmlDevices, stranger: subprocess.Popen[bytes]
    ) -> None:
        """What the run's processes hold is in its grants already."""
        nvml.put(Use("GPU-a", stranger.pid, 3 * GIB), Use("GPU-a", 1, GIB))
        assert foreign(cards, stranger.pid) == [1024, 0]

    def test_descendants_are_ours_too(
        self, nvml: StandIn, cards: NvmlDevices, stranger: subprocess.Popen[bytes]
    ) -> None:
        """A shim is named, and its training process is meant."""
        nvml.put(Use("GPU-a", stranger.pid, 3 * GIB))
        assert foreign(cards, ME) == [0, 0]
        assert cards.held({ME, stranger.pid}) == {"GPU-a": {stranger.pid: 3 * GIB}, "GPU-b": {}}

    def test_a_process_in_two_lists_counts_once(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """A program that draws and computes holds its memory once."""
        nvml.show(Card("GPU-a", used=GIB))
        nvml.put(Use("GPU-a", ME, GIB), Use("GPU-a", ME, GIB, "G"))
        cards.devices()
        assert cards.held({ME})["GPU-a"] == {ME: GIB}

    def test_what_no_process_explains_is_foreign(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """Another container's memory shows in the sum alone, and is not free."""
        nvml.show(Card("GPU-a", used=5 * GIB), B)
        nvml.put(Use("GPU-a", ME, 2 * GIB))
        assert foreign(cards, ME) == [5120, 0]

    def test_a_card_that_is_busy_for_a_moment_is_full(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """Where one look does not tell how full a card is, nothing more is placed, and the next look is asked anew."""
        cards.devices()
        nvml.fail("nvmlDeviceGetMemoryInfo", TIMEOUT, "GPU-a")
        nvml.fail("nvmlDeviceGetMemoryInfo_v2", TIMEOUT, "GPU-a")
        assert [card.usable_bytes for card in cards.devices()] == [0, 8 * GIB]
        nvml.show(A, B)
        assert [card.usable_bytes for card in cards.devices()] == [16 * GIB, 8 * GIB]

    def test_cards_that_cannot_be_counted_are_full(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """A driver that stops answering in the middle of a run loses no card, and gets no further job."""
        cards.devices()
        nvml.fail("nvmlDeviceGetCount_v2", UNKNOWN)
        assert [(card.usable_bytes, card.lost) for card in cards.devices()] == [(0, False), (0, False)]
        assert cards.note == "the GPUs cannot be read (Unknown Error)"


class TestNotMeasurable:
    """Machines that do not tell what a process holds."""

    @pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, UNKNOWN])
    def test_without_lists_it_is_said(self, nvml: StandIn, cards: NvmlDevices, code: int) -> None:
        """Whatever keeps the lists away, the user is told, and what is in use is not free."""
        for version in ("_v2", "_v3"):
            nvml.fail(f"nvmlDeviceGetComputeRunningProcesses{version}", code)
        nvml.put(Use("GPU-a", ME, 3 * GIB))
        assert foreign(cards) == [3072, 0]
        assert cards.note.startswith("GPU memory of single programs is not measurable here")
        assert [sample.processes for sample in cards.samples()] == [None, None]

    def test_an_older_list_is_as_good(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """A driver without version 3 of the lists is asked for version 2."""
        nvml.fail("nvmlDeviceGetComputeRunningProcesses_v3", FUNCTION_NOT_FOUND)
        nvml.put(Use("GPU-a", ME, 3 * GIB), Use("GPU-a", 1, GIB))
        assert (foreign(cards, ME), cards.note) == ([1024, 0], "")

    @pytest.mark.parametrize("how", ["untold", "hidden"])
    def test_what_was_there_before_us_stays_foreign(self, nvml: StandIn, cards: NvmlDevices, how: str) -> None:
        """What our jobs take beside it is taken, but may be what they were granted."""
        before, ours = Use("GPU-a", 1, 4 * GIB), Use("GPU-a", ME, 5 * GIB)
        for use in (before, ours):
            setattr(use, how, 1)
        nvml.put(before)
        assert foreign(cards) == [4096, 0]
        nvml.put(before, ours)
        (card, _) = cards.devices((ME,))
        assert (card.foreign_bytes, card.unattributed_bytes) == (4 * GIB, 5 * GIB)
        assert "not measurable here" in cards.note

    def test_beside_our_grants_only_the_excess_is_foreign(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """5 GiB in use are covered by a grant of 6; of a grant of 3 they take 2 more."""
        cards.devices()
        nvml.put(Use("GPU-a", ME, 5 * GIB, untold=1))
        (card, _) = cards.devices((ME,))
        assert [card.left_bytes(granted * GIB) // GIB for granted in (6, 5, 3)] == [10, 11, 11]

    def test_a_run_taken_over_counts_everything_twice_at_first(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """A supervisor that finds jobs running cannot tell what was there before: it rather grants too little."""
        nvml.put(Use("GPU-a", ME, 5 * GIB, untold=1))
        assert foreign(cards, ME) == [5120, 0]
        nvml.put(Use("GPU-a", ME, 1 * GIB, untold=1))
        assert foreign(cards, ME) == [1024, 0]

    def test_numbers_of_another_namespace_are_not_ours(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """In a container the driver may list the host's numbers: they cannot be matched, so nothing is attributed."""
        cards.devices()
        nvml.put(Use("GPU-a", 4_000_000, 5 * GIB, foreign=1))
        (card, _) = cards.devices((ME,))
        assert (card.foreign_bytes, card.unattributed_bytes) == (0, 5 * GIB)

    def test_where_ours_were_seen_strangers_are_strangers(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """Once a process of ours was in a list, a number that is not seen here is another user's."""
        nvml.put(Use("GPU-b", ME, GIB))
        cards.devices((ME,))
        nvml.put(Use("GPU-a", 4_000_000, 5 * GIB, foreign=1))
        assert foreign(cards, ME) == [5120, 0]


class TestSamples:
    """What is measured."""

    def test_everything_that_is_told(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """Units are in the names: percent, degrees, watts, joules."""
        nvml.show(Card("GPU-a", util=87, temp=71, power=301_500, energy=2_500, ecc=2, remap=1, throttle=0x4C))
        nvml.put(Use("GPU-a", ME, 3 * GIB, sm=80), Use("GPU-a", 1, GIB))
        assert cards.samples() == (
            DeviceSample(
                0,
                "GPU-a",
                "NVIDIA Stand-in",
                16 * GIB,
                used_bytes=4 * GIB,
                utilization_percent=87,
                temperature_c=71,
                power_w=301.5,
                energy_j=2.5,
                processes=(ProcessUse(1, GIB), ProcessUse(ME, 3 * GIB, 80)),
                ecc_uncorrected=2,
                repair_pending=True,
                slowed_by=("thermal", "power"),
                bus=A.bus,
            ),
        )

    @pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, UNKNOWN])
    @pytest.mark.parametrize(
        ("function", "name"),
        [
            ("nvmlDeviceGetUtilizationRates", "utilization_percent"),
            ("nvmlDeviceGetTemperature", "temperature_c"),
            ("nvmlDeviceGetPowerUsage", "power_w"),
            ("nvmlDeviceGetTotalEnergyConsumption", "energy_j"),
            ("nvmlDeviceGetTotalEccErrors", "ecc_uncorrected"),
        ],
    )
    def test_what_is_not_told_is_none_and_not_asked_again(
        self, nvml: StandIn, cards: NvmlDevices, function: str, name: str, code: int
    ) -> None:
        """A card without a metric has None for it, is asked once, and the other card is not concerned."""
        nvml.fail(function, code, "GPU-b")
        for _ in range(3):
            told = [getattr(sample, name) for sample in cards.samples()]
        assert told[0] is not None
        assert told[1] is None
        assert (nvml.calls(function, "GPU-a"), nvml.calls(function, "GPU-b")) == (3, 1)

    def test_what_slows_a_card_down(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """An idle card is not slowed down; the hardware's own reason is named where no other explains it."""
        seen = []
        for bits in (0x1, 0x20, 0x80, 0x08):
            nvml.show(Card("GPU-a", throttle=bits))
            seen.append(cards.samples()[0].slowed_by)
        assert seen == [(), ("thermal",), ("power",), ("hardware",)]

    def test_an_older_driver_has_another_name_for_it(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """What slows a card down is asked by both names, and None where neither is known."""
        nvml.show(Card("GPU-a", throttle=0x40))
        nvml.fail("nvmlDeviceGetCurrentClocksEventReasons", FUNCTION_NOT_FOUND)
        assert cards.samples()[0].slowed_by == ("thermal",)
        nvml.fail("nvmlDeviceGetCurrentClocksThrottleReasons", FUNCTION_NOT_FOUND)
        assert cards.samples()[0].slowed_by is None

    def test_bad_memory_that_waits_for_a_reset(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """Retired pages of older cards, remapped rows of newer ones; None where a card has neither."""
        nvml.show(Card("GPU-a", pending=1), Card("GPU-b", bus="0000:41:00.0"))
        nvml.fail("nvmlDeviceGetRemappedRows", NOT_SUPPORTED)
        assert [sample.repair_pending for sample in cards.samples()] == [True, False]
        nvml.fail("nvmlDeviceGetRetiredPagesPendingStatus", NOT_SUPPORTED)
        assert [sample.repair_pending for sample in cards.samples()] == [None, None]

    def test_what_fails_once_is_asked_again(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """A timeout says nothing about the next time."""
        nvml.fail("nvmlDeviceGetTemperature", TIMEOUT)
        assert cards.samples()[0].temperature_c is None
        nvml.show(A, B)
        assert cards.samples()[0].temperature_c == 40

    def test_a_mig_instance_has_no_utilisation(self, nvml: StandIn) -> None:
        """NVML does not tell it, so it is None and not 0."""
        nvml.show(Card("GPU-a", mig=1), Card("MIG-1", parent="GPU-a", total=5 * GIB))
        assert [sample.utilization_percent for sample in NvmlDevices().samples()] == [None]

    def test_a_card_lost_while_it_is_measured_says_so(self, nvml: StandIn, cards: NvmlDevices) -> None:
        """The sample has what was known, and the trouble."""
        nvml.fail("nvmlDeviceGetTemperature", GPU_IS_LOST, "GPU-a")
        first, second = cards.samples()
        assert first.trouble.startswith("is lost")
        assert (first.memory_bytes, second.trouble) == (16 * GIB, "")


class TestOpening:
    """When NVML is loaded, and when it is let go."""

    def test_nothing_is_opened_before_the_first_look(self, nvml: StandIn) -> None:
        """Making a manager costs nothing; a look opens NVML once, and closing shuts it down once."""
        nvml.show(A)
        manager = GPUManager.detect()
        assert (manager.spec, manager.simulated, nvml.calls("nvmlInit")) == ("auto", False, 0)
        manager.snapshot()
        manager.snapshot()
        manager.close()
        manager.close()
        assert (nvml.calls("nvmlInit"), nvml.calls("nvmlShutdown")) == (1, 1)

    def test_after_closing_a_look_opens_again(self, nvml: StandIn) -> None:
        """A manager outlives a run."""
        nvml.show(A)
        manager = GPUManager.detect()
        manager.snapshot()
        manager.close()
        assert len(manager.snapshot().devices) == 1

    @pytest.mark.parametrize("spec", ["none", "sim:2x16GiB"])
    def test_who_wants_no_card_opens_nothing(self, nvml: StandIn, spec: str) -> None:
        """With --gpus none or simulated cards NVML is left alone."""
        manager = GPUManager.from_spec(spec)
        assert manager.notes
        assert manager.samples() is not None
        manager.close()
        assert nvml.calls("nvml") == 0

    @pytest.mark.process
    def test_a_process_of_its_own_finds_the_library_by_its_path(self, nvml: StandIn) -> None:
        """Real pynvml, loading by name: nothing of this process is needed."""
        nvml.show(B, A)
        program = (
            "import parallel_ml, sys; assert 'pynvml' not in sys.modules\n"
            "manager = parallel_ml.GPUManager.detect(); print([card.uuid for card in manager.snapshot().devices])"
        )
        assert run_python(program, nvml.env) == "['GPU-a', 'GPU-b']"
