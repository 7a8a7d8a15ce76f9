"""`resume` after kill -9 of anything, a reboot, a log that was cut, a full disk, a clock that was set."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parallel_ml import ParallelMLExecutor
from parallel_ml.core.model import JobState
from parallel_ml.store.identity import identify
from parallel_ml.store.journal import read_records
from parallel_ml.store.orders import OrderKind, new_order
from parallel_ml.store.run_view import RunView
from tests.chaos.steps import shims_die_at, supervisor_dies_at
from tests.chaos.verdict import faults
from tests.chaos.world import Plan, Victim, World
from tests.process.conftest import until
from tests.process.test_runtime import fill

pytestmark = pytest.mark.process
MakeWorld = Callable[..., World]
DAY_S = 86_400


@pytest.fixture
def world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Return a function that makes a run in a folder of its own; what lives of it at the end of the test is killed."""
    made: list[World] = []

    def make(*plans: Plan, **more: object) -> World:
        made.append(World(tmp_path / f"world{len(made)}", plans, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def attempts(world: World) -> dict[str, int]:
    """Return how many attempts each job has had."""
    return {job.name: len(job.attempts) for job in RunView(world.layout).state.jobs.values()}


@pytest.mark.parametrize("step", [2, 7, 12, 19, 27, 36, 46, 58])
def test_a_supervisor_killed_anywhere_loses_and_doubles_nothing(world: MakeWorld, step: int) -> None:
    """Between intent and start, start and news, news and log, log and cache; a second one right there as well."""
    run = world(Plan("flaky", 4, fails=(2,)), Plan("needs", 2, depends_on=("flaky",)), Plan("plain", 6, child=True))
    for again in (step, step // 2 + 1):
        run.drive(supervisor_dies_at(again))
        assert run.supervisor is not None
        run.supervisor.wait()
        run.kills.append(Victim(run.supervisor.pid, "supervisor", "", 0))
    assert run.finish() == []
    assert faults(run) == []
    assert [job.state for job in RunView(run.layout).state.jobs.values()] == [JobState.SUCCEEDED] * 3


@pytest.mark.slow
def test_a_shim_killed_anywhere_loses_and_doubles_nothing(world: MakeWorld) -> None:
    """Around its claim, its start of the job, the news of that, each epoch, the end, the record of the end."""
    steps = {f"at{step:02}": step for step in range(1, 19)}
    run = world(*(Plan(name, 3, 0.01) for name in steps), max_parallel=4)
    run.drive(shims_die_at(steps))
    run.kills += [Victim(0, "shim", name, 1) for name in steps]
    assert run.finish() == []
    assert faults(run) == []
    state = RunView(run.layout).state
    assert {job.state for job in state.jobs.values()} == {JobState.SUCCEEDED}
    assert sum(count == 2 for count in attempts(run).values()) > 10, "the shims were not killed"


def test_after_everything_was_killed_at_once_each_job_goes_on_where_it_was(world: MakeWorld) -> None:
    """As when the power goes: no unit of work is lost, none is done twice."""
    run = world(*(Plan(name, 60, 0.05, child=True) for name in "ab"))
    run.drive()
    run.until_running()
    run.kill_everything()
    assert not run.processes()
    assert run.finish() == []
    assert faults(run) == []
    assert attempts(run) == {"a": 2, "b": 2}


def test_what_still_runs_is_adopted(world: MakeWorld) -> None:
    """The jobs of a supervisor that was killed three times have had one attempt each."""
    run = world(*(Plan(name, 40, 0.05) for name in "ab"))
    for _ in range(3):
        run.drive()
        run.until_running()
        run.kill_supervisor()
    assert run.finish() == []
    assert faults(run) == []
    assert attempts(run) == {"a": 1, "b": 1}


@pytest.mark.parametrize(("kind", "freeze"), [(OrderKind.PAUSE, True), (OrderKind.RESUME, False)])
def test_an_order_that_was_written_down_reaches_the_job_also_by_the_next_supervisor(
    world: MakeWorld, kind: OrderKind, *, freeze: bool
) -> None:
    """The first one was killed after the log had it and before the shim was told."""
    run = world(Plan("a", 100_000, 0.02))
    run.drive()
    run.until_running()
    if kind is OrderKind.RESUME:
        run.order(new_order(OrderKind.PAUSE, freeze=True))
        until(lambda: RunView(run.layout).state.jobs["a"].frozen, "the pause")
    run.kill_supervisor()
    run.order(new_order(kind, freeze=freeze))
    run.drive(
        "import os\nfrom parallel_ml.runtime.local import LocalBackend\n"
        "LocalBackend.tell = lambda *_: os.kill(os.getpid(), 9)"
    )
    assert run.supervisor is not None
    run.supervisor.wait()
    run.drive()
    if freeze:
        job = next(one.pid for one in run.processes() if one.role == "job")
        until(lambda: Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[0] == "T", "the held job")
    else:
        done = len(run.ledger("a"))
        until(lambda: len(run.ledger("a")) > done + 2, "the job that goes on")
    run.order(new_order(OrderKind.STOP, at_once=True))
    assert run.finish() == []
    assert faults(run) == []
    assert attempts(run) == {"a": 1}


@pytest.mark.parametrize("recycled", ["boot", "number"])
def test_after_a_reboot_strangers_are_let_be_and_jobs_run_again(world: MakeWorld, recycled: str) -> None:
    """The recorded numbers belong to others now: of another boot, or started at another time."""
    run = world(Plan("a", 80, 0.05), Plan("b", 80, 0.05))
    run.drive()
    run.until_running()
    until(
        lambda: all(job.attempts and job.attempts[0].process for job in RunView(run.layout).state.jobs.values()),
        "the news",
    )
    run.kill_everything()
    stranger = subprocess.Popen(["sleep", "99"], start_new_session=True)
    try:
        me = identify(stranger.pid)
        assert me is not None
        files = [run.layout.events, *run.layout.dir.glob("jobs/*/attempt-01/shim.json")]
        for path in files:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            told = [_rebooted(line, me.boot_id, me.pid, me.start_ticks, recycled) for line in lines]
            path.write_text("".join(json.dumps(line) + "\n" for line in told))
        run.layout.state.unlink(missing_ok=True)
        assert run.finish() == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert faults(run) == []
    jobs = RunView(run.layout).state.jobs.values()
    assert [[str(attempt.outcome) for attempt in job.attempts] for job in jobs] == [["lost", "success"]] * 2


def _rebooted(value: object, boot: str, pid: int, ticks: int, recycled: str) -> object:
    """Return recorded JSON as if every process in it had had the number of a stranger of today."""
    if isinstance(value, list):
        return [_rebooted(one, boot, pid, ticks, recycled) for one in value]
    if not isinstance(value, dict):
        return value
    if "start_ticks" in value:
        if recycled == "boot":
            return {**value, "boot_id": "another boot", "pid": pid, "start_ticks": ticks}
        return {**value, "pid": pid, "start_ticks": ticks - 1}
    return {key: _rebooted(one, boot, pid, ticks, recycled) for key, one in value.items()}


@pytest.mark.slow
def test_a_finished_run_whose_log_was_cut_is_healed_without_running_anything_again(world: MakeWorld) -> None:
    """What the log has lost of the attempts stands in their own files, which are read again, one after the other."""
    run = world(
        Plan("flaky", 3, 0.0, fails=(2,)), Plan("bad", 2, 0.0, fails=(1, 1), max_attempts=2), Plan("plain", 2, 0.0)
    )
    assert run.finish() == []
    log = run.layout.events.read_bytes()
    ends = [index + 1 for index, byte in enumerate(log) if byte == ord("\n")]
    ledgers = {plan.name: run.ledger(plan.name) for plan in run.plans}
    states = {name: job.state for name, job in RunView(run.layout).state.jobs.items()}
    for cut in [*ends[:-1:3], *(end - 2 for end in ends[1:-1:4])]:
        run.layout.events.write_bytes(log[:cut])
        if run.is_over:
            continue
        ParallelMLExecutor.resume(run.layout.dir, environ=run.environ).run_parallel()
        assert {name: job.state for name, job in RunView(run.layout).state.jobs.items()} == states, cut
        assert {plan.name: run.ledger(plan.name) for plan in run.plans} == ledgers, cut
        assert faults(run) == [], cut


@pytest.mark.parametrize("lost", ["all", "some"])
def test_a_running_job_that_a_cut_log_knows_nothing_of_is_adopted(world: MakeWorld, lost: str) -> None:
    """It is not started a second time; its number of attempts stays one."""
    run = world(Plan("a", 40, 0.05), Plan("b", 40, 0.05, child=True))
    run.drive()
    run.until_running()
    run.kill_supervisor()
    log = run.layout.events.read_bytes()
    first = log.index(b"\n") + 1
    run.layout.events.write_bytes(log[:first] if lost == "all" else log[: log.index(b'"JobPlaced"') + 3])
    assert run.finish() == []
    assert faults(run) == []
    assert attempts(run) == {"a": 1, "b": 1}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is a disk of 20 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m,mode=777", "tmpfs", str(disk)]
    for way in (mount, ["sudo", "-n", *mount]):
        if shutil.which(way[0]) and subprocess.run(way, capture_output=True, check=False).returncode == 0:
            break
    else:
        pytest.skip("no disk of 20 MB can be mounted here")
    yield disk
    subprocess.run([*way[: -len(mount)], "umount", "-l", str(disk)], check=True)


def test_a_disk_of_20_mb_that_fills_up_and_gets_room_again_loses_nothing(world: MakeWorld, small_disk: Path) -> None:
    """Jobs go on and end meanwhile, and the supervisor is killed in the middle of it and followed by another."""
    plans = [
        *(Plan(name, 25, 0.04, fails=(3,)) for name in "ab"),
        Plan("short", 4),
        Plan("needs", 2, depends_on=("a",)),
    ]
    run = world(*plans, runs=small_disk / "runs")
    for _ in range(3):
        run.drive()
        until(lambda: run.ledger("a"), "the first job")
        fill(small_disk / "filler")
        time.sleep(0.7)  # that something fails is what is waited for, and nothing tells
        run.kill_supervisor()
        run.drive()
        time.sleep(0.7)
        (small_disk / "filler").unlink()
        run.kill_supervisor()
    assert run.finish() == []
    assert faults(run) == []
    assert {job.state for job in RunView(run.layout).state.jobs.values()} == {JobState.SUCCEEDED}


CLOCK = "import time\n_real = time.time\ntime.time = lambda: _real() + {by_s}\n"


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_a_clock_that_is_set_between_two_supervisors_ends_nothing_and_holds_up_nothing(
    world: MakeWorld, by_s: int
) -> None:
    """The timeout counts what has really passed, and so does the wait before another attempt."""
    run = world(Plan("long", 40, 0.05, timeout="60s"), Plan("waits", 2, fails=(1,), backoff="3s"))
    run.drive()
    until(lambda: RunView(run.layout).state.jobs["waits"].state is JobState.RETRYING, "the wait")
    run.until_running()
    run.kill_supervisor()
    begun = time.monotonic()
    run.drive(CLOCK.format(by_s=by_s))
    until(lambda: len(run.ledger("waits")) > 2, "the second attempt")
    waited_s = time.monotonic() - begun
    assert run.finish() == []
    assert faults(run) == []
    assert attempts(run) == {"long": 1, "waits": 2}
    assert waited_s > 1.0, "the wait was cut short"
    age_s = RunView(run.layout).status().as_of_age_s
    assert age_s is not None
    assert age_s <= (DAY_S + 60 if by_s < 0 else 0.0)
    stamps = [record.ts for record in read_records(run.layout.events)[0]]
    assert abs(stamps[-1] - stamps[0] - by_s) < 120


def test_a_timeout_holds_also_when_the_clock_is_set_back(world: MakeWorld) -> None:
    """By a day: it would never end."""
    run = world(Plan("long", 4000, 0.05, timeout="3s", max_attempts=1))
    run.drive()
    run.until_running()
    run.kill_supervisor()
    run.drive(CLOCK.format(by_s=-DAY_S))
    assert run.finish() == []
    (attempt,) = RunView(run.layout).state.jobs["long"].attempts
    assert str(attempt.outcome) == "timeout"


def test_a_clock_that_jumps_about_while_a_supervisor_runs_changes_nothing(world: MakeWorld) -> None:
    """By a day, forwards and backwards, from one look at it to the next."""
    run = world(Plan("long", 20, 0.05, timeout="60s"), Plan("fails", 4, fails=(1, 2), backoff="50ms"))
    run.drive(
        "import random, time\n_real = time.time\ntime.time = lambda: _real() + random.choice([-86400, 0, 86400])\n"
    )
    assert run.finish() == []
    assert faults(run) == []
    assert attempts(run) == {"long": 1, "fails": 3}
