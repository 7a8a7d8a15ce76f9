"""What a training takes, sampled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping

import pytest

from parallel_ml.core.model import Device
from parallel_ml.core.units import MIB
from parallel_ml.gpu.sample import DeviceSample, ProcessUse
from parallel_ml.gpu.source import NoDevices
from parallel_ml.gpu.xid import XidEvent
from parallel_ml.training_monitor.resources import ResourceSampler, whole_tree


class ScriptedCards:
    """Cards whose samples are given, one look after the other."""

    spec, simulated, note = "scripted", True, ""

    def __init__(self, *looks: tuple[DeviceSample, ...]) -> None:
        """Keep the looks."""
        self._looks: Iterator[tuple[DeviceSample, ...]] = iter(looks)
        self.closed = False

    def samples(self) -> tuple[DeviceSample, ...]:
        """Return the next look."""
        return next(self._looks)

    def devices(self, own_pids: Collection[int] = ()) -> tuple[Device, ...]:  # noqa: ARG002 - the port has it
        """Return none: nothing is placed."""
        return ()

    def held(self, roots: Collection[int]) -> Mapping[str, Mapping[int, int]]:  # noqa: ARG002 - the port has it
        """Return nothing."""
        return {}

    def xids(self) -> tuple[XidEvent, ...]:
        """Return none."""
        return ()

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def card(*processes: ProcessUse, busy: int | None = None) -> tuple[DeviceSample, ...]:
    """Return one card with these processes on it."""
    return (DeviceSample(0, "GPU-1", "Card", 16384 * MIB, utilization_percent=busy, processes=processes),)


def test_the_gpu_part_is_that_of_the_training_alone() -> None:
    """Memory and time of the training's own processes are averaged; a stranger's on the same card are not."""
    own, other = os.getpid(), 1
    cards = ScriptedCards(
        card(ProcessUse(own, 1000 * MIB, 40), ProcessUse(other, 9000 * MIB, 50)),
        card(ProcessUse(own, 3000 * MIB, 80)),
    )
    sampler = ResourceSampler(own, lambda: cards)
    sampler.take()
    sampler.take()
    told = sampler.summary()
    assert (told["gpus"], told["gpu_memory_mean_mb"], told["gpu_memory_peak_mb"]) == (1, 2000, 3000)
    assert (told["gpu_utilization_mean"], told["gpu_utilization_peak"]) == (60, 80)
    sampler.close()
    assert cards.closed


def test_where_no_process_is_told_apart_the_whole_card_counts() -> None:
    """A driver that tells no process's time tells the card's; one that shows no process of ours tells nothing."""
    cards = ScriptedCards(card(ProcessUse(os.getpid(), None, None), busy=70), card(ProcessUse(1, None, None), busy=90))
    sampler = ResourceSampler(os.getpid(), lambda: cards)
    sampler.take()
    sampler.take()
    told = sampler.summary()
    assert (told["gpu_utilization_mean"], told["gpu_memory_peak_mb"]) == (70, None)


def test_without_a_card_its_figures_are_not_known() -> None:
    """No GPU is None, never 0; CPU and memory are there."""
    times = iter([0.0, 0.0, 2.0, 4.0, 4.0])
    sampler = ResourceSampler(os.getpid(), NoDevices, lambda: next(times))
    sampler.take()
    sampler.take()
    told = sampler.summary()
    assert (told["gpus"], told["gpu_memory_mean_mb"], told["gpu_utilization_peak"]) == (0, None, None)
    assert told["memory_peak_mb"] is not None
    assert told["memory_peak_mb"] >= (told["memory_mean_mb"] or 0) > 1
    assert told["cpu_mean_percent"] is not None


def test_a_short_training_has_no_percentage() -> None:
    """Over less than half a second CPU time is too coarse to divide."""
    sampler = ResourceSampler(os.getpid(), NoDevices, lambda: 1.0)
    sampler.take()
    assert sampler.summary()["cpu_mean_percent"] is None


def test_a_process_that_is_gone_leaves_no_sample() -> None:
    """A process number that nobody has is not an error."""
    sampler = ResourceSampler(2**22 + 1, NoDevices)
    sampler.take()
    assert sampler.summary()["memory_peak_mb"] is None


@pytest.mark.process
def test_the_tree_is_the_process_and_all_below_it() -> None:
    """Data workers count: their memory is in the sum, and their numbers among the tree's."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        use = whole_tree(os.getpid())
        assert use is not None
        assert {os.getpid(), child.pid} <= use.pids
    finally:
        child.communicate(b"\n")
