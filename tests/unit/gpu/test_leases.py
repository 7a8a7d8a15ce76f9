"""Leases: what runs tell each other of the cards they share."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parallel_ml.core.model import Allocation, Device, GpuShare, ProcessId
from parallel_ml.core.units import GIB
from parallel_ml.errors import StoreError
from parallel_ml.gpu import Claim, Leases
from parallel_ml.gpu.leases import with_leases
from parallel_ml.gpu.registry import Lease, Registry, default_folder
from parallel_ml.store.files import write_json
from parallel_ml.store.identity import identify
from tests.nvml.standin import stranger

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["stranger"]

CARD = Device(0, "GPU-a", "card", 16 * GIB)
SECOND = Device(1, "GPU-b", "card", 16 * GIB)


def me() -> ProcessId:
    """Return this process, which lives."""
    found = identify()
    assert found is not None
    return found


def dead() -> ProcessId:
    """Return a process of this host that has ended."""
    return replace(me(), start_ticks=1)


def claim(job: str = "job", gib: float = 8, slots: float = 0.5, *uuids: str, shim_file: Path | None = None) -> Claim:
    """Return a claim on the first card, or on those that are named."""
    shares = (GpuShare(0, uuid, round(gib * GIB), gib / 16, slots) for uuid in uuids or ("GPU-a",))
    return Claim(job, 1, Allocation(0, tuple(shares)), shim_file)


def on_file(folder: Path) -> list[tuple[str, str, int]]:
    """Return (run, job, GiB) of each lease that is written down."""
    return [(lease.run, lease.job, lease.memory_bytes // GIB) for lease in Registry(folder).read()]


def who(process: subprocess.Popen[bytes]) -> ProcessId:
    """Return a process's identity."""
    found = identify(process.pid)
    assert found is not None
    return found


class TestAcquire:
    """What is granted."""

    def test_two_runs_share_a_card(self, tmp_path: Path) -> None:
        """Two halves are granted, the third waits, whoever asks."""
        first, second = Leases("run-1", tmp_path), Leases("run-2", tmp_path)
        assert first.acquire([claim("a")], me(), [CARD]) == [claim("a")]
        assert second.acquire([claim("b"), claim("c")], me(), [CARD]) == [claim("b")]
        assert [(lease.run, lease.job) for lease in first.others()] == [("run-2", "b")]
        assert [(lease.run, lease.job) for lease in second.others()] == [("run-1", "a")]

    @pytest.mark.parametrize(
        ("taken", "wanted", "granted"),
        [
            (claim("a", 8, 0.5), claim("b", 8, 0.5), True),
            (claim("a", 9, 0.5), claim("b", 8, 0.5), False),
            (claim("a", 1, 0.5), claim("b", 1, 1.0), False),
            (claim("a", 1, 1.0), claim("b", 1, 0.5), False),
            (claim("a", 12, 1 / 3), claim("b", 4, 2 / 3), True),
        ],
    )
    def test_memory_and_slots_count(self, tmp_path: Path, taken: Claim, wanted: Claim, granted: bool) -> None:  # noqa: FBT001
        """Neither the memory nor the slots of a card are leased twice."""
        Leases("run-1", tmp_path).acquire([taken], me(), [CARD])
        assert bool(Leases("run-2", tmp_path).acquire([wanted], me(), [CARD])) == granted

    def test_several_cards_are_leased_together_or_not_at_all(self, tmp_path: Path) -> None:
        """A job of two cards holds none while it waits for one."""
        Leases("run-1", tmp_path).acquire([claim("a", 16, 1.0, "GPU-b")], me(), [CARD, SECOND])
        second = Leases("run-2", tmp_path)
        assert second.acquire([claim("b", 8, 0.5, "GPU-a", "GPU-b")], me(), [CARD, SECOND]) == []
        assert on_file(tmp_path) == [("run-1", "a", 16)]

    def test_what_other_programs_hold_is_not_leased(self, tmp_path: Path) -> None:
        """Foreign memory, and what leases hold beyond their grant, leave less."""
        leases = Leases("run-1", tmp_path)
        assert leases.acquire([claim()], me(), [replace(CARD, foreign_bytes=9 * GIB)]) == []
        assert leases.acquire([claim()], me(), [replace(CARD, leased_bytes=9 * GIB)]) == []
        assert leases.acquire([claim()], me(), [replace(CARD, unattributed_bytes=9 * GIB)]) == []
        assert leases.acquire([claim()], me(), [replace(CARD, foreign_bytes=8 * GIB)]) == [claim()]

    @pytest.mark.parametrize("devices", [[], [SECOND], [replace(CARD, lost=True)]])
    def test_a_card_that_is_not_there_is_not_leased(self, tmp_path: Path, devices: list[Device]) -> None:
        """A card that was lost since it was placed on grants nothing."""
        assert Leases("run-1", tmp_path).acquire([claim()], me(), devices) == []

    def test_asking_again_is_no_second_lease(self, tmp_path: Path) -> None:
        """An attempt whose start had to wait for room on the disk holds its part once."""
        leases = Leases("run-1", tmp_path)
        leases.acquire([claim()], me(), [CARD])
        assert leases.acquire([claim()], me(), [CARD]) == [claim()]
        assert on_file(tmp_path) == [("run-1", "job", 8)]

    @pytest.mark.parametrize("wanted", [Claim("job", 1, Allocation(0)), claim("job", 16, 1.0, "SIM-0")])
    def test_without_a_real_card_nothing_is_written(self, tmp_path: Path, wanted: Claim) -> None:
        """The CPU and cards on paper are granted by placement alone."""
        assert Leases("run-1", tmp_path / "never").acquire([wanted], me(), []) == [wanted]
        assert not (tmp_path / "never").exists()


