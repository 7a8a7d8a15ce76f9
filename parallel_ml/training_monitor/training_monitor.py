"""TrainingMonitor: times a training, samples what it takes, writes a report and sends a message when it is over."""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from parallel_ml.errors import UsageError
from parallel_ml.notify.channel import Notifier
from parallel_ml.training_monitor.figures import as_number, read_figures
from parallel_ml.training_monitor.report import ReportGenerator
from parallel_ml.training_monitor.session import Session, empty_metrics, shown_parameters
from parallel_ml.training_monitor.telling import Places, tell
from parallel_ml.training_monitor.terminating import SIGTERM, Terminated

if TYPE_CHECKING:
    from typing_extensions import Self

CHECK_INTERVAL_S = 2.0
_LONGEST_INTERVAL_S = 86400.0
_JOIN_S = 5.0
_TELL_S = 60.0
"""Longer than a report and its messages take, so that nothing waits for ever."""
_Function = TypeVar("_Function", bound=Callable[..., Any])


class TrainingMonitor:
    """Watches one training at a time; several monitors may run side by side.

    A function, a decorator, a block, or from the background::

        result = TrainingMonitor().start_monitoring(model_name="digits", training_func=train, epochs=10)

        @TrainingMonitor(model_name="digits")
        def train(epochs): ...

        with TrainingMonitor(model_name="digits") as monitor:
            monitor.record_result(model.fit(x, y, epochs=10))

        monitor = TrainingMonitor(model_name="digits")
        monitor.start_monitoring()
        model.fit(x, y)
        monitor.stop_monitoring()

    Where nothing is configured it writes a report. What fails in a report, a message, or a method that a user has
    overridden is logged, and never reaches the training. What the training raises is reported and raised again.

    SIGTERM is reported as Ctrl-C is, and ends the program then, where the training is watched from the main thread and
    the program handles SIGTERM nowhere itself; a second one ends it at once.

    Attributes:
        metrics: What is known so far: `model_name`, `status` (None, `running`, `completed`, `failed`, `interrupted`),
            `start_time` and `end_time` (ISO 8601), `duration` (hours), `final_loss`, `final_accuracy`, `best_epoch`,
            `best_accuracy`, `epochs`, the means and peaks of what the training takes, `error`, and `report` (the files
            that were written). None is not known.
        report_generator: Has `generate(metrics)`, or is a function of the metrics. It returns the files it wrote
            (a Path or several), or a text, which is saved as Markdown.
        check_interval: Seconds between two samples, and between two calls of `_is_training_completed`.
    """

    def __init__(  # noqa: PLR0913 - settings, each with its default
        self,
        *,
        model_name: str = "model",
        config: Path | str | None = None,
        notifiers: Sequence[Notifier] = (),
        check_interval: float = CHECK_INTERVAL_S,
        report_dir: Path | str = "training_reports",
        log_file: Path | str = "ml_notifier.log",
        report_generator: Any = None,
        pid: int | None = None,
    ) -> None:
        """Watch nothing yet.

        Args:
            model_name: What reports and messages call the training.
            config: A file with notification settings; without it `./notifier_config.yaml` is read when it is there.
            notifiers: Further ones, such as `DingTalkNotifier(webhook, secret)`.
            check_interval: Seconds between samples.
            report_dir: Where reports go.
            log_file: Where the monitor says what it does.
            report_generator: In the place of the built-in `ReportGenerator`.
            pid: The process that trains, where it is another one than this.

        Raises:
            ConfigError: `config` was given and is wrong.
            UsageError: An argument is out of all reason.
        """
        if not 0 < check_interval <= _LONGEST_INTERVAL_S:
            raise UsageError(f"check_interval is {check_interval}", "give a number of seconds above 0, a day at most")
        self.check_interval = check_interval
        self._built_in = ReportGenerator(report_dir)
        self.report_generator: Any = report_generator or self._built_in
        self.metrics: dict[str, Any] = empty_metrics(str(model_name))
        self._model_name, self._pid = str(model_name), pid
        self._places = Places.checked(config, Path(report_dir), Path(log_file), tuple(notifiers))
        self._lock = threading.Lock()
        self._session: Session | None = None

    @property
    def monitoring(self) -> bool:
        """Whether a training is watched now, its report and its messages included."""
        session = self._session
        return session is not None and not session.over.is_set()

    def start_monitoring(
        self,
        model_name: str | None = None,
        training_func: Callable[..., Any] | None = None,
        epochs: int | None = None,
        **params: Any,
    ) -> Any:
        """Run a training and watch it; without `training_func`, watch in the background what runs anyway.

        In the background it is watched until `stop_monitoring`, until `_is_training_completed` returns true, or until
        the program ends.

        Args:
            model_name: What reports and messages call the training.
            training_func: Called with `epochs`, if given, and `params`, in this thread.
            epochs: How many are asked for.
            **params: Further arguments of the function; they stand in the report.

        Returns:
            What the function returned; None without a function.

        Raises:
            UsageError: This monitor watches another training already, or the function is a coroutine function.
            BaseException: Whatever the function raises.
        """
        if inspect.iscoroutinefunction(training_func):
            raise UsageError(
                "training_func is a coroutine function", "decorate it with the monitor, and await it as before"
            )
        arguments = params if epochs is None else {"epochs": epochs, **params}
        session = self._session
        within = session is not None and session.kind == "block" and not session.over.is_set()
        if not within:
            session = self._begin("background" if training_func is None else "function", model_name)
        elif model_name is not None:
            self.metrics["model_name"] = str(model_name)
        self.record_parameters(arguments)
        if training_func is None:
            return None
        try:
            result = training_func(**arguments)
        except BaseException as error:
            if not within and session is not None:
                self._end(session, error)
            raise
        self.record_result(result)
        if not within and session is not None:
            self._end(session, None)
        return result

    def stop_monitoring(self, result: Any = None) -> dict[str, Any]:
        """End the watching in the background: the training is over. Returns when the report is written.

        Args:
            result: As a training function returns it (a dict, Keras's History), or None.

        Returns:
            The metrics. A training that runs as `training_func` ends by itself: nothing is done.
        """
        session = self._session
        if session is not None and session.kind != "function":
            if result is not None:
                self.record_result(result)
            self._end(session, None)
        return self.metrics

    def record_result(self, result: Any) -> None:
        """Read the figures of a result into the metrics."""
        try:
            figures, further = read_figures(result)
        except Exception as error:  # noqa: BLE001 - a foreign object may raise anything, and must not hurt the training
            self._problem("what the training returned cannot be read", error)
            return
        self.metrics.update(figures)
        if further:
            self.metrics["further"] = {**(self.metrics["further"] or {}), **further}

    def record_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Put parameters into the report; `epochs` among them is how many are asked for."""
        try:
            planned = as_number(parameters.get("epochs"))
            shown = shown_parameters({key: value for key, value in parameters.items() if key != "epochs"})
        except Exception as error:  # noqa: BLE001 - as above
            self._problem("the parameters cannot be shown", error)
            return
        if planned is not None:
            self.metrics["epochs_planned"] = int(planned) if planned.is_integer() else planned
        if shown:
            self.metrics["parameters"] = {**(self.metrics["parameters"] or {}), **shown}

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is watched any more; return whether that is so."""
        session = self._session
        return session is None or session.over.wait(timeout_s)

    def _is_training_completed(self) -> bool:
        """Return whether a training that is watched in the background is over; for users to override.

        Called from the monitor's thread every `check_interval` seconds.
        """
        return False

    # --- as a block, and as a decorator

    def __enter__(self) -> Self:
        """Watch what the block does."""
        self._begin("block", None)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, raised: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Report how the block ended; what it raised goes on."""
        if self._session is not None:
            self._end(self._session, raised)

    def __call__(self, function: _Function) -> _Function:
        """Return a function that does the same and is watched, each call of it."""
        name = self._model_name if self._model_name != "model" else getattr(function, "__name__", "model")

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def watched_coroutine(*args: Any, **kwargs: Any) -> Any:
                with self._for_a_call(name) as monitor:
                    monitor.record_parameters(kwargs)
                    result = await function(*args, **kwargs)
                    monitor.record_result(result)
                return result

            return cast("_Function", watched_coroutine)

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self._for_a_call(name) as monitor:
                monitor.record_parameters(kwargs)
                result = function(*args, **kwargs)
                monitor.record_result(result)
            return result

        return cast("_Function", watched)

    @contextlib.contextmanager
    def _for_a_call(self, model_name: str) -> Iterator[Self]:
        """Watch the block with a monitor like this one: calls may lie in each other, and in several threads.

        What it knows is seen in this one, unless that is watching already.
        """
        monitor = copy.copy(self)
        vars(monitor).update(_model_name=model_name, _lock=threading.Lock(), _session=None)
        with monitor:
            if not self.monitoring:
                vars(self).update(metrics=monitor.metrics, _session=vars(monitor)["_session"])
            yield monitor

    # --- begin, call, end

    def _begin(self, kind: str, model_name: str | None) -> Session:
        name = str(model_name or self._model_name)
        with self._lock:
            if self.monitoring:
                raise UsageError(
                    f"this monitor watches {self.metrics['model_name']} already",
                    "stop it first, or make another TrainingMonitor: several may run side by side",
                )
            session = Session(kind, self._places.opened(name), self._pid or os.getpid())
            self.metrics = {**empty_metrics(name), "status": "running", "start_time": session.start_time}
            self._session = session
        self._built_in.directory, self._built_in.language = session.places.report_dir, session.places.courier.language
        session.notes.info(f"watching began ({kind})")
        thread = threading.Thread(target=self._watch, args=(session,), name=f"parallel_ml-monitor-{name}", daemon=True)
        try:
            thread.start()
            session.thread = thread
            session.places.courier.send_left()
        except RuntimeError as error:  # no more threads are to be had
            session.notes.problem("nothing is sampled", error)
        session.listens = SIGTERM.begin()
        if kind == "background":
            atexit.register(self._at_exit)
        return session

    def _watch(self, session: Session) -> None:
        """Sample until the end; in the background, ask the user's own method whether it has come."""
        while True:
            self.metrics.update(session.sampled())
            if session.stop.wait(self.check_interval):
                return
            if session.kind == "background" and self._says_completed(session):
                self._end(session, None)
                return

    def _problem(self, text: str, error: Exception) -> None:
        if self._session is not None:
            self._session.notes.problem(text, error)

    def _says_completed(self, session: Session) -> bool:
        try:
            return bool(self._is_training_completed())
        except Exception as error:  # noqa: BLE001 - the user's own code must not end the watching
            if not session.told_of_override:
                session.notes.problem("_is_training_completed failed, and is asked again", error)
                session.told_of_override = True
            return False

    def _end(self, session: Session, raised: BaseException | None) -> None:
        """End a session once, by whichever thread comes first; the others wait until it is over."""
        if os.getpid() != session.owner:  # a fork of the training's: the monitor is its parent's
            return
        if not session.claim():
            session.over.wait(_JOIN_S if threading.current_thread() is session.thread else _TELL_S)
            return
        try:
            session.stop.set()
            self.metrics.update(session.ended(raised))
            if session.thread is not None and session.thread is not threading.current_thread():
                session.thread.join(_JOIN_S)
            self.metrics.update(session.sampled(last=True))
            if raised is None and self.metrics["epochs"] is None:
                self.metrics["epochs"] = self.metrics["epochs_planned"]
            tell(self.metrics, session, self.report_generator)
        except KeyboardInterrupt:
            session.notes.problem("Ctrl-C cut short what was to be told of a training that is over")
        except Exception as error:  # noqa: BLE001 - protects the training from its monitor
            session.notes.problem("the end of the training could not be told", error)
        finally:
            atexit.unregister(self._at_exit)
            if session.listens:
                SIGTERM.end()
            session.over.set()

    def _at_exit(self) -> None:
        """The program ends, and the training was watched in the background: by what it ended is its end."""
        session = self._session
        if session is None or session.over.is_set():
            return
        raised = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if SIGTERM.arrived:
            raised = Terminated()
        elif raised is None or raised is session.earlier_error:
            raised = SystemExit(0)
            session.note = "the program ended before stop_monitoring()"
        self._end(session, raised)
