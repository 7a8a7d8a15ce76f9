"""Messages and alerts of real runs: what arrives, what waits, what an alert does."""

from __future__ import annotations

import fcntl
import http.server
import json
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_ml import ParallelMLExecutor
from parallel_ml.adapters.cli.main import main
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent, ProcessMonitor
from parallel_ml.notify.outbox import Outbox, waiting
from parallel_ml.notify.secret import Secret
from parallel_ml.notify.settings import ChannelSettings, NotificationSettings
from parallel_ml.runtime.messages import CUT_SHORT, Messenger
from parallel_ml.store.files import read_json
from parallel_ml.store.layout import RunLayout
from parallel_ml.training_monitor import TrainingMonitor
from parallel_ml.training_monitor.messages import end_message
from parallel_ml.training_monitor.session import empty_metrics
from tests.process.conftest import until
from tests.process.test_runtime import layout_of

pytestmark = pytest.mark.process
Write = Callable[..., Path]
Make = Callable[..., ParallelMLExecutor]
PYTHON = sys.executable
UNSEEN = "word-that-nobody-may-see-4711"
EPOCHS = """
import time
from parallel_ml import report
for epoch in range(1, 400):
    report(epoch=epoch, epochs=400, loss=float("nan") if epoch > 2 else 1 / epoch)
    time.sleep(0.02)
"""


