"""One robot, several senders: limits and waits that all processes of a user share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from parallel_ml.notify.channel import Fate, Limits, Reply, endpoint_of
from parallel_ml.notify.channels.dingtalk import DingTalkNotifier
from parallel_ml.notify.endpoint import LONGEST_HOLD_S, Endpoint, shared_folder
from parallel_ml.notify.message import Kind
from parallel_ml.notify.moment import Moment
from tests.unit.notify.dispatching import BEGIN, SENT, ScriptedChannel, Simulation, note, told_of

NAME = endpoint_of("robot", "a secret")
FOUR = Limits(per_minute=4)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Return where endpoints are counted."""
    return tmp_path / "endpoints"


def robot(limits: Limits = FOUR, stamps: list[float] | None = None, *clocks: list[Simulation]) -> ScriptedChannel:
    """Return a channel of the one endpoint of these tests, which writes down when it was tried."""

    def answer(_: object) -> Reply:
        if stamps is not None:
            stamps.append(clocks[0][0].now.steady)
        return SENT

    made = ScriptedChannel(limits=limits, answer=answer)
    made.endpoint = NAME
    return made


def later(seconds: float, moment: Moment = BEGIN) -> Moment:
    """Return a moment after another."""
    return Moment(moment.steady + seconds, moment.wall + seconds)


def test_two_dispatchers_keep_to_one_limit(tmp_path: Path, shared: Path) -> None:
    """In any minute the robot gets no more than it takes from both together, and both tell everything."""
    stamps: list[float] = []
    running: list[Simulation] = []
    robots = [robot(FOUR, stamps, running) for _ in range(2)]
    runs = [Simulation(tmp_path / str(number), [one], shared=shared) for number, one in enumerate(robots)]
    for number in range(60):
        for run in runs:
            running[:] = [run]
            run.put(note(number))
            run.run(5.0)
    for _ in range(100):
        for run in runs:
            running[:] = [run]
            run.run(5.0)
    for run, one in zip(runs, robots, strict=True):
        run.end()
        assert told_of(one.arrived) == {"finished": 60}
    assert all(sum(start <= at < start + 60 for at in stamps) <= 4 for start in stamps)


def test_an_outage_costs_many_runs_no_more_tries_than_one(tmp_path: Path, shared: Path) -> None:
    """For an hour they knock in turn, each ever more seldom; afterwards all arrives, once."""
    robots = [robot() for _ in range(3)]
    runs = [Simulation(tmp_path / str(number), [one], shared=shared) for number, one in enumerate(robots)]
    for one in robots:
        one.answer = lambda _: Reply(Fate.RETRY, "no network")
    for step in range(360):
        for run in runs:
            run.put(*([note(step)] if step % 90 == 0 else []))
            run.run(10.0)
    assert sum(len(one.tried) for one in robots) < 40
    for one in robots:
        one.answer = lambda _: SENT
    for _ in range(120):
        for run in runs:
            run.run(10.0)
    for run, one in zip(runs, robots, strict=True):
        run.end()
        assert told_of(one.arrived) == {"finished": 4}


def test_many_short_senders_one_after_the_other_keep_to_the_limit(tmp_path: Path, shared: Path) -> None:
    """Each has an outbox of its own; what is too much stays in it, and says why."""
    robots = [robot() for _ in range(6)]
    lines = []
    for number, one in enumerate(robots):
        run = Simulation(tmp_path / str(number), [one], later(number), shared)
        run.put(note(number, Kind.OWN))
        run.run(0.5)
        run.end()
        lines += [left.line for left in run.dispatcher.undelivered()]
    assert [len(one.arrived) for one in robots] == [1, 1, 1, 1, 0, 0]
    assert len(lines) == 2
    assert "takes no more for the moment" in lines[0]


def test_what_a_provider_asks_for_holds_for_all(tmp_path: Path, shared: Path) -> None:
    """A robot that blocked one sender for ten minutes is left alone by the others, at their ends too."""
    told, other = robot(), robot()
    told.answer = lambda _: Reply(Fate.RETRY, "blocked", retry_after_s=600.0)
    first = Simulation(tmp_path / "1", [told], shared=shared)
    first.put(note(1, Kind.OWN))
    first.run(1.0)
    second = Simulation(tmp_path / "2", [other], first.now, shared)
    second.put(note(2, Kind.OWN))
    second.dispatcher._lanes[0].hurry(second.now)
    second.run(590.0)
    assert other.tried == []
    second.run(60.0)
    assert len(other.arrived) == 1
    for run in (first, second):
        run.end()


