# ruff: noqa: RUF001 - Chinese punctuation is meant
"""The channels of a notification file: what a monitor sends through them, and what waits for the next one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.adapters.cli.main import main
from parallel_ml.notify.channel import Limits
from parallel_ml.notify.left import Left
from parallel_ml.notify.message import Kind
from parallel_ml.notify.secret import Secret
from parallel_ml.notify.settings import ChannelSettings, NotificationSettings
from parallel_ml.training_monitor import TrainingMonitor
from parallel_ml.training_monitor.log import MonitorLog
from parallel_ml.training_monitor.messages import end_message
from parallel_ml.training_monitor.sending import Courier
from parallel_ml.training_monitor.session import empty_metrics
from tests.unit.notify.dispatching import ScriptedChannel

WAIT_S = 10.0


class Receiver(ThreadingHTTPServer):
    """A program on this machine that takes what a webhook sends."""

    def __init__(self) -> None:
        """Take any port."""
        super().__init__(("127.0.0.1", 0), Taking)
        self.told: list[dict[str, Any]] = []
        self.status = 200
        self.got, self.asked, self.hold = threading.Event(), threading.Event(), threading.Event()
        self.hold.set()


class Taking(BaseHTTPRequestHandler):
    """One request."""

    server: Receiver

    def do_POST(self) -> None:
        """Keep the message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.set()
        self.server.hold.wait(WAIT_S * 3)
        if self.server.status == 200:
            self.server.told.append(json.loads(body))
            self.server.got.set()
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Print nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver that listens until the test ends."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def write_config(folder: Path, receiver: Receiver, more: str = "") -> None:
    """Write a notification file with one webhook."""
    path = folder / "notifier_config.yaml"
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    path.write_text(f'notifications:\n  channels:\n    - {{type: webhook, url: "{url}"}}\n{more}')
    path.chmod(0o600)


def test_a_file_in_the_folder_is_enough(folder: Path, receiver: Receiver) -> None:
    """`./notifier_config.yaml` is read when it is there, and its channel gets one message."""
    write_config(folder, receiver)
    TrainingMonitor().start_monitoring("digits", lambda: {"final_loss": 0.5})
    [told] = receiver.told
    assert (told["title"], told["kind"], told["job"]) == ("digits: training finished", "finished", "digits")
    assert told["data"]["final_loss"] == 0.5


def test_the_language_of_the_file_is_that_of_message_and_report(folder: Path, receiver: Receiver) -> None:
    """`language: zh` makes both Chinese."""
    write_config(folder, receiver, "  language: zh\n")
    with pytest.raises(ZeroDivisionError):
        TrainingMonitor().start_monitoring("digits", lambda: 1 / 0)
    assert receiver.told[0]["title"].startswith("digits 训练失败")
    [report] = (folder / "training_reports").glob("*.md")
    assert "训练报告" in report.read_text(encoding="utf-8")


def test_a_channel_may_have_a_language_of_its_own(folder: Path, receiver: Receiver) -> None:
    """Each gets the message in its own, the cause in it as well."""
    write_config(folder, receiver)
    url = f"http://127.0.0.1:{receiver.server_port}/zh"
    with (folder / "notifier_config.yaml").open("a") as file:
        file.write(f'    - {{type: webhook, name: zh, language: zh, url: "{url}"}}\n')

    def fail() -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(RuntimeError):
        TrainingMonitor().start_monitoring("digits", fail)
    assert sorted(told["title"] for told in receiver.told) == [
        "digits 训练失败（显存不足）",
        "digits: training failed (out of GPU memory)",
    ]


def test_a_file_that_is_wrong_costs_the_messages_and_not_the_training(folder: Path) -> None:
    """The log says what is wrong, and where."""
    (folder / "notifier_config.yaml").write_text("notifications:\n  email_enabled: perhaps\n")
    assert TrainingMonitor().start_monitoring("m", lambda: 7) == 7
    assert "notifier_config.yaml:2" in (folder / "ml_notifier.log").read_text(encoding="utf-8")


