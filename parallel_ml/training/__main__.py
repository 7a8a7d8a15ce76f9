"""`python -m parallel_ml.training RESOLVED_YAML`: the built-in training, in a process of its own.

Exit codes: 0 the training came to its end, 1 it failed, 2 bad usage, 75 (EX_TEMPFAIL) it was stopped and can go on.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from parallel_ml.training.console import complain, log, start_log
from parallel_ml.training.devices import configure, load_framework
from parallel_ml.training.failures import Diverged, Place, Released, TrainingError, memory_evidence, memory_outcome
from parallel_ml.training.reporting import declare_end, declare_up
from parallel_ml.training.settings import read_settings
from parallel_ml.training.stopping import StopRequest

if TYPE_CHECKING:
    from parallel_ml.training.settings import ProcessSettings, Settings

EXIT_RELEASED = 75
_LONGEST_TEXT = 500


def main(arguments: list[str]) -> int:
    """Train as a resolved configuration says; return the exit code."""
    if len(arguments) != 1:
        complain("usage: python -m parallel_ml.training RESOLVED_YAML")
        return 2
    stop, place = StopRequest(), Place()
    stop.listen()
    settings: Settings | None = None
    try:
        settings = read_settings(Path(arguments[0]))
        outcome = _train(settings, stop, place)
    except Released:
        declare_end("released", place=place.name)
        return EXIT_RELEASED
    except Exception as error:  # noqa: BLE001 - the last place that can say how a training failed
        return _fail(error, place, on_gpu=settings is not None and settings.process.device == "gpu")
    declare_end(outcome, place=place.name)
    return 0


def leave(code: int) -> NoReturn:
    """End the process with all that is done at an exit, but without freeing every object one by one."""
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads, as the interpreter does
        atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _train(settings: Settings, stop: StopRequest, place: Place) -> str:
    start_log(settings.log_level)
    load_framework(settings.process.cpus)
    stop.check()
    configure(_as_before(settings.process), mixed_precision=settings.model.mixed_precision)
    declare_up()
    from parallel_ml.training.pipeline import Pipeline  # noqa: PLC0415 - it imports the framework

    return Pipeline(settings, stop, place).run()


def _as_before(process: ProcessSettings) -> ProcessSettings:
    """Compute with as many threads as the attempt whose state is there: another number gives other last bits."""
    from parallel_ml.training.statefile import StateFolder  # noqa: PLC0415 - it imports numpy

    known = StateFolder(process.checkpoint_dir, 1).peek().get("circumstances") or {}
    threads = known.get("threads")
    if not isinstance(threads, int) or threads == (process.cpus or len(os.sched_getaffinity(0))):
        return process
    log.info("computing with %d threads, as before", threads)
    return replace(process, cpus=threads)


def _fail(error: Exception, place: Place, *, on_gpu: bool) -> int:
    """Say how the training failed: a line for what could be foreseen, the whole trace for what could not."""
    memory = memory_outcome(error, on_gpu=on_gpu)
    text = " ".join(str(error).split())[:_LONGEST_TEXT]
    if memory is not None:
        text = f"out of memory: {memory_evidence(error)[:_LONGEST_TEXT]}"
    elif not isinstance(error, TrainingError) and getattr(error, "errno", None) is None:
        traceback.print_exception(type(error), error, error.__traceback__)
        text = f"{type(error).__name__}: {text}"
    complain(f"error: {text}")
    outcome = memory or ("diverged" if isinstance(error, Diverged) else "error")
    declare_end(outcome, text, place.name)
    return 1


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