def test_a_failure_that_passes_is_shared_and_an_end_tries_all_the_same(shared: Path) -> None:
    """Others do not knock at a dead door each on their own; who ends has one chance left, and takes it."""
    Endpoint(FOUR, NAME, shared).hold(BEGIN, 100.0, asked=False)
    other = Endpoint(FOUR, NAME, shared)
    assert other.take(later(1.0)) == pytest.approx(99.0)
    assert other.take(later(1.0), asked_only=True) == 0.0
    other.free(later(2.0))
    assert Endpoint(FOUR, NAME, shared).wait_s(later(2.0)) == 0.0


def test_a_short_failure_cuts_no_wait_short_that_was_asked_for(shared: Path) -> None:
    """The provider's own word counts more than a guess."""
    one = Endpoint(FOUR, NAME, shared)
    one.hold(BEGIN, 600.0, asked=True)
    one.hold(later(1.0), 2.0, asked=False)
    assert one.wait_s(later(10.0), asked_only=True) == pytest.approx(590.0)
    one.hold(later(10.0), 1e9, asked=True)
    assert one.wait_s(later(10.0)) == LONGEST_HOLD_S


def test_own_messages_count_and_what_is_too_much_is_not_sent() -> None:
    """The provider would block the robot; the reply says when it may be tried again, and that nobody else does."""
    sender = robot(Limits(per_minute=2))
    replies = [sender.send("a", "b") for _ in range(3)]
    assert [reply.fate for reply in replies] == [Fate.SENT, Fate.SENT, Fate.RETRY]
    assert len(sender.tried) == 2
    assert 0 < (replies[2].retry_after_s or 0) < 90
    assert replies[2].text.startswith("not sent: ")
    assert Endpoint(Limits(per_minute=2), NAME, shared_folder(os.environ)).room(Moment.now()) == 0


def test_what_a_provider_answers_to_an_own_message_holds_for_all() -> None:
    """It asked to wait, so nobody sends to it meanwhile."""
    sender = robot()
    sender.answer = lambda _: Reply(Fate.RETRY, "busy", 600.0)
    assert sender.send("a", "b").text == "busy"
    assert sender.send("a", "b").text != "busy"
    assert Endpoint(FOUR, NAME, shared_folder(os.environ)).wait_s(Moment.now()) > 590


def test_other_robots_are_not_meant(shared: Path) -> None:
    """Each endpoint has limits of its own."""
    Endpoint(FOUR, NAME, shared).hold(BEGIN, 100.0, asked=True)
    assert Endpoint(FOUR, endpoint_of("robot", "another"), shared).wait_s(BEGIN) == 0.0


def test_the_file_is_the_users_and_gives_no_secret_away(shared: Path) -> None:
    """Mode 0600 in a folder of 0700; the robot is named by a hash."""
    url = "https://oapi.dingtalk.com/robot/send?access_token=very-secret"
    channel = DingTalkNotifier(url, "SECvery-secret")
    Endpoint(channel.limits, channel.endpoint, shared).take(BEGIN)
    (path,) = shared.iterdir()
    assert (path.stat().st_mode & 0o777, shared.stat().st_mode & 0o777) == (0o600, 0o700)
    assert b"very-secret" not in path.read_bytes() + os.fsencode(path)
    assert channel.endpoint == DingTalkNotifier(url, keyword="x", name="other").endpoint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff\x00",
        b"null",
        b'{"v": 2}',
        b'{"v": 1, "boot": "x", "sent": [["a", 1]], "held": null}',
        b'{"v": 1, "boot": "x", "sent": [[NaN, 1]], "held": null}',
        b'{"v": 1, "boot": "x", "sent": [[1]], "held": [1]}',
    ],
)
def test_a_damaged_file_begins_anew(shared: Path, content: bytes) -> None:
    """And counts from then on."""
    shared.mkdir()
    (shared / f"{NAME}.json").write_bytes(content)
    one = Endpoint(Limits(per_minute=1), NAME, shared)
    assert one.take(BEGIN) == 0.0
    assert Endpoint(Limits(per_minute=1), NAME, shared).take(BEGIN) > 0.0


def test_what_a_kill_leaves_behind_a_shorter_line_is_no_part_of_it(shared: Path) -> None:
    """The line is written before the file is cut to it."""
    one = Endpoint(Limits(per_minute=1), NAME, shared)
    one.take(BEGIN)
    with (shared / f"{NAME}.json").open("ab") as stream:
        stream.write(b'23.0]], "held": null}\n')
    assert one.take(BEGIN) > 0.0


def test_a_clock_that_is_put_back_counts_for_nothing_within_a_boot(shared: Path) -> None:
    """Ages are those of the clock that never steps."""
    one = Endpoint(Limits(per_minute=1), NAME, shared)
    one.take(BEGIN)
    assert one.take(Moment(BEGIN.steady + 30.0, BEGIN.wall - 86400.0)) == pytest.approx(31.2)
    assert one.take(Moment(BEGIN.steady + 62.0, BEGIN.wall - 86400.0)) == 0.0