def test_a_channel_that_cannot_be_made_does_not_silence_the_others(folder: Path, receiver: Receiver) -> None:
    """A type that is not there, or a package that is missing, costs its own messages alone."""
    hook = ChannelSettings("hook", "webhook", {"url": Secret(f"http://127.0.0.1:{receiver.server_port}/")})
    settings = NotificationSettings(channels=(ChannelSettings("none", "no_such_type"), hook))
    log = MonitorLog(folder / "ml_notifier.log", "m")
    metrics = {**empty_metrics("m"), "status": "completed"}
    Courier(Left(folder / "box", folder), log, settings).send("k", end_message(metrics, settings, key="k", created=1.0))
    assert len(receiver.told) == 1
    assert "no messages by none" in (folder / "ml_notifier.log").read_text(encoding="utf-8")
    assert not (folder / "box").exists()


def test_what_did_not_get_through_is_sent_by_the_next_monitor(folder: Path, receiver: Receiver) -> None:
    """A message that a provider did not take waits on disk, and nothing of it is left when it was sent."""
    write_config(folder, receiver)
    receiver.status = 503
    settings = TrainingMonitor(config="notifier_config.yaml")._places.settings
    log = MonitorLog(folder / "ml_notifier.log", "m")
    courier = Courier(Left(folder / "training_reports" / ".outbox", folder), log, settings)
    metrics = {**empty_metrics("first"), "status": "completed"}
    courier.send("first", end_message(metrics, NotificationSettings(), key="first", created=1.0), deadline_s=0.1)
    assert not receiver.told
    receiver.status = 200
    monitor = TrainingMonitor()
    monitor.start_monitoring("second")
    assert receiver.got.wait(WAIT_S)
    monitor.stop_monitoring()
    assert [told["job"] for told in receiver.told] == ["first", "second"]


def test_what_waits_for_a_channel_that_is_gone_holds_up_no_other(folder: Path, receiver: Receiver) -> None:
    """The messages of later monitors are sent all the same."""
    settings = NotificationSettings(
        channels=(ChannelSettings("gone", "webhook", {"url": Secret("http://127.0.0.1:9/")}),)
    )
    places = TrainingMonitor()._places.opened("m")
    courier = Courier(Left(folder / "training_reports" / ".outbox", folder), places.notes, settings)
    metrics = {**empty_metrics("a"), "status": "completed"}
    courier.send("20200101", end_message(metrics, settings, key="a", created=1.0), deadline_s=0.1)
    write_config(folder, receiver)
    failed_to_send(folder, receiver, "b")
    monitor = TrainingMonitor()
    monitor.start_monitoring("c")
    assert receiver.got.wait(WAIT_S)
    monitor.stop_monitoring()
    assert [told["job"] for told in receiver.told] == ["b", "c"]
    assert (folder / "training_reports" / ".outbox" / "20200101").is_dir()


def test_links_and_templates_of_the_file_are_used() -> None:
    """`{job}` in a link is the model; a link that needs a run is left out; a template has its own words."""
    settings = NotificationSettings(
        links=(("board", "http://host/{job}"), ("page", "http://host/{run}")),
        templates={Kind.FINISHED: "{job} is done\nafter {time}: {links}"},
    )
    metrics = {**empty_metrics("a b"), "status": "completed", "duration": 0.5}
    message = end_message(metrics, settings, key="k", created=1.0)
    assert message.title == "a b is done"
    assert message.blocks[0].text == "after 30 min 0 s: board: http://host/a%20b"  # type: ignore[union-attr]


def test_figures_for_programs_are_json() -> None:
    """A loss that is not a number is null in what a webhook gets."""
    metrics = {**empty_metrics("m"), "status": "completed", "final_loss": float("nan")}
    message = end_message(metrics, NotificationSettings(), key="k", created=1.0)
    assert message.data["final_loss"] is None
    assert json.loads(json.dumps(message.data, allow_nan=False))["model_name"] == "m"


def failed_to_send(folder: Path, receiver: Receiver, key: str = "first") -> None:
    """Leave a message that the receiver did not take, as a monitor does."""
    receiver.status = 503
    courier = TrainingMonitor()._places.opened("m").courier
    metrics = {**empty_metrics(key), "status": "completed"}
    courier.send(key, end_message(metrics, NotificationSettings(), key=key, created=1.0), deadline_s=0.1)
    assert list((folder / "training_reports" / ".outbox").glob("*/*.json"))
    receiver.status = 200


