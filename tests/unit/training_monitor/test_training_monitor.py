"""TrainingMonitor: a function, a block, a decorator, or in the background; it tells the end and hurts nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.errors import ConfigError, UsageError
from parallel_ml.notify.scrub import Scrubber
from parallel_ml.training_monitor import ReportGenerator, TrainingMonitor
from parallel_ml.training_monitor.failure import failure_of
from tests.unit.training_monitor.conftest import Keeping

RESULT = {"final_loss": 0.1, "final_accuracy": 0.9, "best_epoch": 2, "best_accuracy": 0.95, "epochs": 3}
WAIT_S = 10.0


class Completed(TrainingMonitor):
    """A monitor whose own method says when the training is over."""

    def __init__(self, answer: Callable[[], bool], **more: Any) -> None:
        """Ask `answer`."""
        super().__init__(check_interval=0.01, **more)
        self.answer = answer

    def _is_training_completed(self) -> bool:
        return self.answer()


def reports(folder: Path) -> list[str]:
    """Return the Markdown reports of a folder."""
    return [path.read_text(encoding="utf-8") for path in sorted((folder / "training_reports").glob("*.md"))]


def log_of(folder: Path) -> str:
    """Return the monitor's log."""
    return (folder / "ml_notifier.log").read_text(encoding="utf-8")


# --- a function


def test_a_function_is_called_with_its_arguments_and_its_dict_returned(folder: Path) -> None:
    """The training gets `epochs` and the parameters, and the caller the very dict that it returned."""
    asked: dict[str, Any] = {}

    def train(**given: Any) -> dict[str, Any]:
        asked.update(given)
        return RESULT

    monitor = TrainingMonitor()
    assert monitor.start_monitoring(model_name="digits", training_func=train, epochs=3, lr=0.1) is RESULT
    assert asked == {"epochs": 3, "lr": 0.1}
    assert not monitor.monitoring
    assert RESULT.items() <= monitor.metrics.items()
    assert monitor.metrics["status"] == "completed"
    assert monitor.metrics["duration"] >= 0
    assert monitor.metrics["start_time"] <= monitor.metrics["end_time"]
    assert monitor.metrics["memory_peak_mb"] > 0
    assert "digits: training report" in reports(folder)[0]
    assert "digits: completed" in log_of(folder)


def test_while_the_function_runs_it_is_watched() -> None:
    """`monitoring` and the status say so from within."""
    monitor = TrainingMonitor()
    seen = monitor.start_monitoring("m", lambda: (monitor.monitoring, monitor.metrics["status"]))
    assert seen == (True, "running")


def test_without_epochs_none_are_passed() -> None:
    """A function without that parameter can be watched."""
    assert TrainingMonitor().start_monitoring("m", lambda: 7) == 7


def test_epochs_that_nobody_told_are_those_that_were_asked_for() -> None:
    """A completed training that says nothing of its epochs has had as many as it was given."""
    monitor = TrainingMonitor()
    monitor.start_monitoring("m", lambda epochs: {"final_loss": epochs / 10}, epochs=4)
    assert (monitor.metrics["epochs"], monitor.metrics["epochs_planned"]) == (4, 4)


def test_success_is_told(keeping: Keeping) -> None:
    """One message, with the figures in it."""
    TrainingMonitor(notifiers=[keeping]).start_monitoring("digits", lambda: RESULT)
    [(title, content, level)] = keeping.sent
    assert (title, level) == ("digits: training finished", "info")
    assert "best accuracy: 0.95" in content