class TestHolders:
    """How long a lease lives."""

    def test_what_is_released_is_free(self, tmp_path: Path) -> None:
        """Releasing gives the part back, and twice does no harm."""
        first, second = Leases("run-1", tmp_path), Leases("run-2", tmp_path)
        first.acquire([claim("a", 16, 1.0)], me(), [CARD])
        for _ in range(2):
            first.release("a", 1)
        assert second.acquire([claim("b", 16, 1.0)], me(), [CARD])

    @pytest.mark.process
    def test_the_lease_of_a_killed_holder_is_gone(self, tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
        """Nobody has to tidy up after kill -9."""
        first, second = Leases("run-1", tmp_path), Leases("run-2", tmp_path)
        first.acquire([claim("a", 16, 1.0)], who(stranger), [CARD])
        assert second.acquire([claim("b", 16, 1.0)], me(), [CARD]) == []
        stranger.kill()
        stranger.wait()
        assert second.others() == ()
        assert second.acquire([claim("b", 16, 1.0)], me(), [CARD])

    @pytest.mark.process
    def test_a_lease_handed_over_lives_as_long_as_the_shim(
        self, tmp_path: Path, stranger: subprocess.Popen[bytes]
    ) -> None:
        """The supervisor may die; its shim still holds the part."""
        first = Leases("run-1", tmp_path)
        first.acquire([claim("a")], me(), [CARD])
        first.hand_over("a", 1, who(stranger))
        first.hand_over("unknown", 1, me())
        (lease,) = Leases("run-2", tmp_path).others()
        assert lease.holder == who(stranger)

    @pytest.mark.process
    def test_a_shim_holds_the_lease_of_a_supervisor_that_died_before_handing_over(
        self, tmp_path: Path, stranger: subprocess.Popen[bytes]
    ) -> None:
        """The shim's own file says who it is."""
        shim_file = tmp_path / "shim.json"
        Leases("run-1", tmp_path).acquire([claim("a", shim_file=shim_file)], dead(), [CARD])
        write_json(shim_file, {"shim": vars(who(stranger)), "process": None})
        (lease,) = Leases("run-2", tmp_path).others()
        assert lease.holder == who(stranger)
        stranger.kill()
        stranger.wait()
        assert Leases("run-2", tmp_path).others() == ()

    def test_a_shim_has_a_while_to_come_up(self, tmp_path: Path) -> None:
        """Between a supervisor's death and its shim's first word, the part is not given to another."""
        clock = [100.0]
        Leases("run-1", tmp_path, now=lambda: clock[0]).acquire(
            [claim("a", shim_file=tmp_path / "not yet")], dead(), [CARD]
        )
        other = Leases("run-2", tmp_path, now=lambda: clock[0])
        clock[0] = 109.0
        assert len(other.others()) == 1
        clock[0] = 111.0
        assert other.others() == ()

    def test_a_holder_on_another_host_is_believed(self, tmp_path: Path) -> None:
        """Where machines share a folder, one cannot look into the other."""
        Leases("run-1", tmp_path).acquire([claim("a")], replace(me(), host="elsewhere", boot_id="another"), [CARD])
        assert len(Leases("run-2", tmp_path).others()) == 1

    def test_a_supervisor_that_takes_over_keeps_what_the_shims_hold(self, tmp_path: Path) -> None:
        """What stands in the file under the run's name is its own, and is released by it."""
        Leases("run-1", tmp_path).acquire([claim("a"), claim("b", 4)], me(), [CARD])
        second = Leases("run-1", tmp_path)
        second.hold([claim("a")], me())
        assert sorted(on_file(tmp_path)) == [("run-1", "a", 8), ("run-1", "b", 4)]
        second.release("b", 1)
        assert on_file(tmp_path) == [("run-1", "a", 8)]

    def test_what_runs_already_is_written_down_whatever_there_is(self, tmp_path: Path) -> None:
        """An attempt that a supervisor adopts holds its part, even where the file knew nothing of it."""
        Leases("run-2", tmp_path).acquire([claim("x", 16, 1.0)], me(), [CARD])
        Leases("run-1", tmp_path).hold([claim("a")], me())
        assert sorted(on_file(tmp_path)) == [("run-1", "a", 8), ("run-2", "x", 16)]


class TestRegistry:
    """A file that is not trusted."""

    GOOD: ClassVar = {
        "gpu_uuid": "GPU-a",
        "memory_bytes": GIB,
        "slot_fraction": 0.5,
        "run": "run-2",
        "job": "x",
        "attempt": 1,
        "holder": {"host": "elsewhere", "boot_id": "", "pid": 1, "start_ticks": 1},
    }

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b'{"v": 1, "lea',
            b"\x00\xff\xfe",
            b"[]",
            b"null",
            b"7",
            b'{"leases": 7}',
            b'{"leases": {"a": 1}}',
            b"[" * 100_000,
        ],
    )
    def test_a_damaged_file_is_said_and_made_anew(self, tmp_path: Path, content: bytes) -> None:
        """A torn file stops no run: the next lease writes it whole."""
        (tmp_path / "leases.json").write_bytes(content)
        leases = Leases("run-1", tmp_path)
        assert leases.others() == ()
        assert "leases.json was damaged" in leases.note
        assert leases.acquire([claim("a")], me(), [CARD])
        assert on_file(tmp_path) == [("run-1", "a", 8)]

    @pytest.mark.parametrize(
        "change",
        [
            {"memory_bytes": "8"},
            {"memory_bytes": -1},
            {"memory_bytes": 1.5},
            {"slot_fraction": float("nan")},
            {"slot_fraction": 2},
            {"holder": None},
            {"holder": {}},
            {"holder": {"host": 1, "boot_id": "", "pid": "x", "start_ticks": 1}},
            {"run": None},
            {"job": "\ud800"},
            {"attempt": 0},
            {"shim_file": 7},
        ],
    )
    def test_what_is_no_lease_is_left_out(self, tmp_path: Path, change: dict[str, object]) -> None:
        """One bad entry hides no good one, and is said."""
        text = json.dumps({"v": 1, "leases": [{**self.GOOD, **change}, self.GOOD, 7, None]})
        (tmp_path / "leases.json").write_text(text, encoding="utf-8")
        leases = Leases("run-1", tmp_path)
        assert [lease.job for lease in leases.others()] == ["x"]
        assert "held what is no lease" in leases.note
        assert leases.acquire([claim("a")], me(), [CARD])
        assert len(on_file(tmp_path)) == 2

    @pytest.mark.parametrize("shim_file", ["/", "/proc/self/mem", "a\0b", "/nowhere"])
    def test_a_shim_file_that_is_none_is_no_shim(self, tmp_path: Path, shim_file: str) -> None:
        """What a dead holder's lease points at may be anything."""
        entry = {**self.GOOD, "holder": vars(dead()), "shim_file": shim_file}
        (tmp_path / "leases.json").write_text(json.dumps({"leases": [entry]}), encoding="utf-8")
        assert Leases("run-1", tmp_path).others() == ()

    def test_what_an_earlier_supervisor_leased_for_nothing_goes_with_it(self, tmp_path: Path) -> None:
        """It died before it wrote down that it starts the job, which was stopped before the next one came to it."""
        now = [1000.0]
        wanted = claim("a", 16, 1.0, shim_file=tmp_path / "shim.json")
        Leases("run-1", tmp_path, now=lambda: now[0]).acquire([wanted], dead(), [CARD, SECOND])
        following = Leases("run-1", tmp_path, now=lambda: now[0])
        assert following.acquire([claim("b", 16, 1.0, "GPU-b")], me(), [CARD, SECOND])
        now[0] += 3600
        assert following.acquire([claim("c", 16, 1.0)], me(), [CARD, SECOND])

    def test_a_holder_in_another_container_is_told_by_its_shims_files(self, tmp_path: Path) -> None:
        """Its number means nothing here; without those files nothing holds the card for ever."""
        now = [1000.0]
        elsewhere = replace(me(), namespace="pid:[1]")
        leases = Leases("run-1", tmp_path, now=lambda: now[0])
        leases.acquire([claim("a", shim_file=tmp_path / "shim.json")], elsewhere, [CARD])
        other = Leases("run-2", tmp_path, now=lambda: now[0])
        assert [lease.job for lease in other.others()] == ["a"]
        now[0] += 60
        assert other.others() == ()
        (tmp_path / "start.json").write_text("{}")
        write_json(tmp_path / "shim.json", {"shim": vars(elsewhere), "locked": True})
        with (tmp_path / "start.json").open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            assert [lease.job for lease in other.others()] == ["a"]
        assert other.others() == ()

    def test_a_lost_file_is_made_anew_by_those_who_live(self, tmp_path: Path) -> None:
        """A cleaner of /tmp, or the end of a session, takes no lease away for good."""
        first, second = Leases("run-1", tmp_path), Leases("run-2", tmp_path)
        first.acquire([claim("a")], me(), [CARD])
        (tmp_path / "leases.json").unlink()
        assert second.others() == ()
        first.keep()
        assert [lease.job for lease in second.others()] == ["a"]

    def test_keeping_writes_nothing_where_nothing_happened(self, tmp_path: Path) -> None:
        """It is called once a turn."""
        leases = Leases("run-1", tmp_path)
        leases.acquire([claim("a")], me(), [CARD])
        before = (tmp_path / "leases.json").stat().st_ino
        leases.keep()
        assert (tmp_path / "leases.json").stat().st_ino == before

    def test_a_lock_that_is_not_let_go_is_an_error_in_time(self, tmp_path: Path) -> None:
        """A stopped process hangs no other run, and what could not be given back is, later."""
        leases = Leases("run-1", tmp_path, timeout_s=0.05)
        leases.acquire([claim("a")], me(), [CARD])
        with Registry(tmp_path).locked():
            with pytest.raises(
                StoreError, match=rf"locking .*leases.lock: process {os.getpid()} has held it for 0.05 s"
            ):
                leases.acquire([claim("b")], me(), [CARD])
            with pytest.raises(StoreError):
                leases.release("a", 1)
        assert on_file(tmp_path) == [("run-1", "a", 8)]
        leases.keep()
        assert on_file(tmp_path) == []

    def test_a_folder_that_everybody_may_write_to_is_refused(self, tmp_path: Path) -> None:
        """In /tmp another user may have made it first."""
        tmp_path.chmod(0o777)
        with pytest.raises(StoreError, match=r"everybody may write to it.*PARALLEL_ML_LEASES"):
            Leases("run-1", tmp_path).acquire([claim()], me(), [CARD])

    def test_a_link_in_place_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        """It leads where somebody else wants it to."""
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        with pytest.raises(StoreError, match="not this user's own"):
            Leases("run-1", tmp_path / "link").acquire([claim()], me(), [CARD])

    def test_files_are_the_users_own(self, tmp_path: Path) -> None:
        """Nobody else reads which runs there are."""
        folder = tmp_path / "new"
        Leases("run-1", folder).acquire([claim()], me(), [CARD])
        assert oct(folder.stat().st_mode & 0o777) == "0o700"
        assert oct((folder / "leases.json").stat().st_mode & 0o777) == "0o600"

    def test_where_the_registry_is(self, tmp_path: Path) -> None:
        """Where the variable says, else in a folder of the user's own that no logout removes and that cron sees too."""
        assert str(default_folder({"PARALLEL_ML_LEASES": "/a/b", "XDG_RUNTIME_DIR": str(tmp_path)})) == "/a/b"
        for environ in ({"XDG_RUNTIME_DIR": str(tmp_path)}, {}):
            assert str(default_folder(environ)) == f"/tmp/parallel_ml-{os.getuid()}"