class Receiver(http.server.ThreadingHTTPServer):
    """A web service that keeps what it is sent."""

    def __init__(self) -> None:
        """Listen on loopback."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[dict[str, Any]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens, with something that must stay a secret."""
        return f"http://127.0.0.1:{self.server_address[1]}/hook?token={UNSEEN}"

    def kinds(self) -> list[str]:
        """Return what the messages were about; those of a digest one by one."""
        found: list[str] = []
        for message in self.got:
            rows = message["data"].get("rows") if message["kind"] == "digest" else None
            found += [row["kind"] for row in rows] if rows else [message["kind"]]
        return found


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Receiver)
        self.server.got.append(json.loads(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a service that receives messages."""
    server = Receiver()
    yield server
    server.shutdown()
    server.server_close()


def settings(folder: Path, url: str) -> Path:
    """Write the settings of one webhook."""
    path = folder / "notifier_config.yaml"
    path.write_text(yaml.safe_dump({"channels": [{"type": "webhook", "url": url}]}))
    path.chmod(0o600)
    return path


def test_what_happens_in_a_run_arrives(write: Write, executor: Make, tmp_path: Path, receiver: Receiver) -> None:
    """A start, an end and a failure of the jobs, and one message for the whole run, the last."""
    settings(tmp_path, receiver.url)
    run = executor(write("good", "sleep 0.5"), write("bad", "sleep 0.5; exit 1"))
    run.run_parallel()
    kinds = receiver.kinds()
    assert sorted(kinds[:-1]) == ["failed", "finished", "started", "started"]
    assert receiver.got[-1]["kind"] == "run_done"
    assert waiting(layout_of(run).outbox) == []


def test_a_dead_network_changes_nothing_and_loses_nothing(
    write: Write, executor: Make, tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run ends as ever and says what was not sent; `notify flush` sends it later."""
    settings(tmp_path, "http://127.0.0.1:9/hook")
    run = executor(write("a", "true"))
    (result,) = run.run_parallel()
    assert result.state == "completed"
    assert any("not sent" in line for line in run.get_status().undelivered)
    path = settings(tmp_path, receiver.url)
    assert main(["notify", "flush", str(layout_of(run).dir), "--notify", str(path)]) == 0
    assert {"started", "finished", "run_done"} <= set(receiver.kinds())
    assert "messages sent" in capsys.readouterr().out
    assert run.get_status().undelivered == ()


def test_a_flush_of_a_run_that_goes_on_says_that_it_sends_itself(
    write: Write, executor: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is no failure; where the run is over, somebody else who sends is told as ever."""
    settings(tmp_path, "http://127.0.0.1:9/hook")
    run = executor(write("a", "true"))
    run.run_parallel()
    layout = layout_of(run)
    outbox = Outbox(layout.outbox)
    with layout.lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["notify", "flush", str(layout.dir)]) == 0
        told = capsys.readouterr()
        assert f"run {layout.dir.name} goes on, and is sending its" in told.err
        assert told.out == "0 messages sent\n"
    assert main(["notify", "flush", str(layout.dir)]) == 2
    assert "another process sends its messages" in capsys.readouterr().err
    outbox.close()


def test_ctrl_c_during_the_last_sending_is_the_reason(tmp_path: Path) -> None:
    """No provider is blamed for it, and it says what sends the message."""
    layout = RunLayout(tmp_path / "run")
    layout.dir.mkdir()
    monitor, said = ProcessMonitor(tmp_path), list[str]()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hook = Secret(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        channels = (ChannelSettings("hook", "webhook", {"url": hook}),)
        messenger = Messenger(layout, NotificationSettings(channels=channels), monitor, said.append)
        monitor.emit(MonitorEvent(EventKind.ALERT, "a", {"id": "x#1.1", "alert": "x", "news": "firing"}))
        until(lambda: waiting(layout.outbox), "the message")
        press = threading.Timer(0.2, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
        press.start()
        with pytest.raises(KeyboardInterrupt):
            messenger.close()
    assert read_json(layout.undelivered)["notes"] == [f"1 message by hook not sent: {CUT_SHORT}"]


def test_nothing_of_the_settings_is_in_the_run(
    write: Write, executor: Make, tmp_path: Path, receiver: Receiver
) -> None:
    """Neither of a configuration's own section nor of a file."""
    section = {"channels": [{"type": "webhook", "url": receiver.url, "secret": "whsec-9876543210"}]}
    run = executor(write("a", "true", notifications=section))
    run.run_parallel()
    assert "finished" in receiver.kinds()
    texts = b"".join(path.read_bytes() for path in layout_of(run).dir.rglob("*") if path.is_file())
    assert UNSEEN.encode() not in texts
    assert b"whsec-9876543210" not in texts


def test_a_file_that_holds_a_secret_is_in_no_snapshot(
    write: Write, executor: Make, tmp_path: Path, receiver: Receiver
) -> None:
    """Though the job's code lies beside it; the job still finds it where it was."""
    (tmp_path / "robot.txt").write_text("whsec-9876543210\n")
    (tmp_path / "robot.txt").chmod(0o600)
    (tmp_path / "job.py").write_text(
        "import pathlib\nprint(len(pathlib.Path(__file__).with_name('robot.txt').read_text()))\n"
    )
    section = {"channels": [{"type": "webhook", "url": receiver.url, "secret": "file:robot.txt"}]}
    run = executor(write("a", [PYTHON, "job.py"], notifications=section))
    (result,) = run.run_parallel()
    assert result.state == "completed"
    kept = [path for path in layout_of(run).dir.rglob("*") if path.is_file() and not path.is_symlink()]
    assert "job.py" in {path.name for path in kept}
    assert [path for path in kept if b"whsec-9876543210" in path.read_bytes()] == []


def test_the_channels_of_a_configuration_hear_of_its_own_jobs(
    write: Write, executor: Make, tmp_path: Path, receiver: Receiver
) -> None:
    """And of the run; a job whose configuration names nobody is told to all."""
    other = Receiver()
    sections = [{"channels": [{"type": "webhook", "url": one.url}]} for one in (receiver, other)]
    run = executor(
        *(write(name, "true", notifications=section) for name, section in zip("ab", sections, strict=True)),
        write("c", "true"),
    )
    run.run_parallel()
    other.shutdown()
    other.server_close()
    for mine, got in (("a", receiver.got), ("b", other.got)):
        about = {row["about"] for one in got if one["kind"] == "digest" for row in one["data"]["rows"]}
        about |= {one["job"] for one in got if one["kind"] != "digest"}
        assert about == {mine, "c", None}


def test_settings_that_are_wrong_stop_the_run_before_it_starts(write: Write, executor: Make, tmp_path: Path) -> None:
    """With file, line and key."""
    (tmp_path / "notifier_config.yaml").write_text("email_enabled: true\nemail: {smtp_servr: x}\n")
    run = executor(write("a", "true"))
    with pytest.raises(Exception, match=r"notifier_config.yaml:2: .*smtp_servr"):
        run.run_parallel()
    assert not list((tmp_path / "runs").glob("*/events.jsonl"))


def test_an_alert_stops_a_job_and_says_why(write: Write, executor: Make, tmp_path: Path, receiver: Receiver) -> None:
    """The rule's action; told once, and by a message."""
    settings(tmp_path, receiver.url)
    rules = [{"alert": "lost", "expr": "isnan(train_loss)", "for": "3 epochs", "action": "stop"}]
    run = executor(write("a", [PYTHON, "-c", EPOCHS], alerts={"rules": rules, "builtin": False}))
    told: list[str] = []
    run.subscribe(lambda event: told.append(f"{event.data['alert']} {event.data['news']}"), "alert")
    (result,) = run.run_parallel()
    assert (result.state, told) == ("stopped", ["lost firing"])
    assert (result.error or "").startswith("alert lost: ")
    assert result.history["epochs"][-1] < 100
    assert "alert" in receiver.kinds()
    assert read_json(layout_of(run).job("a").alerts)["v"] == 1


def test_rules_for_the_whole_run_come_on_top_of_the_built_in_ones(write: Write, executor: Make, tmp_path: Path) -> None:
    """`--alerts FILE`; nan is watched without a word."""
    rules = tmp_path / "rules.yaml"
    rules.write_text('- "epoch() >= 5 -> stop"\n')
    run = executor(write("a", [PYTHON, "-c", EPOCHS]), alerts=rules)
    told: list[str] = []
    run.subscribe(lambda event: told.append(event.data["alert"]), "alert")
    (result,) = run.run_parallel()
    assert result.state == "stopped"
    assert told == ["nan", "epoch() >= 5"]


def test_what_an_older_run_could_not_send_goes_with_the_next(
    write: Write, executor: Make, tmp_path: Path, receiver: Receiver
) -> None:
    """Nobody has to flush by hand."""
    settings(tmp_path, "http://127.0.0.1:9/hook")
    older = executor(write("older", "true"))
    older.run_parallel()
    settings(tmp_path, receiver.url)
    executor(write("newer", "sleep 3")).run_parallel()
    until(lambda: not waiting(layout_of(older).outbox), "what waited")
    assert {message["run"] for message in receiver.got} >= {older.get_status().run}


def test_what_a_monitor_could_not_send_goes_with_the_next_run(
    write: Write, executor: Make, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the settings that it had: where they are is remembered."""
    lab = tmp_path / "lab"
    lab.mkdir()
    path = settings(lab, receiver.url)
    with monkeypatch.context() as there:
        there.chdir(lab)
        monitor = TrainingMonitor(notifiers=[], config=path)
        courier = monitor._places.opened("m").courier
        metrics = {**empty_metrics("digits"), "status": "completed"}
        message = end_message(metrics, courier.settings, key="k", created=1.0)
        courier.send("k", message, deadline_s=-1.0)
    assert receiver.got == []
    settings(tmp_path, receiver.url)
    executor(write("newer", "sleep 3")).run_parallel()
    until(lambda: "digits" in {message["job"] for message in receiver.got}, "what waited")
    until(lambda: not (lab / "training_reports" / ".outbox").exists(), "the folder")


def test_a_takeover_tells_no_alert_twice(write: Write, executor: Make, tmp_path: Path) -> None:
    """The next supervisor reads all epochs again, and judges only those that are new."""
    rules = [{"alert": "early", "expr": "epoch() >= 2 and epoch() < 4"}]
    run = executor(write("a", [PYTHON, "-c", EPOCHS], alerts={"rules": rules, "builtin": False}))
    told: list[str] = []

    def leave(event: MonitorEvent) -> None:
        if event.data["epoch"] >= 60 and run._supervisor is not None:
            run._supervisor.leave("a test")

    run.subscribe(lambda event: told.append(event.data["news"]), "alert")
    run.subscribe(leave, "epoch")
    run.run_parallel()
    assert told == ["firing", "resolved"]
    again = ParallelMLExecutor.resume(layout_of(run).dir)
    again.subscribe(lambda event: told.append(event.data["news"]), "alert")
    again.run_parallel()
    assert told == ["firing", "resolved"]