def test_an_exception_is_told_and_raised_again(folder: Path, keeping: Keeping) -> None:
    """The very exception reaches the caller; message and report have its class, its place and no secret."""
    error = ValueError("bad value, password=hunter2hunter2")

    def train() -> None:
        raise error

    monitor = TrainingMonitor(notifiers=[keeping])
    with pytest.raises(ValueError, match="bad value") as caught:
        monitor.start_monitoring("digits", train)
    assert caught.value is error
    assert monitor.metrics["status"] == "failed"
    assert not monitor.monitoring
    [(title, content, level)] = keeping.sent
    assert (title.startswith("digits: training failed"), level) == (True, "critical")
    for text in (content, reports(folder)[0], log_of(folder)):
        assert "ValueError: bad value" in text
        assert "hunter2" not in text
    assert "test_training_monitor.py:" in content


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (asyncio.CancelledError(), "interrupted"),
        (SystemExit(0), "interrupted"),
        (SystemExit(3), "failed"),
    ],
)
def test_ctrl_c_and_an_exit_are_told_and_raised_again(keeping: Keeping, raised: BaseException, status: str) -> None:
    """What is no ordinary exception ends a training as well."""

    def train() -> None:
        raise raised

    monitor = TrainingMonitor(notifiers=[keeping])
    with pytest.raises(type(raised)):
        monitor.start_monitoring("m", train)
    assert monitor.metrics["status"] == status
    assert len(keeping.sent) == 1


def test_a_coroutine_function_is_refused_as_a_function() -> None:
    """It would be over before it began; the message says what to do."""

    async def train() -> None:
        """Train nothing."""

    with pytest.raises(UsageError, match="decorate"):
        TrainingMonitor().start_monitoring("m", train)


def test_one_monitor_watches_one_training_at_a_time() -> None:
    """A second one is refused before it starts, and the first goes on."""
    monitor = TrainingMonitor()
    monitor.start_monitoring("first")
    with pytest.raises(UsageError, match="first already"):
        monitor.start_monitoring("second", lambda: None)
    assert monitor.stop_monitoring()["model_name"] == "first"


