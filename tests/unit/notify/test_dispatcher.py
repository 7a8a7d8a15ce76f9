"""Messages on their way through outages, bursts, limits, quiet hours and restarts, in simulated time."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ml.errors import StoreError
from parallel_ml.notify.channel import Fate, Limits, Reply
from parallel_ml.notify.dispatcher import Dispatcher
from parallel_ml.notify.lane import EXPIRY_S
from parallel_ml.notify.message import Kind, Level, Message
from parallel_ml.notify.moment import Moment
from parallel_ml.notify.outbox import waiting
from parallel_ml.notify.route import Route
from parallel_ml.notify.settings import QuietHours
from parallel_ml.store.files import is_locked
from tests.unit.notify.dispatching import (
    BEGIN,
    SENT,
    ScriptedChannel,
    Simulation,
    failed,
    note,
    told_of,
)

NO_NETWORK = Reply(Fate.RETRY, "robot cannot be reached")


@pytest.fixture
def robot() -> ScriptedChannel:
    """Return a channel that answers yes."""
    return ScriptedChannel()


@pytest.fixture
def simulation(tmp_path: Path, robot: ScriptedChannel) -> Iterator[Simulation]:
    """Return a dispatcher for it."""
    made = Simulation(tmp_path / "outbox", [robot])
    yield made
    made.end()


def test_a_message_arrives_once(simulation: Simulation, robot: ScriptedChannel) -> None:
    """It is sent after a moment of gathering, also where it is handed over twice, and leaves nothing behind."""
    simulation.put(note(1), note(1))
    simulation.run(5)
    simulation.put(note(1))
    simulation.run(60)
    assert [message.id for message in robot.arrived] == [note(1).id]
    assert simulation.dispatcher.undelivered() == []


def test_eight_failures_in_a_second_are_one_message(simulation: Simulation, robot: ScriptedChannel) -> None:
    """It counts and names them, is critical, and comes within seconds."""
    for number in range(8):
        simulation.put(failed(number))
        simulation.run(1 / 8)
    simulation.run(3)
    (message,) = robot.arrived
    assert (message.kind, message.level, told_of([message])) == (Kind.DIGEST, Level.CRITICAL, {"failed": 8})
    assert message.title == "8 jobs: failed"


def test_two_messages_are_no_burst(simulation: Simulation, robot: ScriptedChannel) -> None:
    """They come as they are, in order."""
    simulation.put(note(1), note(2))
    simulation.run(10)
    assert [message.job for message in robot.arrived] == ["job1", "job2"]


def test_the_table_of_a_run_is_no_part_of_a_burst(simulation: Simulation, robot: ScriptedChannel) -> None:
    """It is sent by itself, after what was told before it."""
    simulation.put(*(failed(number) for number in range(4)), note(9, Kind.RUN_DONE))
    simulation.run(10)
    assert [message.kind for message in robot.arrived] == [Kind.DIGEST, Kind.RUN_DONE]


def test_an_outage_of_an_hour_loses_nothing(simulation: Simulation, robot: ScriptedChannel) -> None:
    """Everything arrives afterwards, once, and as it is; meanwhile the provider is asked ever more seldom."""
    robot.answer = lambda _: NO_NETWORK
    for number in range(10):
        simulation.put(failed(number))
        simulation.run(360)
    assert len(robot.tried) < 40
    robot.answer = lambda _: SENT
    simulation.run(400)
    assert sorted(str(message.job) for message in robot.arrived) == [f"job{number}" for number in range(10)]


@pytest.mark.parametrize("tries", range(1, 8))
def test_after_an_outage_what_came_first_goes_first(simulation: Simulation, robot: ScriptedChannel, tries: int) -> None:
    """Whichever of them was tried meanwhile; but for the one that may be tried in its place."""
    robot.answer = lambda _: NO_NETWORK if len(robot.tried) <= tries else SENT
    for number in range(6):
        simulation.put(note(number))
        simulation.run(6)
    simulation.run(3600)
    order = [message.job for message in robot.arrived]
    assert sorted(map(str, order)) == [f"job{number}" for number in range(6)]
    assert sum(order.index(f"job{number}") > number + 1 for number in range(6)) == 0
    assert order[2:] == [f"job{number}" for number in range(2, 6)]


def test_a_message_that_alone_never_gets_through_holds_up_no_other(
    simulation: Simulation, robot: ScriptedChannel
) -> None:
    """The others pass it within minutes."""
    robot.answer = lambda message: NO_NETWORK if message.job == "job0" else SENT
    for number in range(6):
        simulation.put(note(number))
        simulation.run(6)
    simulation.run(120)
    assert [message.job for message in robot.arrived] == [f"job{number}" for number in range(1, 6)]


def test_a_message_that_comes_late_says_when_it_happened(tmp_path: Path) -> None:
    """To people, after ten minutes; with the day where that is another one. Programs have its time beside."""
    people, program = ScriptedChannel("people"), ScriptedChannel("program")
    program.for_programs = True
    simulation = Simulation(tmp_path, [people, program])
    for number, age in enumerate((60, 3600, 2 * 86400)):
        simulation.put(replace(note(number, Kind.OWN), created=BEGIN.wall - age))
    simulation.run(60)
    simulation.end()
    assert {message.title for message in program.arrived} == {f"job{number} own" for number in range(3)}
    now, hour, days = (time.localtime(BEGIN.wall - age) for age in (0, 3600, 2 * 86400))
    soon = time.strftime("%H:%M" if hour[:3] == now[:3] else "%m-%d %H:%M", hour)
    long_ago = time.strftime("%m-%d %H:%M", days)
    titles = [message.title for message in people.arrived]
    assert titles == ["job0 own", f"job1 own (at {soon})", f"job2 own (at {long_ago})"]


def test_hundreds_of_messages_of_an_outage_stay_small_on_disk(
    simulation: Simulation, robot: ScriptedChannel, tmp_path: Path
) -> None:
    """They are merged from some hundreds on; none is forgotten."""
    robot.answer = lambda _: NO_NETWORK
    for number in range(260):
        simulation.put(note(number))
        simulation.run(10)
        if number % 50 == 0:
            assert len(waiting(tmp_path / "outbox")) <= 200
    robot.answer = lambda _: SENT
    simulation.run(3600)
    assert told_of(robot.arrived) == {"finished": 260}


def test_a_provider_is_not_asked_before_it_said(simulation: Simulation, robot: ScriptedChannel) -> None:
    """A Retry-After holds for all messages of the channel."""
    robot.answer = lambda _: Reply(Fate.RETRY, "too many requests (429)", retry_after_s=120.0)
    simulation.put(note(1))
    simulation.run(10)
    simulation.put(note(2))
    simulation.run(100)
    assert len(robot.tried) == 1
    robot.answer = lambda _: SENT
    simulation.run(30)
    assert sorted(message.id for message in robot.arrived) == [note(1).id, note(2).id]


def test_a_clock_that_is_put_back_delays_nothing(simulation: Simulation, robot: ScriptedChannel) -> None:
    """Waits are counted by a clock that never steps."""
    robot.answer = lambda _: NO_NETWORK
    simulation.put(note(1))
    simulation.run(20)
    simulation.set_wall(-86400.0)
    robot.answer = lambda _: SENT
    simulation.run(60)
    assert len(robot.arrived) == 1


@pytest.mark.parametrize("step_s", [-30 * 86400.0, 3600.0])
def test_a_clock_that_steps_over_a_restart_delays_nothing(
    tmp_path: Path, robot: ScriptedChannel, step_s: float
) -> None:
    """The next start goes on within minutes, whatever the wall clock says by then."""
    robot.answer = lambda _: NO_NETWORK
    before = Simulation(tmp_path, [robot])
    before.put(note(1))
    before.run(600)
    before.end()
    robot.answer = lambda _: SENT
    after = Simulation(tmp_path, [robot], Moment(5.0, before.now.wall + step_s))
    after.run(6 * 60)
    after.end()
    assert len(robot.arrived) == 1


def test_a_clock_that_was_not_set_loses_no_message(tmp_path: Path, robot: ScriptedChannel) -> None:
    """What was queued in 1970 is not too old in 2026."""
    robot.answer = lambda _: NO_NETWORK
    before = Simulation(tmp_path, [robot], Moment(10.0, 50.0))
    before.put(note(1))
    before.run(5)
    before.end()
    robot.answer = lambda _: SENT
    after = Simulation(tmp_path, [robot], BEGIN)
    after.run(60)
    after.end()
    assert len(robot.arrived) == 1


class Killed(BaseException):
    """What a kill looks like from within."""


def test_a_kill_between_send_and_record_sends_again_and_says_so(tmp_path: Path, robot: ScriptedChannel) -> None:
    """The same id comes a second time, marked; after a record it never would."""

    def die(_: Message) -> Reply:
        raise Killed

    robot.answer = die
    before = Simulation(tmp_path, [robot])
    before.put(note(1))
    with pytest.raises(Killed):
        before.run(10)
    before.end()
    robot.answer = lambda _: SENT
    for _ in range(2):
        after = Simulation(tmp_path, [robot])
        after.put(note(1))
        after.run(60)
        after.end()
    (message,) = robot.arrived
    assert message.id == note(1).id
    assert message.data["again"] is True


class Kill:
    """Ends the process at its n-th lasting change of the disk."""

    def __init__(self, after: int) -> None:
        """Let some through."""
        self.left = after

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a call that is the last one when its time has come."""

        def counted(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return call(*args, **options)

        return counted


@pytest.mark.parametrize("retold", [False, True])
@pytest.mark.parametrize("after", range(45))
def test_a_kill_at_any_point_loses_and_repeats_nothing(
    tmp_path: Path, robot: ScriptedChannel, monkeypatch: pytest.MonkeyPatch, after: int, *, retold: bool
) -> None:
    """Whether the next start is told the same facts again or not; only what was in the air comes twice, marked."""
    messages = [*(failed(number) for number in range(4)), note(5, Kind.OWN), note(6, Kind.RUN_DONE)]
    before, kill = Simulation(tmp_path, [robot]), Kill(after)
    if not retold:
        before.put(*messages[:5])
        before.dispatcher.step(before.now)
    with monkeypatch.context() as patched, contextlib.suppress(Killed):
        for name in ("replace", "fsync", "unlink", "write"):
            patched.setattr(os, name, kill.before(getattr(os, name)))
        before.put(*messages if retold else [])
        before.run(10)
    before.end()
    later = Simulation(tmp_path, [robot], before.now)
    later.put(*messages if retold else [])
    later.run(60)
    later.end()
    assert waiting(tmp_path) == []
    once = [message for message in robot.arrived if "again" not in message.data]
    again = [message for message in robot.arrived if "again" in message.data]
    told = {message.id for message in robot.arrived}
    assert len(again) <= 1
    assert len({message.id for message in once}) == len(once)
    assert {message.id for message in messages[4 : 6 if retold else 5]} <= told
    assert told_of(once + [one for one in again if one.id not in {m.id for m in once}])["failed"] == 4


def test_what_exceeds_a_limit_is_one_digest(tmp_path: Path) -> None:
    """In any minute a channel gets no more than its provider allows, and all is told of in two."""
    robot = ScriptedChannel(limits=Limits(per_minute=5))
    simulation = Simulation(tmp_path, [robot])
    stamps = []
    robot.answer = lambda _: stamps.append(simulation.now.steady) or SENT  # type: ignore[func-returns-value]
    for number in range(30):
        simulation.put(note(number))
        simulation.run(2)
    simulation.run(120)
    simulation.end()
    assert told_of(robot.arrived) == {"finished": 30}
    assert len(robot.arrived) < 12
    assert all(sum(start <= at < start + 60 for at in stamps) <= 5 for start in stamps)


def test_a_restart_is_no_way_around_a_limit(tmp_path: Path) -> None:
    """What was sent before it counts; a clock that was put back makes it slower, never faster."""
    robot = ScriptedChannel(limits=Limits(per_minute=2))
    before = Simulation(tmp_path, [robot])
    before.put(note(1), note(2))
    before.run(10)
    before.end()
    after = Simulation(tmp_path, [robot], Moment(0.0, before.now.wall - 3600.0))
    after.put(note(3))
    after.run(30)
    assert len(robot.arrived) == 2
    after.run(60)
    after.end()
    assert len(robot.arrived) == 3


def test_a_limit_of_a_second_merges_nothing(tmp_path: Path) -> None:
    """It is over soon: the messages wait for it, each as it is."""
    robot = ScriptedChannel(limits=Limits(per_second=1))
    simulation = Simulation(tmp_path, [robot])
    simulation.put(*(note(number, Kind.OWN) for number in range(5)))
    simulation.run(20)
    simulation.end()
    assert [message.kind for message in robot.arrived] == [Kind.OWN] * 5


def test_messages_below_a_channels_severity_are_not_for_it(tmp_path: Path) -> None:
    """A text message costs money; the mail gets all."""
    phone, mail = ScriptedChannel("phone"), ScriptedChannel("mail")
    simulation = Simulation(tmp_path, [Route(phone, min_severity=Level.CRITICAL), Route(mail)])
    simulation.put(note(1), failed(2))
    simulation.run(10)
    simulation.end()
    assert [message.job for message in phone.arrived] == ["job2"]
    assert len(mail.arrived) == 2


def test_each_channel_gets_its_language(tmp_path: Path) -> None:
    """What is in none is for all."""
    english, chinese = ScriptedChannel("a"), ScriptedChannel("b")
    simulation = Simulation(tmp_path, [Route(english), Route(chinese, language="zh")])
    simulation.put(Message("1", Kind.OWN, Level.INFO, "both"))
    simulation.put(Message("2", Kind.OWN, Level.INFO, "中文", data={"language": "zh"}))
    simulation.run(10)
    simulation.end()
    assert [message.title for message in english.arrived] == ["both"]
    assert [message.title for message in chinese.arrived] == ["both", "中文"]


def test_quiet_hours_hold_back_all_but_the_critical(tmp_path: Path) -> None:
    """What was held comes as one message when they are over."""
    local = time.localtime(BEGIN.wall)
    minute = local.tm_hour * 60 + local.tm_min
    robot = ScriptedChannel()
    quiet = QuietHours((minute - 10) % 1440, (minute + 60) % 1440)
    simulation = Simulation(tmp_path, [Route(robot, quiet_hours=quiet)])
    simulation.put(note(1))
    simulation.run(600)
    simulation.put(note(2), failed(3))
    simulation.run(600)
    assert [message.job for message in robot.arrived] == ["job3"]
    simulation.run(3600)
    simulation.end()
    assert told_of(robot.arrived[1:]) == {"finished": 2}
    assert len(robot.arrived) == 2


def test_a_channel_that_refuses_its_settings_is_asked_once(simulation: Simulation, robot: ScriptedChannel) -> None:
    """One line says so; what was for it is kept, counted, and sent when the settings are mended."""
    robot.answer = lambda _: Reply(Fate.DISABLED, "310000: the signature does not match")
    for number in range(3):
        simulation.put(note(number))
        simulation.run(100)
    assert len(robot.tried) == 1
    assert simulation.said == ["robot: no messages any more: 310000: the signature does not match"]
    (left,) = simulation.dispatcher.undelivered()
    assert (left.channel, left.count, left.waiting) == ("robot", 3, True)
    assert "310000" in left.reason


def test_a_message_that_is_refused_is_given_up(simulation: Simulation, robot: ScriptedChannel) -> None:
    """It does not come back, it is reported, and the next one is sent."""
    robot.answer = lambda message: Reply(Fate.FAILED, "40058: too long") if message.job == "job1" else SENT
    simulation.put(note(1))
    simulation.run(100)
    simulation.put(note(2))
    simulation.run(100)
    assert [message.job for message in robot.tried] == ["job1", "job2"]
    (left,) = simulation.dispatcher.undelivered()
    assert (left.count, left.reason, left.waiting) == (1, "40058: too long", False)


def test_a_channel_that_raises_harms_nobody(simulation: Simulation, robot: ScriptedChannel) -> None:
    """It counts as a failure that passes; the exception's text, which may hold a token, is told nowhere."""

    def fail(_: Message) -> Reply:
        raise RuntimeError("https://example.org/send?access_token=hidden")

    robot.answer = fail
    simulation.put(note(1))
    simulation.run(10)
    assert "hidden" not in str(simulation.dispatcher.undelivered())
    robot.answer = lambda _: SENT
    simulation.run(60)
    assert len(robot.arrived) == 1


def test_what_never_gets_through_is_given_up_after_days(simulation: Simulation, robot: ScriptedChannel) -> None:
    """Nobody wants to read next week that a job failed; that it did not arrive is reported."""
    robot.answer = lambda _: Reply(Fate.RETRY, "come back later", retry_after_s=21_600.0)
    simulation.put(note(1))
    simulation.run(EXPIRY_S + 3600)
    (left,) = simulation.dispatcher.undelivered()
    assert (left.waiting, left.count) == (False, 1)


def test_ten_thousand_messages_at_once_are_one(simulation: Simulation, robot: ScriptedChannel) -> None:
    """In a second or two, and without a file for each."""
    peak, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    simulation.put(*(note(number) for number in range(10_000)))
    simulation.run(10)
    assert time.monotonic() - begin < 5.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100 * 1024
    assert told_of(robot.arrived) == {"finished": 10_000}
    assert len(robot.arrived) == 1


def test_an_end_sends_what_waits_and_leaves_the_rest(tmp_path: Path) -> None:
    """A run's end waits no longer than its deadline; what is left is sent by the next start."""
    good, bad = ScriptedChannel("good"), ScriptedChannel("bad", answer=lambda _: NO_NETWORK)
    dispatcher = Dispatcher(tmp_path, [Route(bad), Route(good)])
    dispatcher.start()
    for number in range(5):
        dispatcher.put(failed(number))
    begin = time.monotonic()
    (left,) = dispatcher.close(deadline_s=0.5)
    assert time.monotonic() - begin < 2.0
    assert told_of(good.arrived) == {"failed": 5}
    assert (left.channel, left.count, left.reason) == ("bad", 5, "robot cannot be reached")
    bad.answer = lambda _: SENT
    Dispatcher(tmp_path, [Route(bad), Route(good)]).close(5.0)
    assert told_of(bad.arrived) == {"failed": 5}


def test_an_end_asks_nobody_who_said_when(tmp_path: Path) -> None:
    """A channel that backs off by itself gets one more chance; one that was told to wait does not."""
    replies = {"told": Reply(Fate.RETRY, "429", retry_after_s=60.0), "own": NO_NETWORK}
    channels = [ScriptedChannel(name, answer=lambda _, r=reply: r) for name, reply in replies.items()]  # type: ignore[misc]
    dispatcher = Dispatcher(tmp_path, [Route(channel) for channel in channels])
    dispatcher.put(note(1, Kind.OWN))
    dispatcher.step()
    dispatcher.close(0.1)
    assert [len(channel.tried) for channel in channels] == [1, 2]


def test_a_provider_that_hangs_delays_nobody(tmp_path: Path) -> None:
    """Handing over takes no time, and the end comes at its deadline."""
    release = threading.Event()
    hanging = ScriptedChannel(answer=lambda _: SENT if release.wait(10.0) else NO_NETWORK)
    dispatcher = Dispatcher(tmp_path, [Route(hanging)])
    dispatcher.start()
    begin = time.monotonic()
    dispatcher.put(note(1, Kind.OWN))
    assert time.monotonic() - begin < 0.2
    (left,) = dispatcher.close(deadline_s=0.1)
    assert time.monotonic() - begin < 3.0
    assert left.count == 1
    release.set()


def wait_for(is_so: Callable[[], object]) -> None:
    """Return when something has come to pass."""
    until = time.monotonic() + 20.0
    while not is_so():
        assert time.monotonic() < until
        threading.Event().wait(0.01)


@pytest.fixture
def hanging() -> Iterator[Callable[[str], ScriptedChannel]]:
    """Return what makes channels whose providers hang until the test is over, and then say yes."""
    release = threading.Event()
    yield lambda name: ScriptedChannel(name, answer=lambda _: SENT if release.wait(30.0) else NO_NETWORK)
    release.set()


def test_providers_that_hang_silence_nobody_else(tmp_path: Path, hanging: Callable[[str], ScriptedChannel]) -> None:
    """However many hang, the others get what comes, at once; the end waits once for all of them together."""
    good = ScriptedChannel("good")
    stuck = [hanging(f"stuck{number}") for number in range(3)]
    dispatcher = Dispatcher(tmp_path, [*(Route(channel) for channel in stuck), Route(good)])
    dispatcher.start()
    dispatcher.put(note(1, Kind.OWN))
    wait_for(lambda: all(channel.tried for channel in stuck))
    for number in range(2, 5):
        dispatcher.put(note(number, Kind.OWN))
        wait_for(lambda number=number: len(good.arrived) == number)  # type: ignore[misc]
    begin = time.monotonic()
    left = dispatcher.close(deadline_s=0.2)
    assert time.monotonic() - begin < 3.0
    assert {(one.channel, one.count, one.waiting) for one in left} == {(one.name, 4, True) for one in stuck}
    assert len(waiting(tmp_path)) == 12


def test_what_a_hanging_provider_takes_late_is_sent_once(tmp_path: Path) -> None:
    """The end does not wait for it; its yes is written down when it comes, and only then may others send."""
    release = threading.Event()
    late = ScriptedChannel(answer=lambda _: SENT if release.wait(30.0) else NO_NETWORK)
    dispatcher = Dispatcher(tmp_path, [Route(late)])
    dispatcher.put(note(1, Kind.OWN))
    (left,) = dispatcher.close(deadline_s=0.1)
    assert left.reason == "the provider has not answered yet"
    with pytest.raises(StoreError, match="another process"):
        Dispatcher(tmp_path, [Route(late)])
    release.set()
    wait_for(lambda: not waiting(tmp_path) and not is_locked(tmp_path / "lock"))
    assert Dispatcher(tmp_path, [Route(late)]).close(0.1) == []
    assert len(late.tried) == 1


def test_a_message_on_its_way_is_no_part_of_a_digest(tmp_path: Path, hanging: Callable[[str], ScriptedChannel]) -> None:
    """Hundreds that come while a provider hangs are merged without it: it may have arrived."""
    stuck = hanging("stuck")
    dispatcher = Dispatcher(tmp_path, [Route(stuck)])
    dispatcher.start()
    dispatcher.put(note(0, Kind.OWN))
    wait_for(lambda: stuck.tried)
    dispatcher.put(lambda: [note(number) for number in range(1, 300)])
    wait_for(lambda: len(waiting(tmp_path)) == 2)
    on_its_way, merged = waiting(tmp_path)
    assert (on_its_way.message.id, on_its_way.trying) == (note(0, Kind.OWN).id, True)
    assert told_of([merged.message]) == {"finished": 299}
    dispatcher.close(0.0)


def test_a_hanging_provider_keeps_no_process_from_leaving(tmp_path: Path) -> None:
    """What it was sending stays on disk, and so does what came after it."""
    script = f"""
import pathlib, threading
from parallel_ml.notify.channel import own_message
from parallel_ml.notify.dispatcher import Dispatcher
from parallel_ml.notify.route import Route
from tests.unit.notify.dispatching import ScriptedChannel
began = threading.Event()
def hang(_):
    began.set()
    threading.Event().wait()
dispatcher = Dispatcher(pathlib.Path({str(tmp_path)!r}), [Route(ScriptedChannel(answer=hang))])
dispatcher.start()
dispatcher.put(own_message("first", ""))
began.wait()
dispatcher.put(own_message("second", ""))
print(len(dispatcher.close(0.1)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert [(entry.message.title, entry.trying) for entry in waiting(tmp_path)] == [("first", True), ("second", False)]


def test_ctrl_c_ends_the_last_wait(tmp_path: Path, hanging: Callable[[str], ScriptedChannel]) -> None:
    """At once, and the messages stay on disk."""
    stuck = hanging("stuck")
    dispatcher = Dispatcher(tmp_path, [Route(stuck)])
    dispatcher.start()
    dispatcher.put(note(1, Kind.OWN))
    wait_for(lambda: stuck.tried)
    press = threading.Timer(0.2, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
    press.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        dispatcher.close(deadline_s=15.0)
    assert time.monotonic() - begin < 5.0
    assert len(waiting(tmp_path)) == 1


def test_quiet_hours_that_outlast_a_run_are_told(tmp_path: Path) -> None:
    """As what waits, and for when; the next start sends it as one when they are over."""
    local = time.localtime(BEGIN.wall)
    minute = local.tm_hour * 60 + local.tm_min
    robot, end = ScriptedChannel(), (minute + 60) % 1440
    route = Route(robot, quiet_hours=QuietHours((minute - 10) % 1440, end))
    before = Simulation(tmp_path, [route])
    before.put(note(1), note(2))
    before.run(60)
    (left,) = before.dispatcher.undelivered()
    assert left.line == f"2 messages by robot wait for {end // 60:02}:{end % 60:02} (quiet hours)"
    before.end()
    during = Simulation(tmp_path, [route], before.now)
    during.run(60)
    assert [one.quiet_until for one in during.dispatcher.undelivered()] == [left.quiet_until]
    during.end()
    after = Simulation(tmp_path, [route], Moment(9.0, during.now.wall + 2 * 3600.0))
    after.run(60)
    after.end()
    assert told_of(robot.arrived) == {"finished": 2}
    assert len(robot.arrived) == 1


def test_what_waits_for_a_channel_that_never_comes_back_is_given_up(tmp_path: Path) -> None:
    """After as many days as any other message."""
    before = Simulation(tmp_path, [ScriptedChannel("old", answer=lambda _: NO_NETWORK)])
    before.put(note(1))
    before.run(5)
    before.end()
    after = Simulation(tmp_path, [ScriptedChannel("new")], Moment(1.0, before.now.wall + EXPIRY_S + 60.0))
    assert after.dispatcher.undelivered() == []
    after.end()


def test_what_cannot_be_composed_harms_no_other(simulation: Simulation, robot: ScriptedChannel) -> None:
    """A line says so."""

    def fail() -> list[Message]:
        raise ValueError("no such job")

    simulation.dispatcher.put(fail)
    simulation.put(note(1))
    simulation.run(10)
    assert len(robot.arrived) == 1
    assert simulation.said == ["a message could not be written: ValueError: no such job"]


def test_messages_for_a_channel_that_is_gone_are_reported(tmp_path: Path) -> None:
    """The settings were changed between two starts."""
    before = Simulation(tmp_path, [ScriptedChannel("old", answer=lambda _: NO_NETWORK)])
    before.put(note(1))
    before.run(5)
    before.end()
    after = Simulation(tmp_path, [ScriptedChannel("new")])
    assert [(left.channel, left.count) for left in after.dispatcher.undelivered()] == [("old", 1)]
    after.end()


def test_a_disk_that_is_full_stops_no_message(simulation: Simulation, robot: ScriptedChannel, tmp_path: Path) -> None:
    """It is sent from memory."""
    (tmp_path / "outbox").rename(tmp_path / "moved")
    simulation.put(failed(1))
    simulation.run(10)
    assert len(robot.arrived) == 1


Deed = tuple[str, int]
DEEDS = st.lists(
    st.tuples(st.sampled_from(["put", "burst", "wait", "long", "down", "up", "restart", "clock"]), st.integers(1, 9)),
    max_size=25,
)


@settings(max_examples=30, deadline=None)
@given(DEEDS)
def test_whatever_happens_each_is_told_once_and_within_the_limit(deeds: list[Deed]) -> None:
    """Outages, bursts, restarts and clock steps in any order; a person hears of everything exactly once."""
    robot, number = ScriptedChannel(limits=Limits(per_minute=4)), 0
    stamps: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(Path(folder), [robot])
        robot.answer = lambda _: SENT
        for deed, size in deeds:
            if deed in ("put", "burst"):
                fresh = range(number, number + (1 if deed == "put" else size))
                simulation.put(*(failed(one) if one % 3 else note(one, Kind.FAILED) for one in fresh))
                number = fresh.stop
                simulation.dispatcher.step(simulation.now)
            elif deed in ("wait", "long"):
                simulation.run(size * (1.0 if deed == "wait" else 100.0))
            elif deed in ("down", "up"):
                robot.answer = (lambda _: NO_NETWORK) if deed == "down" else (lambda _: SENT)
            elif deed == "clock":
                simulation.set_wall((size - 5) * 1800.0)
            else:
                simulation.end()
                simulation = Simulation(Path(folder), [robot], simulation.now)
        robot.answer = lambda _: stamps.append(simulation.now.steady) or SENT  # type: ignore[func-returns-value]
        simulation.run(3600.0)
        simulation.end()
    assert told_of(robot.arrived)["failed"] == number
    assert len({message.id for message in robot.arrived}) == len(robot.arrived)
    assert all(sum(start <= at < start + 60 for at in stamps) <= 4 for start in stamps)
