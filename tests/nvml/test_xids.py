"""Xids through NVML's event set, with the stand-in: which cards can be used after one, and who is told."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from parallel_ml.adapters.cli.main import main
from parallel_ml.core.units import GIB
from parallel_ml.gpu.nvml import NvmlDevices
from parallel_ml.gpu.xid import XidEvent
from parallel_ml.gpu.xid_watch import XidRecord
from tests.nvml.standin import FUNCTION_NOT_FOUND, GPU_IS_LOST, NOT_SUPPORTED, UNKNOWN, Card, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B = Card("GPU-a", bus="0000:01:00.0"), Card("GPU-b", bus="0000:41:00.0")
ME = (os.getpid(),)


@pytest.fixture
def cards(nvml: StandIn) -> Iterator[NvmlDevices]:
    """Return two cards that are listened to."""
    nvml.show(A, B)
    source = NvmlDevices()
    source.devices(ME)
    yield source
    source.close()


def heard(source: NvmlDevices) -> list[tuple[str, int]]:
    """Return what was heard: card and number."""
    return [(event.uuid, event.xid) for event in source.xids()]


@pytest.mark.parametrize("xid", [46, 48, 62, 64, 74, 79, 95, 119, 120, 140])
def test_after_some_xids_nothing_is_placed_on_the_card(nvml: StandIn, cards: NvmlDevices, xid: int) -> None:
    """It needs a reset or a restart, as NVIDIA's catalogue says; the reason names the Xid; the other card goes on."""
    nvml.xid("GPU-a", xid)
    first, second = cards.devices(ME)
    assert (first.lost, first.usable_bytes, second.lost, second.usable_bytes) == (True, 0, False, 16 * GIB)
    assert first.trouble.startswith(f"had Xid {xid} (")
    assert first.trouble.endswith("needs a reset or a restart of the machine")
    assert cards.note == f"GPU 0 {first.trouble}"


@pytest.mark.parametrize("xid", [8, 13, 31, 43, 45, 69, 94, 63, 9999])
def test_after_others_the_card_is_as_good_as_before(nvml: StandIn, cards: NvmlDevices, xid: int) -> None:
    """A program's own fault, and what nobody here knows, is only told of."""
    nvml.xid("GPU-a", xid)
    assert [card.lost for card in cards.devices(ME)] == [False, False]
    assert (heard(cards), cards.note) == ([("GPU-a", xid)], "")


def test_all_xids_between_two_looks_are_heard(nvml: StandIn, cards: NvmlDevices) -> None:
    """The cleanup that follows an error does not hide it."""
    for uuid, xid in (("GPU-a", 48), ("GPU-a", 45), ("GPU-b", 31)):
        nvml.xid(uuid, xid)
    assert [card.lost for card in cards.devices(ME)] == [True, False]
    assert heard(cards) == [("GPU-a", 48), ("GPU-a", 45), ("GPU-b", 31)]


def test_a_condemned_card_stays_so(nvml: StandIn, cards: NvmlDevices) -> None:
    """Whatever else is heard of it, and although it answers."""
    nvml.xid("GPU-a", 79)
    cards.devices(ME)
    nvml.xid("GPU-a", 45)
    (first, _) = cards.devices(ME)
    assert first.trouble.startswith("had Xid 79 (the GPU has fallen off the bus)")


def test_a_card_that_is_lost_as_well_names_its_xid(nvml: StandIn, cards: NvmlDevices) -> None:
    """The cause says more than that it does not answer."""
    nvml.xid("GPU-a", 79)
    cards.devices(ME)
    nvml.show(Card("GPU-a", bus=A.bus, lost=GPU_IS_LOST), B)
    assert cards.devices(ME)[0].trouble.startswith("had Xid 79")


def test_what_was_before_is_not_heard(nvml: StandIn) -> None:
    """Nor is anything before jobs run: looking at cards listens to none."""
    nvml.show(A)
    nvml.xid("GPU-a", 79)
    source = NvmlDevices()
    assert not source.devices()[0].lost
    assert nvml.calls("nvmlEventSet") == 0
    assert not source.devices(ME)[0].lost
    assert (heard(source), nvml.calls("nvmlDeviceRegisterEvents")) == ([], 1)
    source.close()


