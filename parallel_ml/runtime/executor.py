"""ParallelMLExecutor: several configurations, run side by side, from Python. The command line is thin over it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from parallel_ml.config.alerts import AlertSettings, load_alerts
from parallel_ml.config.manager import ConfigManager, load_snapshot
from parallel_ml.core.alert_rules import AlertRule
from parallel_ml.core.model import ProcessId
from parallel_ml.core.status import JobResult, RunStatus
from parallel_ml.errors import BackendError, ConfigError, UsageError
from parallel_ml.gpu.leases import Leases
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.monitor.history import job_result
from parallel_ml.monitor.process_monitor import EventKind, MonitorEvent, ProcessMonitor
from parallel_ml.notify.settings import NotificationSettings
from parallel_ml.runtime.grants import Grants
from parallel_ml.runtime.local import LocalBackend
from parallel_ml.runtime.log import open_log
from parallel_ml.runtime.messages import Messenger, settings_of
from parallel_ml.runtime.plan import plan_run
from parallel_ml.runtime.prepare import AttemptPreparer
from parallel_ml.runtime.run_report import write_at_end
from parallel_ml.runtime.supervisor import Supervisor
from parallel_ml.store.files import read_json, read_whole
from parallel_ml.store.identity import identify
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.orders import Order, OrderKind, new_order, pending_orders
from parallel_ml.store.run_store import RunStore
from parallel_ml.store.run_view import RunView
from parallel_ml.store.runs import run_layouts, runs_folder

DETACH_PATIENCE_S = 20.0
_END_S = 5.0
_SAY_AFTER_S = 1.5
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class ParallelMLExecutor:
    """Runs several configurations side by side and returns one result for each.

    >>> executor = ParallelMLExecutor(["config/config1.yaml", "config/config2.yaml"])  # doctest: +SKIP
    >>> results = executor.run_parallel()                                              # doctest: +SKIP
    >>> results[0].state, results[0].metrics["test_accuracy"]                          # doctest: +SKIP
    ('completed', 0.98)

    It works in a script, in a thread and in a notebook; `get_status` and `stop_execution` may be called from another
    thread or a callback meanwhile. Should this process die, the trainings go on, and `resume` takes them over.
    """

    def __init__(  # noqa: PLR0913 - what can be said of a run
        self,
        configs: str | Path | Sequence[str | Path] | None = None,
        *,
        runs_dir: str | Path | None = None,
        name: str | None = None,
        max_parallel: int | None = None,
        gpus: str | GPUManager | None = None,
        cwd: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        snapshot: bool = True,
        notify: str | Path | None = None,
        alerts: str | Path | None = None,
        warm: bool | float = True,
    ) -> None:
        """Read and check the configurations; nothing is written or started yet.

        Args:
            configs: YAML files, folders of them, or globs; None is `config/config.yaml`.
            runs_dir: Where runs live; None is `$PARALLEL_ML_RUNS`, else `./runs`.
            name: A name for the run, by which commands find it.
            max_parallel: The most jobs at once, at least 1; None is as many as there is room for.
            gpus: A GPUManager, or a word for one such as `sim:2x16GiB`; None is what this machine has.
            cwd: The folder that relative paths are meant from; None is the current one.
            environ: The environment of the jobs; None is this process's own.
            snapshot: Whether jobs run the user's code as it is now; else as it is when each starts.
            notify: A file with the settings for messages, in place of those of the configurations.
            alerts: A file with alert rules for all jobs, beside those of the configurations.
            warm: Whether jobs are forked from a process that has imported TensorFlow, say, already; a number is how
                long that one is kept for the next run, in seconds.

        Raises:
            ConfigError: Everything that is wrong in any of the configurations.
            UsageError: An argument makes no sense.
        """
        if max_parallel is not None and max_parallel < 1:
            raise UsageError(f"max_parallel {max_parallel} is too small", "give 1 or more")
        check_name(name)
        self._cwd = Path(cwd or Path.cwd()).resolve()
        self._environ = dict(os.environ if environ is None else environ)
        self._name, self._max_parallel, self._snapshot = name, max_parallel, snapshot
        self._notify = None if notify is None else self._cwd / Path(notify).expanduser()
        self._alerts = None if alerts is None else self._cwd / Path(alerts).expanduser()
        self._folder = runs_folder(runs_dir, self._environ, self._cwd)
        self._gpus = gpus if isinstance(gpus, GPUManager) else GPUManager.from_spec(gpus or "auto")
        self._configs: ConfigManager | None = ConfigManager(configs, cwd=self._cwd, environ=self._environ)
        self._layout: RunLayout | None = None
        self._supervisor: Supervisor | None = None
        self._callbacks: list[tuple[Callable[[MonitorEvent], None], EventKind | None]] = []
        self._stop_asked, self._warm = False, warm

    @classmethod
    def resume(cls, run_dir: str | Path, *, environ: Mapping[str, str] | None = None) -> ParallelMLExecutor:
        """Return an executor that takes over an unfinished run whose supervisor is gone.

        Raises:
            StoreError: There is no run, or it cannot be read.
            UsageError: It is finished and nobody asked for more, or a supervisor drives it.
        """
        view = RunView(RunLayout(Path(run_dir).resolve()))
        if _at_rest(view):
            raise UsageError(f"run {view.state.run_id} is {view.state.word}: there is nothing to go on with")
        if view.supervised:
            raise UsageError(f"a supervisor drives run {view.state.run_id} already")
        self = cls.__new__(cls)
        self._cwd = Path(view.plan.get("cwd", ".")).resolve()
        self._environ = dict(os.environ if environ is None else environ)
        self._name, self._max_parallel = view.state.name, view.state.max_parallel
        self._folder = runs_folder(view.layout.dir.parent, self._environ, self._cwd)
        self._gpus = GPUManager.from_spec(view.plan.get("gpus") or "auto")
        self._configs, self._layout, self._supervisor = None, view.layout, None
        self._callbacks, self._stop_asked = [], False
        return self

    def subscribe(self, callback: Callable[[MonitorEvent], None], kind: EventKind | str | None = None) -> None:
        """Call `callback` for each event of the run (of one kind, or of all), in the thread that runs it.

        Raises:
            UsageError: There is no such kind.
        """
        kinds = [known.value for known in EventKind]
        if kind is not None and kind not in kinds:
            raise UsageError(f"there are no events of the kind {kind!r}", f"the kinds: {', '.join(kinds)}")
        self._callbacks.append((callback, None if kind is None else EventKind(kind)))

    def prepare(self) -> RunStatus:
        """Check that the run can go and make its directory; nothing is started. `run_parallel` does it by itself.

        Raises:
            ConfigError: Data, folders or programs that the configurations name are not there.
            PlacementError: A job can never fit on this machine.
            StoreError: The run's directory could not be made.
        """
        self._plan_once()
        return self.get_status()

    def _plan_once(self) -> None:
        """Make the run's directory, unless it is there."""
        if self._layout is None and self._configs is not None:
            self._layout, _ = plan_run(
                self._configs,
                self._gpus,
                self._folder,
                name=self._name,
                max_parallel=self._max_parallel,
                cwd=self._cwd,
                environ=self._environ,
                snapshot=self._snapshot,
                notify=self._notify,
                alerts=self._alerts,
                warm=self._warm,
            )

    def run_parallel(self) -> list[JobResult]:
        """Run everything to its end and return a result for each configuration, in the order given.

        A job that fails does not raise: its result says so. Ctrl-C (in the main thread) stops the jobs gracefully and
        then raises KeyboardInterrupt; a second one kills them.

        Raises:
            ConfigError, PlacementError, StoreError: As `prepare`; nothing was started.
            RunLocked: Another process drives this run.
            KeyboardInterrupt: After Ctrl-C, when nothing runs any more.
            SystemExit: After SIGTERM (in the main thread); the trainings go on, and `resume` takes them over.
        """
        self._plan_once()
        if not _at_rest(RunView(self._prepared())):
            self._drive()
        return self.results()

    def carry_out(self, order: Order) -> None:
        """Stop or pause what `order` names in a run whose supervisor is gone, start nothing, and leave then.

        Raises:
            RunLocked: Another process drives this run by now.
            KeyboardInterrupt: After Ctrl-C.
        """
        self._drive(order)

    def _drive(self, only: Order | None = None) -> None:
        """Take the run's lock and drive it to its end."""
        store = RunStore(self._prepared())
        try:
            signals = self._supervise(store, only)
        finally:
            store.close()
        if store.state.finished:
            write_at_end(store.layout, self._environ)
        if signal.SIGTERM in signals and not store.state.finished:
            raise SystemExit(128 + signal.SIGTERM)
        if signal.SIGINT in signals:
            raise KeyboardInterrupt

    def _supervise(self, store: RunStore, only: Order | None) -> list[int]:
        """Drive the run; return the signals that came."""
        layout = self._prepared()
        monitor = ProcessMonitor(layout.dir, keep_history=True)
        for callback, kind in self._callbacks:
            monitor.subscribe(callback, kind)
        plan = read_json(layout.plan) or {}

        def tell(kind: EventKind, **data: object) -> None:
            monitor.emit(MonitorEvent(kind, None, data))

        def note(text: str) -> None:
            tell(EventKind.NOTE, text=text)

        backend = LocalBackend(layout.log, note, warm=plan.get("warm", True), orders=layout.orders)
        preparer = AttemptPreparer(layout, plan, self._gpus, self._environ)
        with contextlib.ExitStack() as stack:
            stack.callback(backend.close)
            log = stack.enter_context(open_log(layout.log))
            grants = Grants(self._gpus, Leases(layout.dir.name), layout, _me())
            supervisor = Supervisor(store, grants, backend, preparer, monitor, log, self._rules)
            messenger = self._messenger(plan, monitor, log)
            stack.callback(_send_last, messenger, monitor)  # when Ctrl-C stops no jobs any more
            pressed = stack.enter_context(_signals(supervisor))
            monitor.subscribe(lambda event: log.warning("note", text=event.data["text"]), EventKind.NOTE)
            self._supervisor = supervisor
            stack.callback(setattr, self, "_supervisor", None)
            if self._stop_asked:
                self.stop_execution()
            tell(EventKind.RUN_STARTED, run=layout.dir.name, dir=str(layout.dir), state=store.state.word)
            for text in plan.get("notes", ()):
                note(text)
            messenger.send_older(run_layouts(self._folder, self._environ))
            supervisor.drive(only)
            tell(EventKind.RUN_ENDED, run=layout.dir.name, dir=str(layout.dir), state=store.state.word)
        return pressed

    def _messenger(self, plan: Mapping[str, Any], monitor: ProcessMonitor, log: Any) -> Messenger:
        """Return what sends the run's messages; settings that have become wrong since it was planned are logged."""
        try:
            settings = settings_of(plan.get("notify") or {}, self._cwd, self._environ)
        except ConfigError as error:
            log.warning("no messages", error=str(error))
            settings = NotificationSettings()
        return Messenger(self._prepared(), settings, monitor, lambda text: log.warning("messages", text=text))

    def _rules(self, job: str) -> tuple[AlertRule, ...]:
        """Return the alert rules of a job: its own, and over them those of the whole run."""
        layout = self._prepared()
        rules = AlertSettings()
        with contextlib.suppress(OSError, ConfigError):  # a variable may be unset by now: the built-in rules hold
            text = read_whole(layout.job(job).source).decode("utf-8")
            rules = load_snapshot(text, source=job, cwd=self._cwd, environ=self._environ).alerts
        if layout.alert_rules.exists():
            with contextlib.suppress(ConfigError):
                rules = load_alerts(layout.alert_rules, self._environ).over(rules)
        return rules.effective()

    def results(self) -> list[JobResult]:
        """Return what has become of each configuration so far, in the order given."""
        return [job_result(job) for job in self.get_status().jobs]

    def detach(self) -> RunStatus:
        """Hand the run to a supervisor of its own session, which goes on when this process ends.

        Raises:
            ConfigError, PlacementError, StoreError: As `prepare`; nothing was started.
            BackendError: The supervisor did not come up.
        """
        self.prepare()
        layout = self._prepared()
        argv = [sys.executable, "-m", "parallel_ml", "resume", str(layout.dir), "--json", "--take-over"]
        with layout.log.open("ab") as log:
            child = subprocess.Popen(
                argv,
                env=self._environ,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        view = RunView(layout)
        give_up_at = time.monotonic() + DETACH_PATIENCE_S
        while not (view.supervised or _at_rest(view)):
            too_late = child.poll() is not None or time.monotonic() > give_up_at
            time.sleep(0.02)
            view.refresh()
            if too_late and not (view.supervised or _at_rest(view)):
                _end(child)  # it must not drive what the user believes not to be driven
                raise BackendError("handing the run over", f"its supervisor did not start; see {layout.log}")
        threading.Thread(target=child.wait, daemon=True).start()  # should it end before us, it leaves no zombie
        return view.status()

    def get_status(self) -> RunStatus:
        """Return the run as it stands, read from its files; may be called from any thread.

        Raises:
            UsageError: The run has not been prepared.
        """
        return RunView(self._prepared()).status()

    def stop_execution(self) -> None:
        """Ask every job to stop, gracefully first; `run_parallel` returns when nothing runs. From any thread."""
        self._stop_asked = True
        supervisor = self._supervisor
        if supervisor is not None:
            supervisor.submit(new_order(OrderKind.STOP))

    def _prepared(self) -> RunLayout:
        if self._layout is None:
            raise UsageError("the run has not been started", "call run_parallel() or prepare() first")
        return self._layout


def check_name(name: str | None) -> None:
    """Refuse what cannot be the name of a run.

    Raises:
        UsageError: It cannot.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a run", "use letters, digits, '.', '_' and '-', at most 100")


@contextlib.contextmanager
def _signals(supervisor: Supervisor) -> Iterator[list[int]]:
    """Turn signals into orders for as long as the block runs, and yield the list of those that came.

    Ctrl-C stops the jobs, again kills them. TERM, which a machine that is shut down sends to everything, lets the
    supervisor leave: the jobs are not stopped for good, and can be taken over.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def on_signal(number: int, _frame: Any) -> None:
        came.append(number)
        if number == signal.SIGTERM:
            supervisor.leave("SIGTERM")
        else:
            supervisor.submit(new_order(OrderKind.STOP, at_once=came.count(number) > 1))

    before = {signal.SIGINT: signal.signal(signal.SIGINT, on_signal)}
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # a program's own handler stays
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send_last(messenger: Messenger, monitor: ProcessMonitor) -> None:
    """Give the run's messages their last seconds. Ctrl-C ends the wait: what is left stays on disk."""
    told = "sending the last messages, for at most 15 s; Ctrl-C leaves them to: notify flush"
    late = threading.Timer(_SAY_AFTER_S, monitor.emit, [MonitorEvent(EventKind.NOTE, None, {"text": told})])
    late.daemon = True
    late.start()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            messenger.close()
    finally:
        late.cancel()


def _at_rest(view: RunView) -> bool:
    """Return whether nothing is left to do: every job has finished, and no order, a retry say, waits."""
    return view.state.finished and not pending_orders(view.layout)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _me() -> ProcessId:
    me = identify()
    if me is None:
        raise BackendError("looking at /proc", "it does not know this process; is it mounted?")
    return me