def test_a_clock_that_was_put_back_over_a_reboot_delays_by_one_minute_at_most(shared: Path) -> None:
    """What seems to lie in the future counts as now, once."""
    one = Endpoint(Limits(per_minute=1), NAME, shared)
    one.take(BEGIN)
    one.hold(BEGIN, 100.0, asked=True)
    path = shared / f"{NAME}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}) + "\n")
    reboot = Moment(5.0, BEGIN.wall - 86400.0)
    assert one.wait_s(reboot) == pytest.approx(100.0)
    assert one.wait_s(later(90.0, reboot)) == pytest.approx(10.0)
    assert one.take(later(101.0, reboot)) == 0.0


def test_a_reboot_remembers_what_was_sent(shared: Path) -> None:
    """By the clock on the wall, which is all that is left."""
    one = Endpoint(Limits(per_day=1), NAME, shared)
    one.take(BEGIN)
    path = shared / f"{NAME}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "another"}) + "\n")
    assert one.take(Moment(5.0, BEGIN.wall + 3600.0)) > 80_000.0


@pytest.mark.parametrize("kind", ["file in the way", "link", "folder", "pipe", "no folder"])
def test_where_nothing_can_be_shared_a_process_counts_for_itself(tmp_path: Path, kind: str) -> None:
    """And messages go out as ever."""
    shared = tmp_path / "endpoints"
    path = shared / f"{NAME}.json"
    if kind == "file in the way":
        shared.write_text("")
    elif kind != "no folder":
        shared.mkdir()
    if kind == "link":
        path.symlink_to("/dev/null")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    one = robot()
    run = Simulation(tmp_path / "outbox", [one], shared=None if kind == "no folder" else shared)
    for number in range(6):
        run.put(note(number, Kind.OWN))
        run.run(1.0)
    run.end()
    assert len(one.arrived) == 4


def test_who_holds_the_lock_and_stops_delays_others_once(shared: Path) -> None:
    """After a second a process goes by itself, and does not wait again for a minute."""
    holder = Endpoint(FOUR, NAME, shared)
    holder.take(BEGIN)
    other = Endpoint(FOUR, NAME, shared)
    with holder._book(BEGIN):
        assert other.take(BEGIN) == 0.0
        begin = time.monotonic()
        assert other.take(later(30.0)) == 0.0
        assert time.monotonic() - begin < 0.5


def test_what_nobody_used_for_a_week_is_removed(tmp_path: Path) -> None:
    """A webhook that is gone leaves nothing for ever."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    folder = shared_folder(environ)
    Endpoint(FOUR, NAME, folder).take(BEGIN)
    Endpoint(FOUR, "old", folder).take(BEGIN)
    long_ago = time.time() - 8 * 86400.0
    os.utime(folder / "old.json", (long_ago, long_ago))
    assert [path.stem for path in shared_folder(environ).iterdir()] == [NAME]


class Robot(ThreadingHTTPServer):
    """A DingTalk robot that counts what reaches it."""

    def __init__(self) -> None:
        """Listen on loopback."""
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[str] = []


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Robot)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.taken.append(body["markdown"]["title"])
        answer = b'{"errcode": 0, "errmsg": "ok"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def dingtalk() -> Iterator[Robot]:
    """Return a robot that listens until the test ends."""
    with Robot() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


SENDER = """
import os, pathlib, sys
from parallel_ml.notify.channel import own_message
from parallel_ml.notify.channels.dingtalk import DingTalkNotifier
from parallel_ml.notify.dispatcher import Dispatcher
from parallel_ml.notify.endpoint import shared_folder
from parallel_ml.notify.route import Route
base_url, outbox = sys.argv[1:]
robot = DingTalkNotifier("https://oapi.dingtalk.com/robot/send?access_token=t", base_url=base_url)
dispatcher = Dispatcher(pathlib.Path(outbox), [Route(robot)], shared=shared_folder(os.environ))
sys.stdin.read()
for number in range(15):
    dispatcher.put(own_message(f"message {number}", ""))
dispatcher.close(8.0)
print(dispatcher.sent)
"""


@pytest.mark.process
def test_two_processes_at_once_keep_to_one_limit(tmp_path: Path, dingtalk: Robot) -> None:
    """Thirty messages at once: twenty reach the robot, and both processes keep the rest."""
    url = f"http://127.0.0.1:{dingtalk.server_port}"
    senders = [
        subprocess.Popen(
            [sys.executable, "-c", SENDER, url, str(tmp_path / str(number))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for sender in senders:
        assert sender.stdin is not None
        sender.stdin.close()
    sent = [int(sender.stdout.read()) for sender in senders if sender.stdout is not None]
    assert [sender.wait(60) for sender in senders] == [0, 0]
    assert len(dingtalk.taken) == sum(sent) <= 20
    assert len(dingtalk.taken) >= 15
    for sender in senders:
        assert sender.stdout is not None
        sender.stdout.close()
