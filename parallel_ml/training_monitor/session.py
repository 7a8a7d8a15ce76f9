"""One training that is watched, from its start to its end."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parallel_ml.notify.scrub import Scrubber
from parallel_ml.notify.words import cause_of
from parallel_ml.training_monitor.failure import Failure, failure_of
from parallel_ml.training_monitor.log import local_now
from parallel_ml.training_monitor.resources import ResourceSampler

if TYPE_CHECKING:
    from parallel_ml.training_monitor.telling import Opened

_SECONDS_PER_HOUR = 3600
_LONGEST_PARAMETER = 120
_MOST_PARAMETERS = 50
_NO_CAUSE = {"cause": "", "advice": ""}


class Session:
    """The state of one watching.

    Attributes:
        kind: `function`, `block` or `background`.
        places: Where its report, its log and its messages go.
        key: Names it among all.
        owner: The process in which it was begun.
        stop: Set when sampling is to end.
        over: Set when all is told.
        earlier_error: What Python remembered as the last uncaught exception before the start.
        note: What is told of an end that nothing was raised for.
        listens: Whether it listens for SIGTERM.
    """

    def __init__(self, kind: str, places: Opened, pid: int) -> None:
        """Begin."""
        self.kind, self.places, self.notes = kind, places, places.notes
        now = local_now()
        self.start_time = now.isoformat(timespec="seconds")
        self.key = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        self.owner = os.getpid()
        self.stop, self.over = threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None
        self.earlier_error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        self.note = ""
        self.told_of_override = self.listens = False
        self._began, self._ended = time.monotonic(), 0.0
        self._sampler = ResourceSampler(pid)
        self._sampling = threading.Lock()
        self._gives_up = False
        self._claimed = threading.Lock()

    def claim(self) -> bool:
        """Return whether the caller is the one who ends this; once only."""
        if not self._claimed.acquire(blocking=False):
            return False
        self._ended = time.monotonic()
        return True

    def sampled(self, *, last: bool = False) -> dict[str, float | None]:
        """Take a sample and return means and peaks so far, and the hours since the start.

        Args:
            last: It is the end: the cards are given back.
        """
        with self._sampling:
            try:
                if not self._gives_up:
                    self._sampler.take()
            except Exception as error:  # noqa: BLE001 - a figure for people must not hurt a training
                self._gives_up = True
                self.notes.problem("sampling what the training takes failed, and is given up", error)
            if last:
                self._gives_up = True
                self._sampler.close()
            # To the moment in which the training ended: what is looked at after it does not count.
            hours = ((self._ended or time.monotonic()) - self._began) / _SECONDS_PER_HOUR
            return {**self._sampler.summary(), "duration": hours}

    def ended(self, raised: BaseException | None) -> dict[str, Any]:
        """Return the metrics that tell how it ended."""
        failure = None if raised is None else failure_of(raised, self.places.courier.scrubber)
        if failure is not None and self.note:
            failure = Failure(self.note, interrupted=True)
        if failure is None:
            told: dict[str, Any] = {"status": "completed"}
        else:
            told = {
                "status": "interrupted" if failure.interrupted else "failed",
                "error": failure.error,
                "failure": _for_people(failure, self.places.courier.language),
            }
        return {**told, "end_time": local_now().isoformat(timespec="seconds")}


def empty_metrics(model_name: str) -> dict[str, Any]:
    """Return the metrics of a training of which nothing is known."""
    names = (
        *("status", "start_time", "end_time", "duration"),
        *("final_loss", "final_accuracy", "best_epoch", "best_accuracy", "epochs", "epochs_planned"),
        *("cpu_seconds", "cpu_mean_percent", "cpu_peak_percent", "memory_mean_mb", "memory_peak_mb"),
        *("gpu_memory_mean_mb", "gpu_memory_peak_mb", "gpu_utilization_mean", "gpu_utilization_peak", "gpus"),
        *("further", "parameters", "error", "failure", "report"),
    )
    return {"model_name": model_name, **dict.fromkeys(names)}


def shown_parameters(params: Mapping[str, Any]) -> dict[str, str]:
    """Return arguments as a report shows them: data and objects by their type, secrets not at all."""
    shown = {}
    scrubber = Scrubber(env={key: value for key, value in params.items() if isinstance(value, str)})
    for key, value in list(params.items())[:_MOST_PARAMETERS]:
        if isinstance(value, (str, int, float, bool, type(None))):
            text = scrubber.line(f"{key}={value}").removeprefix(f"{key}=")
        elif (
            isinstance(value, (list, tuple))
            and len(value) <= 8
            and all(isinstance(item, (int, float)) for item in value)
        ):
            text = str(value)
        else:
            text = type(value).__name__
        shown[str(key)] = text[:_LONGEST_PARAMETER]
    return shown


def _for_people(failure: Failure, language: str) -> dict[str, Any]:
    told: dict[str, Any] = {"place": failure.place, "lines": list(failure.lines), **_NO_CAUSE}
    found = failure.diagnosis
    if found is not None:
        spoken = {
            "class": found.kind.value, "words": found.kind.words, "advice": found.advice, "suspected": found.suspected,
        }  # fmt: skip
        told |= {"diagnosis": spoken, **in_language({"diagnosis": spoken}, language)}
    return told


def in_language(failure: Mapping[str, Any], language: str) -> dict[str, str]:
    """Return the cause of a failure and what to try, of `metrics["failure"]`, in a language."""
    found = failure.get("diagnosis")
    if not found:
        return dict(_NO_CAUSE)
    cause, advice = cause_of(found, language)
    return {"cause": cause, "advice": "" if found["class"] == "program" else advice}
