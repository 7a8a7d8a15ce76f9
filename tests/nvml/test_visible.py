"""CUDA_VISIBLE_DEVICES where the user typed: which cards are left, read as CUDA reads it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from parallel_ml.adapters.cli.main import main
from parallel_ml.gpu import GPUManager
from parallel_ml.gpu.source import detect_devices
from tests.nvml.standin import Card, StandIn, Use

if TYPE_CHECKING:
    from pathlib import Path

THREE = [Card(f"GPU-{name}", bus=f"0000:{number}1:00.0") for number, name in enumerate(("a1", "a2", "b1"))]
MIG = [
    Card("GPU-a1", bus="0000:01:00.0", mig=1),
    Card("MIG-1", parent="GPU-a1"),
    Card("MIG-2", parent="GPU-a1"),
    Card("GPU-b1", bus="0000:41:00.0"),
]


def seen(value: str, **more: str) -> tuple[list[str], str]:
    """Return the cards that a value of the variable leaves, and what a user is told."""
    source = detect_devices(environ={"CUDA_VISIBLE_DEVICES": value, **more})
    found = [device.uuid for device in source.devices()]
    source.close()
    return found, source.note


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("0", ["GPU-a1"]),
        ("2,0", ["GPU-a1", "GPU-b1"]),
        (" 1 , 2 ", ["GPU-a2", "GPU-b1"]),
        ("+1", ["GPU-a2"]),
        ("1x", ["GPU-a2"]),
        ("GPU-b", ["GPU-b1"]),
        ("GPU-a2,0", ["GPU-a1", "GPU-a2"]),
        ("0,1,2", ["GPU-a1", "GPU-a2", "GPU-b1"]),
    ],
)
def test_what_is_named_is_left(nvml: StandIn, value: str, left: list[str]) -> None:
    """Numbers, and uuids cut short; a note says how many are used."""
    nvml.show(*THREE)
    assert seen(value) == (left, f"CUDA_VISIBLE_DEVICES={value}: {len(left)} of 3 GPUs are used")


@pytest.mark.parametrize(
    ("value", "left", "wrong"),
    [
        ("0,7,1", ["GPU-a1"], "'7'"),
        ("1,GPU-x,2", ["GPU-a2"], "'GPU-x'"),
        ("2,GPU-a,0", ["GPU-b1"], "'GPU-a'"),
        ("2,,0", ["GPU-b1"], None),
    ],
)
def test_the_list_ends_at_what_names_no_card(nvml: StandIn, value: str, left: list[str], wrong: str | None) -> None:
    """As CUDA cuts it, and with a line that says so; an entry that begins like two cards names neither."""
    nvml.show(*THREE)
    found, note = seen(value)
    assert found == left
    assert wrong is None or f"{wrong} names none, so what stands from there on is left out" in note


def test_minus_one_ends_the_list_on_purpose(nvml: StandIn) -> None:
    """It is how one writes it, so that nothing is said to be wrong."""
    nvml.show(*THREE)
    assert seen("1,-1,2") == (["GPU-a2"], "CUDA_VISIBLE_DEVICES=1,-1,2: 1 of 3 GPUs are used")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("", "CUDA_VISIBLE_DEVICES= hides all GPUs"),
        ("-1", "CUDA_VISIBLE_DEVICES=-1 hides all GPUs"),
        ("NoDevFiles", "CUDA_VISIBLE_DEVICES=NoDevFiles hides all GPUs"),
        ("9", "CUDA_VISIBLE_DEVICES=9 leaves no GPU, as '9' names none"),
        ("nonsense", "CUDA_VISIBLE_DEVICES=nonsense leaves no GPU, as 'nonsense' names none"),
        ("0,0", "CUDA_VISIBLE_DEVICES=0,0 names a GPU twice, which hides all of them from CUDA"),
        ("0,GPU-a1", "CUDA_VISIBLE_DEVICES=0,GPU-a1 names a GPU twice, which hides all of them from CUDA"),
    ],
)
def test_without_a_card_jobs_run_on_the_cpu(
    nvml: StandIn, monkeypatch: pytest.MonkeyPatch, value: str, line: str
) -> None:
    """With a line that says why."""
    nvml.show(*THREE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    manager = GPUManager.detect()
    slots = manager.snapshot().cpu_slots
    assert (manager.snapshot().devices, manager.spec) == ((), "auto")
    assert manager.notes == (f"{line}: jobs run on the CPU, {slots} at a time",)


def test_cards_keep_their_numbers(nvml: StandIn) -> None:
    """GPU 2 is GPU 2 in nvidia-smi as well, whatever is hidden; nothing of the others is told."""
    nvml.show(*THREE)
    nvml.put(Use("GPU-b1", os.getpid(), 1 << 30), Use("GPU-a1", os.getpid(), 1 << 30))
    source = detect_devices(environ={"CUDA_VISIBLE_DEVICES": "2"})
    assert [(device.index, device.uuid) for device in source.devices((os.getpid(),))] == [(2, "GPU-b1")]
    assert [(sample.index, sample.uuid) for sample in source.samples()] == [(2, "GPU-b1")]
    assert source.held((os.getpid(),)) == {"GPU-b1": {os.getpid(): 1 << 30}}
    nvml.xid("GPU-a1", 31)
    nvml.xid("GPU-b1", 13)
    assert [(event.uuid, event.xid) for event in source.xids()] == [("GPU-b1", 13)]
    source.close()


def test_a_number_names_a_card_with_all_its_instances(nvml: StandIn) -> None:
    """CUDA gives a process one of them; each job here is a process."""
    nvml.show(*MIG)
    assert [seen(value)[0] for value in ("0", "1", "GPU-a1")] == [["MIG-1", "MIG-2"], ["GPU-b1"], ["MIG-1", "MIG-2"]]


def test_an_instance_may_be_named(nvml: StandIn) -> None:
    """By its own uuid."""
    nvml.show(*MIG)
    assert [seen(value)[0] for value in ("MIG-2", "MIG-1,GPU-b1", "MIG-")] == [["MIG-2"], ["MIG-1", "GPU-b1"], []]


def test_numbers_of_unlike_cards_are_doubtful(nvml: StandIn) -> None:
    """CUDA counts the fastest first unless it is told to go by the bus; like cards, and uuids, do not mind."""
    nvml.show(Card("GPU-a1", name="A100"), Card("GPU-b1", name="T4", bus="0000:41:00.0"))
    doubt = "its numbers are taken in bus order, which CUDA's are with CUDA_DEVICE_ORDER=PCI_BUS_ID only"
    assert seen("0")[1].endswith(doubt)
    assert doubt not in seen("0", CUDA_DEVICE_ORDER="PCI_BUS_ID")[1]
    assert doubt not in seen("GPU-a1")[1]


def test_what_the_container_runtime_reads_is_not_read(nvml: StandIn) -> None:
    """It was carried out before: NVML lists what the container has, and the host's numbers would name others."""
    nvml.show(*THREE)
    source = detect_devices(environ={"NVIDIA_VISIBLE_DEVICES": "2"})
    assert len(source.devices()) == 3
    source.close()


def test_a_machine_without_cards_says_nothing_of_it(nvml: StandIn, tmp_path: Path) -> None:
    """There is nothing to hide."""
    nvml.show()
    assert detect_devices(tmp_path / "none", {"CUDA_VISIBLE_DEVICES": "0"}).note == "no GPU found"


def test_gpus_shows_what_a_run_would_use(
    nvml: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the note."""
    nvml.show(*THREE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert main(["gpus", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [gpu["index"] for gpu in told["gpus"]] == [1]
    assert told["notes"] == ["CUDA_VISIBLE_DEVICES=1: 1 of 3 GPUs are used"]