class TestWithLeases:
    """How leases and what is in use come together."""

    def lease(self, gib: float, holder: ProcessId | None = None, run: str = "run-2", slots: float = 0.5) -> Lease:
        """Return a lease on the first card."""
        return Lease("GPU-a", round(gib * GIB), slots, run, "x", 1, holder or me())

    def seen(self, foreign_gib: float, *leases: Lease, held_gib: float = 0) -> tuple[float, float]:
        """Return (foreign, leased) in GiB of a card on which this process holds something."""
        held = {"GPU-a": {os.getpid(): round(held_gib * GIB)}}
        (device,) = with_leases([replace(CARD, foreign_bytes=round(foreign_gib * GIB))], leases, held)
        return device.foreign_bytes / GIB, device.leased_bytes / GIB

    def test_a_lease_counts_whether_it_is_used_or_not(self) -> None:
        """What another run was granted and does not use yet is not free."""
        assert self.seen(0, self.lease(8)) == (0, 8)
        assert self.seen(3, self.lease(8), held_gib=3) == (0, 8)

    def test_what_is_held_beyond_a_lease_counts_too(self) -> None:
        """A run that takes more than it was granted leaves less."""
        assert self.seen(9, self.lease(8), held_gib=9) == (0, 9)

    def test_other_programs_come_on_top(self) -> None:
        """A notebook's memory does not hide in another run's lease."""
        assert self.seen(7, self.lease(8), held_gib=3) == (4, 8)

    def test_a_holder_that_is_not_seen_here_is_counted_safely(self) -> None:
        """The number of a process of another machine may be that of one here: nothing is attributed to it."""
        elsewhere = replace(me(), host="elsewhere", boot_id="another")
        assert self.seen(7, self.lease(8, elsewhere), held_gib=3) == (7, 8)

    def test_slots_and_runs_are_told(self) -> None:
        """Placement needs the slots, people need the names."""
        (device, other) = with_leases(
            [CARD, SECOND], [self.lease(4, run="r-2"), self.lease(4, run="r-1", slots=0.25)], {}
        )
        assert (device.leased_slots, device.leased_to) == (0.75, ("r-1", "r-2"))
        assert other == SECOND


