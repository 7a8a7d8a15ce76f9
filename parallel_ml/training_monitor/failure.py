"""How a training ended that did not come to its end: what was raised, where, and what to try."""

from __future__ import annotations

import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import cast

from parallel_ml.core.diagnosis import read_output
from parallel_ml.core.outcome import Diagnosis, FailureClass
from parallel_ml.notify.scrub import Scrubber
from parallel_ml.training_monitor.terminating import Terminated

LAST_LINES = 15
_LONGEST = 500
_HERE = str(Path(__file__).parent)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


@dataclass(frozen=True)
class Failure:
    """What was raised.

    Attributes:
        error: The exception in one line, without secrets.
        place: Where in the user's own code, or "".
        lines: The end of the traceback, without secrets.
        diagnosis: What it looks like; None for an interruption.
        interrupted: Whether the user or the program itself ended the training.
    """

    error: str
    place: str = ""
    lines: tuple[str, ...] = ()
    diagnosis: Diagnosis | None = None
    interrupted: bool = False


def failure_of(raised: BaseException, scrubber: Scrubber) -> Failure:
    """Return what an exception tells. Ctrl-C, SIGTERM, and a program that leaves with code 0 are interruptions."""
    trace = _without_us(raised.__traceback__)
    text = "".join(traceback.format_exception(type(raised), raised, trace)).splitlines()
    last_words = "".join(traceback.format_exception_only(type(raised), raised)).strip().splitlines()
    if isinstance(raised, Terminated):
        last_words = [str(raised)]
    error = scrubber.line(" ".join(line.strip() for line in last_words[:3]))[:_LONGEST]
    # Ctrl-C, a task that is cancelled, a generator that is closed: none is an `Exception`.
    left = isinstance(raised, SystemExit) and not isinstance(raised, Terminated)
    interrupted = not isinstance(raised, Exception) and not (left and cast("SystemExit", raised).code)
    return Failure(
        error=error,
        place=_place(trace),
        lines=tuple(line[:_LONGEST] for line in scrubber.lines(text[-LAST_LINES:])),
        diagnosis=None if interrupted else read_output(error) or Diagnosis(FailureClass.PROGRAM, error, ""),
        interrupted=interrupted,
    )


def _without_us(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first frame on that is the user's."""
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    return trace


def _place(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if not frame.filename.startswith((*_LIBRARIES, "<frozen"))]
    if not (own or frames):
        return ""
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno} in {frame.name}"
