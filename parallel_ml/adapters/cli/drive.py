"""Driving an executor to its end with a display: what `run` and `resume` share."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from parallel_ml.adapters.cli import failures, screen
from parallel_ml.adapters.cli.arguments import program
from parallel_ml.adapters.cli.lines import event_line
from parallel_ml.adapters.cli.summary import summary_lines
from parallel_ml.adapters.cli.text import safe
from parallel_ml.errors import RunLocked, StoreError
from parallel_ml.runtime.client import RunClient

if TYPE_CHECKING:
    from parallel_ml.core.status import RunStatus
    from parallel_ml.monitor.process_monitor import MonitorEvent
    from parallel_ml.runtime.executor import ParallelMLExecutor

SUCCEEDED, JOB_FAILED, STOPPED, INTERRUPTED = 0, 1, 3, 130


def drive(executor: ParallelMLExecutor, *, as_json: bool, detach: bool) -> int:
    """Run everything to its end, show how it goes, and return the exit code.

    Raises:
        ConfigError, PlacementError, StoreError: Nothing was started.
    """
    if detach:
        _announce(executor.detach(), as_json=as_json)
        return SUCCEEDED
    executor.prepare()
    output = screen.Screen()
    interrupted = False
    with _deaf_to_hangups():
        try:
            with contextlib.nullcontext() if as_json else _display(executor, output):
                executor.run_parallel()
        except KeyboardInterrupt:
            interrupted = True
        except RunLocked:
            raise
        except StoreError as error:
            failures.report(error)
            return JOB_FAILED
        status = executor.get_status()
        if as_json:
            output.line(screen.as_json(status.to_dict()))
    return INTERRUPTED if interrupted else exit_code(job.state for job in status.jobs)


def exit_code(states: Iterable[str]) -> int:
    """Return the exit code of a run whose jobs ended so."""
    found = set(states)
    if found <= {"completed"}:
        return SUCCEEDED
    return STOPPED if found <= {"completed", "stopped"} else JOB_FAILED


@contextlib.contextmanager
def _display(executor: ParallelMLExecutor, output: screen.Screen) -> Iterator[None]:
    """Show the run's progress for as long as the block runs, and what came of it after that, Ctrl-C or not."""
    if screen.is_terminal(output.stream):
        from parallel_ml.adapters.cli.live import LiveDisplay  # noqa: PLC0415 - rich is for terminals

        display = LiveDisplay(RunClient(executor.get_status().dir), output)
        executor.subscribe(display.tell)
        progress: contextlib.AbstractContextManager[None] = display.shown()
        finish: Callable[[list[str]], None] = display.finish
    else:
        executor.subscribe(lambda event: _say(event, output))
        progress = contextlib.nullcontext()
        finish = output.lines
    try:
        with progress:
            yield
    except KeyboardInterrupt:
        finish(_end(executor, output))
        raise
    finish(_end(executor, output))


def _say(event: MonitorEvent, output: screen.Screen) -> None:
    if (line := event_line(event)) is not None:
        output.line(line)


def _end(executor: ParallelMLExecutor, output: screen.Screen) -> list[str]:
    width = None if output.gone else screen.width(output.stream)
    return summary_lines(executor.get_status(), executor.results(), width)


def _announce(status: RunStatus, *, as_json: bool) -> None:
    if as_json:
        screen.print_json(status.to_dict())
        return
    run = safe(status.run)
    print(f"run {run} goes on in the background, in {safe(status.dir)}")
    print(f"see how it stands: {program()} status {run}; end it: {program()} stop {run}")


@contextlib.contextmanager
def _deaf_to_hangups() -> Iterator[None]:
    """Go on when the terminal goes away. A handler, as jobs would inherit that a signal is ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
