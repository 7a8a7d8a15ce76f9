"""`python -m parallel_ml.training RESOLVED_YAML`: the built-in training, in a process of its own.

Exit codes: 0 the training came to its end, 1 it failed, 2 bad usage, 75 (EX_TEMPFAIL) it was stopped and can go on.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from parallel_ml.training.console import complain, start_log
from parallel_ml.training.devices import configure, load_framework
from parallel_ml.training.failures import Diverged, Place, Released, TrainingError, memory_outcome
from parallel_ml.training.reporting import declare_end
from parallel_ml.training.settings import read_settings
from parallel_ml.training.stopping import StopRequest

EXIT_RELEASED = 75
_LONGEST_TEXT = 500


def main(arguments: list[str]) -> int:
    """Train as a resolved configuration says; return the exit code."""
    if len(arguments) != 1:
        complain("usage: python -m parallel_ml.training RESOLVED_YAML")
        return 2
    stop, place = StopRequest(), Place()
    stop.listen()
    try:
        outcome = _train(Path(arguments[0]), stop, place)
    except Released:
        declare_end("released", place=place.name)
        return EXIT_RELEASED
    except Exception as error:  # noqa: BLE001 - the last place that can say how a training failed
        return _fail(error, place)
    declare_end(outcome, place=place.name)
    return 0


def _train(path: Path, stop: StopRequest, place: Place) -> str:
    settings = read_settings(path)
    start_log(settings.log_level)
    load_framework(settings.process.cpus)
    stop.check()
    configure(settings.process, mixed_precision=settings.model.mixed_precision)
    from parallel_ml.training.pipeline import Pipeline  # noqa: PLC0415 - it imports the framework

    return Pipeline(settings, stop, place).run()


def _fail(error: Exception, place: Place) -> int:
    """Say how the training failed: a line for what could be foreseen, the whole trace for what could not."""
    memory = memory_outcome(error)
    text = " ".join(str(error).split())[:_LONGEST_TEXT]
    if memory is not None:
        text = f"out of memory: {text}"
    elif not isinstance(error, TrainingError) and getattr(error, "errno", None) is None:
        traceback.print_exception(type(error), error, error.__traceback__)
        text = f"{type(error).__name__}: {text}"
    complain(f"error: {text}")
    outcome = memory or ("diverged" if isinstance(error, Diverged) else "error")
    declare_end(outcome, text, place.name)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