def test_a_card_is_registered_once(nvml: StandIn, cards: NvmlDevices) -> None:
    """Each look waits a moment for events, and does nothing else."""
    for _ in range(3):
        cards.devices(ME)
    assert (nvml.calls("nvmlDeviceRegisterEvents"), nvml.calls("nvmlEventSetCreate")) == (2, 1)


@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND, UNKNOWN])
@pytest.mark.parametrize("function", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"])
def test_without_events_all_goes_on_and_nobody_is_bothered(nvml: StandIn, function: str, code: int) -> None:
    """WSL and virtual machines: it is asked once for each card, and never again."""
    nvml.show(A, B)
    nvml.fail(function, code)
    source = NvmlDevices()
    for _ in range(3):
        assert [card.usable_bytes for card in source.devices(ME)] == [16 * GIB] * 2
    nvml.xid("GPU-a", 79)
    assert (heard(source), source.note) == ([], "")
    assert nvml.calls(function) <= 2
    source.close()


def test_a_lost_card_may_end_the_listening(nvml: StandIn, cards: NvmlDevices) -> None:
    """The question itself then fails, which hurts nothing."""
    nvml.fail("nvmlEventSetWait_v2", GPU_IS_LOST)
    assert [card.lost for card in cards.devices(ME)] == [False, False]
    assert heard(cards) == []


def test_an_xid_of_a_card_is_one_of_all_its_instances(nvml: StandIn) -> None:
    """What happens to a card in MIG mode concerns each job on it."""
    nvml.show(Card("GPU-a", mig=1), Card("MIG-1", parent="GPU-a"), Card("MIG-2", parent="GPU-a"), B)
    source = NvmlDevices()
    source.devices(ME)
    nvml.xid("GPU-a", 79)
    assert [(card.uuid, card.lost) for card in source.devices(ME)] == [
        ("MIG-1", True),
        ("MIG-2", True),
        ("GPU-b", False),
    ]
    assert heard(source) == [("MIG-1", 79), ("MIG-2", 79)]
    source.close()


def test_after_closing_it_listens_anew(nvml: StandIn, cards: NvmlDevices) -> None:
    """A manager outlives a run; the set of events does not."""
    cards.close()
    assert nvml.calls("nvmlEventSetFree") == 1
    cards.devices(ME)
    nvml.xid("GPU-b", 13)
    assert heard(cards) == [("GPU-b", 13)]


def test_gpus_shows_what_a_run_has_heard(nvml: StandIn, cards: NvmlDevices, capsys: pytest.CaptureFixture[str]) -> None:
    """Only a run listens; another process is told by the file that it leaves."""
    nvml.xid("GPU-b", 31)
    cards.devices(ME)
    assert main(["gpus", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["gpus"]
    assert first["last_xid"] is None
    assert (second["last_xid"]["xid"], second["last_xid"]["needs_reset"], second["health"]) == (31, False, "ok")
    assert main(["gpus"]) == 0
    assert "GPU 1 last reported Xid 31 (GPU memory page fault)" in capsys.readouterr().out


def test_the_record_keeps_the_last_of_each_card(tmp_path: Path) -> None:
    """Another run's events of other cards stay."""
    one, two, three = XidEvent("GPU-a", 13, 1.0), XidEvent("GPU-b", 31, 2.0), XidEvent("GPU-a", 79, 3.0)
    XidRecord(tmp_path).note({"GPU-a": one, "GPU-b": two})
    XidRecord(tmp_path).note({"GPU-a": three})
    assert XidRecord(tmp_path).read() == {"GPU-a": three, "GPU-b": two}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"xids": 3, "boot_id": "x"}', '{"v": 1}'])
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    """And the next note makes a new one."""
    (tmp_path / "xids.json").write_text(text, encoding="utf-8")
    assert XidRecord(tmp_path).read() == {}
    XidRecord(tmp_path).note({"GPU-a": XidEvent("GPU-a", 13, 1.0)})
    assert set(XidRecord(tmp_path).read()) == {"GPU-a"}


def test_a_record_of_before_the_restart_is_none(tmp_path: Path) -> None:
    """What a restart has cleared is not told of any more."""
    XidRecord(tmp_path).note({"GPU-a": XidEvent("GPU-a", 79, 1.0)})
    path = tmp_path / "xids.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "boot_id": "of before"}))
    assert XidRecord(tmp_path).read() == {}
