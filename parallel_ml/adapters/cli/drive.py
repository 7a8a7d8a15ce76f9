"""Driving an executor to its end with a display: what `run` and `resume` share."""

from __future__ import annotations

import contextlib
import errno
import functools
import signal
import sys
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

SUCCEEDED, JOB_FAILED, STOPPED, INTERRUPTED, TERMINATED = 0, 1, 3, 130, 143
_SHOWN = ("run_started", "job_state", "epoch", "out_of_memory", "alert", "note", "run_ended")
"""All but the lines of the logs: a job may print a hundred thousand of them a second."""
_READER_LEFT = (errno.EPIPE, errno.EIO)
"""What writing fails with where a pipe's reader, or the terminal, has gone: nobody is left to be told."""


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
    cut_short = None
    with _deaf_to_hangups():
        try:
            with contextlib.nullcontext() if as_json else _display(executor, output):
                executor.run_parallel()
        except KeyboardInterrupt:
            cut_short = INTERRUPTED
        except SystemExit:  # by SIGTERM
            cut_short = TERMINATED
            _say_that_it_goes_on(executor)
        except RunLocked:
            raise
        except StoreError as error:
            failures.report(error)
            return JOB_FAILED
        status = executor.get_status()
        if as_json:
            output.line(screen.as_json(status.to_dict()))
    code = cut_short or exit_code(job.state for job in status.jobs)
    return _unwritten(output, code) if as_json else code


def _say_that_it_goes_on(executor: ParallelMLExecutor) -> None:
    run, name = safe(executor.get_status().run), program()
    told = f"{name} resume {run} takes them over, {name} stop {run} stops them"
    print(f"ended by SIGTERM; the trainings go on: {told}", file=sys.stderr)


def _unwritten(output: screen.Screen, code: int) -> int:
    """Return the exit code of a run; JSON that could not be written is said, and is no success."""
    if output.failure is None or output.failure.errno in _READER_LEFT:
        return code
    print(f"{failures.NAME}: the output could not be written: {output.failure.strerror}", file=sys.stderr)
    return code or JOB_FAILED


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
        from parallel_ml.adapters.cli.live import LiveDisplay  # noqa: PLC0415 - only for terminals

        display = LiveDisplay(RunClient(executor.get_status().dir), output)
        told: Callable[[MonitorEvent], None] = display.tell
        progress: contextlib.AbstractContextManager[None] = display.shown()
        finish: Callable[[list[str]], None] = display.finish
    else:
        told = functools.partial(_say, output=output)
        progress = contextlib.nullcontext()
        finish = output.lines
    for kind in _SHOWN:
        executor.subscribe(told, kind)
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