steps = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "release", "foreign", "lose file", "takeover"]),
        st.integers(0, 2),
        st.integers(0, 3),
        st.integers(1, 16),
        st.sampled_from([1.0, 0.5, 1 / 3, 0.25]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_never_is_more_leased_than_there_is(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int, int, float]]
) -> None:
    """Whatever three runs ask for and give back, memory and slots never exceed the card when something is granted."""
    folder = tmp_path_factory.mktemp("leases")
    runs = [Leases(f"run-{number}", folder) for number in range(3)]
    device = CARD
    for what, run, job, gib, slots in steps:
        if what == "acquire":
            granted = runs[run].acquire([claim(f"job-{job}", gib, slots)], me(), [device])
            written = [lease for lease in Registry(folder).read() if lease.gpu_uuid == "GPU-a"]
            assert max(Counter(lease.attempt_key for lease in written).values(), default=0) <= 1
            if granted:
                assert sum(lease.memory_bytes for lease in written) + device.foreign_bytes <= 16 * GIB
                assert sum(lease.slot_fraction for lease in written) <= 1 + 1e-6
        elif what == "release":
            runs[run].release(f"job-{job}", 1)
        elif what == "foreign":
            device = replace(CARD, foreign_bytes=(gib - 1) * GIB)
        elif what == "lose file":
            (folder / "leases.json").unlink(missing_ok=True)
            for one in runs:
                one.keep()
        else:
            runs[run] = Leases(f"run-{run}", folder)