def test_several_monitors_run_side_by_side(folder: Path) -> None:
    """Each in a thread of its own has its own report and figures."""
    gate = threading.Barrier(3)

    def train(at: int) -> dict[str, float]:
        gate.wait(WAIT_S)
        return {"final_loss": at}

    monitors = [TrainingMonitor(model_name="same") for _ in range(3)]
    threads = [
        threading.Thread(target=monitor.start_monitoring, kwargs={"training_func": train, "at": at})
        for at, monitor in enumerate(monitors)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert [monitor.metrics["final_loss"] for monitor in monitors] == [0, 1, 2]
    assert len(reports(folder)) == 3


# --- in the background


def test_the_background_ends_when_it_is_stopped(folder: Path) -> None:
    """`stop_monitoring` returns the metrics when the report is there, and does nothing a second time."""
    monitor = TrainingMonitor()
    started = monitor.start_monitoring(model_name="m")
    assert (started, monitor.monitoring) == (None, True)
    told = monitor.stop_monitoring({"loss": [2.0, 1.0]})
    assert (told["status"], told["final_loss"], told["epochs"]) == ("completed", 1.0, 2)
    assert (monitor.stop_monitoring(), monitor.monitoring) == (told, False)
    assert len(reports(folder)) == 1


def test_the_background_ends_when_the_users_method_says_so(folder: Path, keeping: Keeping) -> None:
    """A model file that appears ends the watching, with a report and a message."""
    model = folder / "best.keras"
    monitor = Completed(model.exists, notifiers=[keeping])
    monitor.start_monitoring("m")
    assert monitor.monitoring
    model.touch()
    assert monitor.wait(WAIT_S)
    assert monitor.metrics["status"] == "completed"
    assert len(keeping.sent) == len(reports(folder)) == 1


def test_a_users_method_that_raises_is_asked_again(folder: Path) -> None:
    """It is logged once, and the watching goes on."""
    answers = iter([ZeroDivisionError(), ZeroDivisionError(), True])

    def answer() -> bool:
        found = next(answers)
        if isinstance(found, ZeroDivisionError):
            raise found
        return bool(found)

    monitor = Completed(answer)
    monitor.start_monitoring("m")
    assert monitor.wait(WAIT_S)
    assert log_of(folder).count("ZeroDivisionError") == 1


def test_a_users_method_may_stop_the_watching_itself() -> None:
    """`stop_monitoring` within the monitor's own thread waits for nothing."""
    monitor: Completed = Completed(lambda: bool(monitor.stop_monitoring(RESULT)))
    monitor.start_monitoring("m")
    assert monitor.wait(WAIT_S)
    assert monitor.metrics["final_loss"] == 0.1


def test_the_watching_leaves_no_thread() -> None:
    """When it is over its thread is, and while it runs the thread holds up no program."""
    monitor = TrainingMonitor(model_name="m")
    monitor.start_monitoring()
    mine = [thread for thread in threading.enumerate() if thread.name == "parallel_ml-monitor-m"]
    assert [thread.daemon for thread in mine] == [True]
    monitor.stop_monitoring()
    assert not mine[0].is_alive()


# --- as a block and as a decorator


def test_a_block_is_a_training(folder: Path) -> None:
    """What the block records stands in the report of its end."""
    with TrainingMonitor(model_name="m") as monitor:
        monitor.record_result(RESULT)
        monitor.record_parameters({"epochs": 3, "lr": 0.5})
    assert (monitor.metrics["status"], monitor.metrics["final_loss"]) == ("completed", 0.1)
    assert "0.5" in reports(folder)[0]


def test_a_function_within_a_block_is_part_of_it(folder: Path) -> None:
    """`with` and `start_monitoring` together make one report."""
    with TrainingMonitor() as monitor:
        assert monitor.start_monitoring("named", lambda epochs: {"final_loss": epochs}, epochs=5) == {"final_loss": 5}
    assert monitor.metrics["model_name"] == "named"
    assert monitor.metrics["final_loss"] == 5
    assert len(reports(folder)) == 1


def test_what_a_block_raises_goes_on() -> None:
    """It is reported as failed."""
    with pytest.raises(ZeroDivisionError), TrainingMonitor() as monitor:
        _ = 1 / 0
    assert (monitor.metrics["status"], monitor.metrics["error"]) == ("failed", "ZeroDivisionError: division by zero")


def test_a_decorated_function_is_the_same_and_watched(folder: Path) -> None:
    """Name, arguments, result; each call has its report, called as the function is."""
    monitor = TrainingMonitor()

    @monitor
    def train(scale: float, *, epochs: int) -> dict[str, float]:
        """Train."""
        return {"final_loss": scale * epochs}

    assert train(0.5, epochs=4) == {"final_loss": 2.0}
    assert (train.__name__, train.__doc__) == ("train", "Train.")
    assert (monitor.metrics["model_name"], monitor.metrics["final_loss"], monitor.metrics["epochs"]) == (
        "train",
        2.0,
        4,
    )
    train(1.0, epochs=1)
    assert len(reports(folder)) == 2


def test_a_decorated_function_may_call_itself(folder: Path) -> None:
    """A call within a call is watched by a monitor of its own, and nothing is refused."""

    @TrainingMonitor(model_name="m")
    def train(depth: int) -> int:
        return depth if depth == 0 else train(depth - 1)

    assert train(2) == 0
    assert len(reports(folder)) == 3


def test_a_decorated_coroutine_is_watched_until_it_is_done(folder: Path) -> None:
    """The report is of the end of the training, not of the making of the coroutine."""
    order = []

    @TrainingMonitor(model_name="m")
    async def train() -> dict[str, float]:
        await asyncio.sleep(0)
        order.append(len(reports(folder)))
        return {"final_loss": 1.5}

    assert asyncio.run(train()) == {"final_loss": 1.5}
    assert order == [0]
    assert "1.5" in reports(folder)[0]


# --- nothing of it hurts the training


def test_a_report_generator_may_be_replaced(folder: Path) -> None:
    """A function of the metrics that returns a text has it saved as the report."""
    monitor = TrainingMonitor(report_generator=lambda metrics: f"# {metrics['model_name']} {metrics['final_loss']}")
    monitor.start_monitoring("m", lambda: RESULT)
    assert reports(folder) == ["# m 0.1"]


def test_a_report_generator_may_be_an_object_that_writes_its_own_file(folder: Path) -> None:
    """What `generate` returns is where the report is."""

    class Own(ReportGenerator):
        def generate(self, metrics: Any) -> list[Path]:
            path = folder / "own.txt"
            path.write_text(metrics["status"])
            return [path]

    monitor = TrainingMonitor()
    monitor.report_generator = Own()
    monitor.start_monitoring("m", lambda: RESULT)
    assert monitor.metrics["report"] == [str(folder / "own.txt")]


def test_the_built_in_report_generator_is_public(folder: Path) -> None:
    """Its folder may be set, and it may be called by hand."""
    monitor = TrainingMonitor()
    monitor.start_monitoring("m", lambda: RESULT)
    assert len(monitor.report_generator.generate(monitor.metrics)) == 2
    assert len(reports(folder)) == 2


@pytest.mark.parametrize("error", [ValueError("own"), SystemExit(1)])
def test_a_report_generator_that_raises_has_the_built_in_one_in_its_place(folder: Path, error: BaseException) -> None:
    """The training's result is returned, and there is a report."""

    def generate(_metrics: Any) -> None:
        raise error

    assert TrainingMonitor(report_generator=generate).start_monitoring("m", lambda: RESULT) is RESULT
    assert "training report" in reports(folder)[0]
    assert type(error).__name__ in log_of(folder)


def test_a_notifier_that_raises_is_logged_without_its_words(folder: Path) -> None:
    """Its exception may hold a URL with a token; the class is enough."""

    class Broken:
        def send(self, *_message: str, **_more: str) -> None:
            raise OSError("https://host/?token=abcdef123456")

    assert TrainingMonitor(notifiers=[Broken()]).start_monitoring("m", lambda: RESULT) is RESULT  # type: ignore[list-item]
    assert "Broken: sending failed (OSError)" in log_of(folder)
    assert "abcdef" not in log_of(folder)


def test_where_nothing_can_be_written_the_training_runs_all_the_same(folder: Path) -> None:
    """A report folder and a log that cannot be made cost the report and the log, nothing else."""
    (folder / "file").touch()
    monitor = TrainingMonitor(report_dir="file/reports", log_file="file/log")
    assert monitor.start_monitoring("m", lambda: RESULT) is RESULT
    assert monitor.metrics["status"] == "completed"


def test_a_result_that_cannot_be_read_is_returned_all_the_same(folder: Path) -> None:
    """An odd mapping raises while it is read; the caller gets it."""

    class Odd(dict[str, float]):
        def items(self) -> Any:
            raise RuntimeError

    odd = Odd(a=1.0)
    assert TrainingMonitor().start_monitoring("m", lambda: odd) is odd
    assert "cannot be read (RuntimeError)" in log_of(folder)


@pytest.mark.parametrize("name", [7, "", "模型" * 200, "a\0b\nc", "\ud800", "../.."], ids=ascii)
def test_any_name_of_a_model_has_its_report(folder: Path, name: Any) -> None:
    """Whatever a model is called, its training has a report in the folder."""
    assert TrainingMonitor().start_monitoring(name, lambda **_: RESULT, huge=10**5000) is RESULT
    assert len(reports(folder)) == 1


def test_calls_of_a_decorated_function_in_several_threads_are_all_watched(folder: Path) -> None:
    """None is refused, and each has its report."""
    gate = threading.Barrier(4)

    @TrainingMonitor(model_name="m")
    def train() -> None:
        gate.wait(WAIT_S)

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len(reports(folder)) == 4


def test_a_training_that_changes_its_folder_has_its_report_where_it_began(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports and log do not move with the training."""
    (folder / "elsewhere").mkdir()
    TrainingMonitor().start_monitoring("m", lambda: monkeypatch.chdir(folder / "elsewhere"))
    assert len(reports(folder)) == 1


def test_an_interval_out_of_all_reason_is_refused() -> None:
    """A monitor that would never wait is a mistake."""
    with pytest.raises(UsageError, match="check_interval"):
        TrainingMonitor(check_interval=0)


def test_a_config_that_was_named_and_is_not_there_is_refused_at_once() -> None:
    """Better than after hours."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        TrainingMonitor(config="nowhere.yaml")


def test_the_place_of_a_failure_is_in_the_users_own_code() -> None:
    """Of a traceback that ends within a library, the last line of the user's is named."""
    try:
        int("x", base=99)
        pytest.fail("it must raise")
    except ValueError as error:
        found = failure_of(error, Scrubber())
    assert "test_training_monitor.py:" in found.place
    assert found.lines[-1].startswith("ValueError: ")
    assert len(found.lines) <= 15


# --- real processes


def run_script(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a script in the test's folder."""
    script = folder / "script.py"
    script.write_text(f"from parallel_ml.training_monitor import TrainingMonitor\n{code}")
    return subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.process
def test_a_program_that_dies_of_an_exception_in_the_background_is_reported_as_failed(folder: Path) -> None:
    """The exit code and the traceback are Python's, and the report has the exception."""
    done = run_script(folder, "TrainingMonitor().start_monitoring('m')\nraise ValueError('no such thing')\n")
    assert (done.returncode, "ValueError: no such thing" in done.stderr) == (1, True)
    assert "ValueError: no such thing" in reports(folder)[0]


@pytest.mark.process
def test_a_program_that_ends_without_a_word_is_reported_as_interrupted(folder: Path) -> None:
    """Nobody said that the training was over; the program ends with its own code, at once."""
    done = run_script(folder, "TrainingMonitor(check_interval=600).start_monitoring('m')\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the program ended before stop\\_monitoring()" in reports(folder)[0]


@pytest.mark.process
def test_ctrl_c_is_reported_and_ends_the_program_as_ever(folder: Path) -> None:
    """A real SIGINT: the report is written, and the program ends by the signal."""
    code = "import os, signal\n"
    code += "TrainingMonitor().start_monitoring('m', lambda: os.kill(os.getpid(), signal.SIGINT) or input())\n"
    done = run_script(folder, code)
    assert done.returncode == -2
    assert "interrupted" in reports(folder)[0]


TERM = "import os, signal, sys\nterm = lambda: os.kill(os.getpid(), signal.SIGTERM) or sys.stdin.read()\n"


@pytest.mark.process
@pytest.mark.parametrize(
    "code", ["TrainingMonitor().start_monitoring('m', term)\n", "TrainingMonitor().start_monitoring('m')\nterm()\n"]
)
def test_sigterm_is_reported_and_ends_the_program_by_it(folder: Path, code: str) -> None:
    """A machine that is shut down: the report is written and what the program cleans up is done, then it dies of it."""
    done = run_script(folder, f"{TERM}import atexit\natexit.register(print, 'cleaned up')\n{code}")
    assert (done.returncode, done.stdout) == (-15, "cleaned up\n")
    assert "the program was asked to end (SIGTERM)" in reports(folder)[0]
    assert "interrupted" in reports(folder)[0]


@pytest.mark.process
def test_a_handler_of_the_program_for_sigterm_stays(folder: Path) -> None:
    """Neither is it replaced, nor is the default handler when the watching is over."""
    code = "import signal\nseen = []\nsignal.signal(signal.SIGTERM, lambda *_: seen.append(1))\n"
    code += "TrainingMonitor().start_monitoring('m', lambda: signal.raise_signal(signal.SIGTERM))\nprint(seen)\n"
    code += "signal.signal(signal.SIGTERM, signal.SIG_DFL)\nTrainingMonitor().start_monitoring('m', lambda: 1)\n"
    code += "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
    done = run_script(folder, code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1]\nTrue\n", "")


@pytest.mark.process
def test_a_fork_of_the_training_reports_nothing(folder: Path) -> None:
    """A child that leaves through the same code is not the training."""
    code = "import os\nTrainingMonitor().start_monitoring('m', lambda: os.fork() and os.wait())\n"
    run_script(folder, code)
    assert len(reports(folder)) == 1