@pytest.mark.parametrize("named", [True, False])
def test_flush_finds_what_a_monitor_left_anywhere(
    folder: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    named: bool,
) -> None:
    """`notify flush` sends it from any folder, with the settings that the monitor had; nothing of it is left."""
    write_config(folder, receiver)
    failed_to_send(folder, receiver)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["notify", "flush", *([str(folder / "training_reports")] if named else [])]) == 0
    assert capsys.readouterr().out == "1 message sent\n"
    assert [told["job"] for told in receiver.told] == ["first"]
    assert not (folder / "training_reports" / ".outbox").exists()
    assert main(["notify", "flush"]) == 0
    assert capsys.readouterr().out == "0 messages sent\n"


def test_flush_says_what_it_could_not_send(
    folder: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """A place whose settings are wrong by now is named, and the others are sent."""
    write_config(folder, receiver)
    failed_to_send(folder, receiver)
    other = folder / "other"
    Left(other / ".outbox", other, "gone.yaml").remember(os.environ)
    shutil.copytree(folder / "training_reports" / ".outbox", other / ".outbox")
    assert main(["notify", "flush"]) == 1
    told = capsys.readouterr()
    assert told.out == "1 message sent; what could not be sent is kept\n"
    assert "other: " in told.err
    assert "gone.yaml" in told.err
    assert len(receiver.told) == 1


def test_quiet_hours_are_no_failure_of_a_flush(
    folder: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says for when the messages wait, and that is as it should be."""
    now = datetime.now()  # noqa: DTZ005 - quiet hours are those of the clock on the wall
    start, end = now - timedelta(hours=1), now + timedelta(hours=1)
    write_config(folder, receiver, f'  quiet_hours: "{start:%H:%M}-{end:%H:%M}"\n')
    TrainingMonitor().start_monitoring("digits", lambda: {"final_loss": 0.5})
    log = (folder / "ml_notifier.log").read_text(encoding="utf-8")
    assert f"1 message by webhook waits for {end:%H:%M} (quiet hours)" in log
    assert main(["notify", "flush"]) == 0
    assert f"waits for {end:%H:%M}" in capsys.readouterr().err
    assert not receiver.told
    write_config(folder, receiver)
    assert main(["notify", "flush"]) == 0
    assert len(receiver.told) == 1


def test_nothing_secret_is_remembered(folder: Path, receiver: Receiver, clean_environment: Path) -> None:
    """Where messages wait and where the settings are; neither a URL nor what is in the settings."""
    write_config(folder, receiver)
    failed_to_send(folder, receiver)
    kept = [path for path in clean_environment.rglob("*") if path.is_file()]
    assert kept
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    assert not [path for path in kept if b"127.0.0.1" in path.read_bytes()]


def test_a_channel_of_the_users_own_keeps_to_its_limit_and_loses_nothing(folder: Path) -> None:
    """What is too much waits on disk, for a monitor that is given the same channel."""
    robots = [ScriptedChannel("robot", Limits(per_minute=2)) for _ in range(3)]
    for number, robot in enumerate(robots):
        robot.endpoint = "one"
        courier = TrainingMonitor(notifiers=[robot])._places.opened("m").courier
        metrics = {**empty_metrics(f"m{number}"), "status": "completed"}
        message = end_message(metrics, NotificationSettings(), key=f"k{number}", created=1.0)
        courier.send(f"k{number}", message, deadline_s=0.1)
    assert [len(robot.arrived) for robot in robots] == [1, 1, 0]
    assert len(list((folder / "training_reports" / ".outbox" / "k2").glob("*.json"))) == 1


def test_a_monitor_that_is_killed_leaves_its_message_to_flush(folder: Path, receiver: Receiver) -> None:
    """The message is on disk, and known of, before anything is sent."""
    write_config(folder, receiver)
    receiver.hold.clear()
    script = "from parallel_ml import TrainingMonitor\nTrainingMonitor().start_monitoring('digits', lambda: {})"
    with subprocess.Popen([sys.executable, "-c", script], cwd=folder) as training:
        assert receiver.asked.wait(WAIT_S * 3)
        training.kill()
    receiver.hold.set()
    assert main(["notify", "flush"]) == 0
    (told,) = [one for one in receiver.told if one["data"].get("again")]  # else it is the first, which came late
    assert told["job"] == "digits"