RACER = """
import sys, time, random
from pathlib import Path
from parallel_ml.core.model import Allocation, Device, GpuShare
from parallel_ml.gpu import Claim, Leases
from parallel_ml.store.identity import identify
from tests.nvml.standin import stranger

run, folder, trace = sys.argv[1], Path(sys.argv[2]), open(sys.argv[3], "w")
GIB = 2**30
card = Device(0, "GPU-a", "card", 16 * GIB)
leases, me, dice = Leases(run, folder, timeout_s=30), identify(), random.Random(run)
print("ready", flush=True)
sys.stdin.readline()
held = []
for round in range(200):
    size = dice.choice([1, 3, 5, 8, 11])
    claim = Claim(f"job-{round}", 1, Allocation(0, (GpuShare(0, "GPU-a", size * GIB, size / 16, 0.125),)))
    if leases.acquire([claim], me, [card]):
        held.append((claim.job, time.monotonic_ns(), size))
    if len(held) > dice.randrange(1, 4):
        job, begin, size = held.pop(0)
        print(begin, time.monotonic_ns(), size, file=trace, flush=True)
        leases.release(job, 1)
now = time.monotonic_ns()
for _, begin, size in held:
    print(begin, now, size, file=trace, flush=True)
print("done", flush=True)
"""


@pytest.mark.process
def test_two_processes_at_once_never_overfill_a_card(tmp_path: Path) -> None:
    """In 200 rounds each, what both hold at any moment fits on the card: told by the clock, not by the registry."""
    folder = tmp_path / "leases"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, f"run-{number}", str(folder), str(tmp_path / f"trace-{number}")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
        )
        for number in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == b"ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    assert [racer.communicate(timeout=60)[0].strip() for racer in racers] == [b"done", b"done"]
    changes: list[tuple[int, int, int]] = []
    for number in range(2):
        for line in (tmp_path / f"trace-{number}").read_text(encoding="ascii").splitlines():
            begin, end, size = map(int, line.split())
            changes += [(begin, number, size), (end, number, -size)]
    held = [0, 0]
    moments = []
    for _, number, change in sorted(changes):
        held[number] += change
        moments.append(tuple(held))
    assert max(first + second for first, second in moments) <= 16
    assert any(first and second for first, second in moments), "the two never met, so nothing was tested"
