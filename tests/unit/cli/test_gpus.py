"""`gpus`: the cards as a table and as JSON."""

from __future__ import annotations

import json

import pytest

from parallel_ml.adapters.cli.gpus import Card, card_lines, occupant_lines, xid_lines
from parallel_ml.adapters.cli.main import main
from parallel_ml.core.model import Device
from parallel_ml.core.units import GIB
from parallel_ml.gpu.occupants import JobOnCard, ProgramOnCard
from parallel_ml.gpu.sample import DeviceSample
from parallel_ml.gpu.xid import XidEvent

PAGE_FAULT = XidEvent("GPU-a", 31, 1_800_000_000.0)
BUSY = DeviceSample(
    0,
    "GPU-a",
    "NVIDIA A100",
    40 * GIB,
    30 * GIB,
    97,
    71,
    250.4,
    9.0,
    (),
    ecc_uncorrected=3,
    repair_pending=True,
    slowed_by=("thermal", "power"),
    last_xid=PAGE_FAULT,
)
LOST = DeviceSample(1, "GPU-b", "NVIDIA A100", 40 * GIB, trouble="is lost: it does not answer any more")
JOB = JobOnCard("20260101-120000-3fa9", "config1", 1, 4242, 20 * GIB, 18 * GIB)
PROGRAM = ProgramOnCard(777, "python train.py", "alice", 10 * GIB, 40)


def card(sample: DeviceSample = BUSY, *jobs: JobOnCard, programs: tuple[ProgramOnCard, ...] | None = ()) -> Card:
    """Return a card with these on it."""
    device = Device(
        sample.index,
        sample.uuid,
        sample.name,
        sample.memory_bytes,
        foreign_bytes=10 * GIB,
        leased_bytes=20 * GIB,
        lost=bool(sample.trouble),
    )
    return Card(sample, device, jobs, programs)


def test_a_card_is_a_line() -> None:
    """What is in use, what the next job could get, and how the card is."""
    heading, line = card_lines([card()])
    names = ["GPU", "name", "used", "of", "free", "use", "temp", "power", "ECC", "repair", "slowed", "Xid", "health"]
    assert heading.split() == names
    values = "0 NVIDIA A100 30GiB 40GiB 10GiB 97% 71C 250 W 3 pending thermal, power 31 ok"
    assert " ".join(line.split()) == values


def test_a_lost_card_has_nothing_free_and_says_why() -> None:
    """What is not known is a dash."""
    line = card_lines([card(LOST)])[1]
    assert " ".join(line.split()) == "1 NVIDIA A100 - 40GiB 0B - - - - - - - is lost: it does not answer any more"


def test_a_card_that_is_well_has_no_trouble_in_its_line() -> None:
    """What was asked and answered with nothing is told from what is not known."""
    well = DeviceSample(0, "GPU-a", "A100", GIB, ecc_uncorrected=0, repair_pending=False, slowed_by=())
    assert card_lines([card(well)])[1].split()[-5:] == ["0", "none", "no", "-", "ok"]


def test_the_last_xid_is_told_with_its_meaning() -> None:
    """In a line for people; in JSON with the time and whether the card can be used."""
    [line] = xid_lines([card(), card(LOST)])
    assert line.startswith("GPU 0 last reported Xid 31 (GPU memory page fault), 2027-01-1")
    told = card().to_dict()["last_xid"]
    assert told == {
        "xid": 31,
        "text": "Xid 31 (GPU memory page fault)",
        "needs_reset": False,
        "at": "2027-01-15T08:00:00.000+00:00",
    }
    assert card(LOST).to_dict()["last_xid"] is None


def test_who_holds_what_is_told() -> None:
    """Jobs with their grant, other programs with their owner."""
    _, _, job, program = occupant_lines([card(BUSY, JOB, programs=(PROGRAM,))])
    assert " ".join(job.split()) == "0 job config1 of run 20260101-120000-3fa9 4242 18GiB 20GiB"
    assert program.split() == ["0", "python", "train.py", "(alice)", "777", "10GiB", "40%"]


def test_what_is_not_measurable_is_said_to_be() -> None:
    """Never 0: memory of a process, a process of another container, and a card that has no list at all."""
    job = JobOnCard("run", "a", 1, 1, GIB, None)
    program = ProgramOnCard(777, "", "", None, None)
    told = occupant_lines([card(BUSY, job, programs=(program,)), card(programs=None)])
    assert told[2].count("not measurable here") == 1
    assert "a program that is not seen from here" in told[3]
    assert "not measurable here" in told[3]
    assert told[4].endswith("other programs: not measurable here")


def test_nobody_is_no_table() -> None:
    """An empty card."""
    assert occupant_lines([card()]) == []


def test_names_are_sanitised(hostile: str) -> None:
    """A process may call itself anything; so may a card and a run."""
    sample = DeviceSample(0, "GPU-a", hostile, GIB, trouble=hostile)
    found = card(
        sample, JobOnCard(hostile, hostile, 1, 1, GIB, 0), programs=(ProgramOnCard(1, hostile, hostile, 0, 0),)
    )
    text = "\n".join([*card_lines([found]), *occupant_lines([found])])
    assert not set(text) & {"\x1b", "\x07", "\r", "\x9b", "\u202e"}
    assert "alert" in text


@pytest.mark.parametrize("width", [40, 60, 80])
def test_lines_fit_the_terminal(width: int) -> None:
    """The least important columns go first."""
    cards = [card(BUSY, JOB, programs=(PROGRAM,)), card(LOST)]
    lines = [*card_lines(cards, width), *occupant_lines(cards, width)]
    assert max(map(len, lines)) <= width
    assert all(word in lines[0].split() for word in ("GPU", "used", "free", "health"))


def test_without_cards_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit code is 0."""
    assert main(["gpus", "--gpus", "none"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("no GPU is used: jobs run on the CPU, ")


def test_simulated_cards_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """As a table, with the line that says that they are simulated; as JSON with null for what nobody measures."""
    assert main(["gpus", "--gpus", "sim:2x16GiB"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown if line] == ["GPU", "0", "1", "note:"]
    assert main(["gpus", "--gpus", "sim:2x16GiB", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [gpu["uuid"] for gpu in told["gpus"]] == ["SIM-0", "SIM-1"]
    first = told["gpus"][0]
    assert (first["free_bytes"], first["temperature_c"], first["programs"]) == (16 * GIB, None, None)
