"""The shim's main loop: claim the attempt, start the training, carry its output, obey orders, write how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, Protocol

from parallel_ml.runtime.shim import oom, tree
from parallel_ml.runtime.shim.lines import LineSplitter
from parallel_ml.runtime.shim.link import Link
from parallel_ml.runtime.shim.log import LogWriter
from parallel_ml.runtime.shim.metrics import MetricsWriter
from parallel_ml.runtime.shim.orders import Orders
from parallel_ml.runtime.shim.output_metrics import OutputMetrics
from parallel_ml.runtime.shim.records import TICK_S, lock, write, write_once
from parallel_ml.runtime.shim.tail import Tail

LEFTOVER_GRACE_S = 2.0
"""What a job left running in the background gets this long to end after the job itself has ended."""
LEFTOVER_LOOK_S = 0.02
DRAIN_S = 5.0
"""What stands in the pipes at the end is read for this long; a stranger who holds them may never stop writing."""
MAX_ERROR_CHARACTERS = 500
PIPE_BYTES = 1 << 20
"""A job that prints much waits less often for its shim."""


class Origin(Protocol):
    """What this process was forked from: it can run a program in a fork of this process, without loading anything.

    Attributes:
        key: What has been loaded.
    """

    key: str

    def enter(self, entry: dict[str, Any], argv: list[str], env: dict[str, str]) -> NoReturn:
        """Be the program in this process, which was forked for it."""


def main(attempt_dir: str, wake: int, origin: Origin | None = None) -> int:
    """Guard one attempt to its end; return the shim's exit code.

    Args:
        attempt_dir: The attempt's folder, with `start.json` in it.
        wake: A pipe to the back end, written to when something is worth a look; it need not be read.
        origin: What this process was forked from, or None for an interpreter of its own.
    """
    os.set_inheritable(wake, False)
    os.set_blocking(wake, False)
    # The supervisor may signal who stands in `shim.json`, so from the claim on; until there are handlers they wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    if not claim(attempt_dir):
        return 0
    with open(f"{attempt_dir}/start.json", encoding="utf-8") as stream:
        plan = json.load(stream)
        return Guard(attempt_dir, plan, wake, locked=lock(stream.fileno()), origin=origin).run()


def claim(attempt_dir: str) -> bool:
    """Make this process the attempt's only shim; return False when it has one already.

    link(2) makes the claim: it fails when the name exists, also on NFS, so spawning twice runs once.
    """
    path, temporary = f"{attempt_dir}/shim.json", f"{attempt_dir}/.shim.{os.getpid()}.tmp"
    write(temporary, {"shim": tree.identity(os.getpid()), "process": None}, durable=False)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


class Guard:
    """One attempt, from start to end."""

    def __init__(
        self, attempt_dir: str, plan: dict[str, Any], wake: int, *, locked: bool, origin: Origin | None = None
    ) -> None:
        """Prepare; nothing is started yet."""
        self.locked = locked
        self.origin = origin if origin is not None and plan.get("image") == origin.key else None
        self.unproven_until: float | None = None
        self.hung = False
        self.dir, self.plan, self.wake = attempt_dir, plan, wake
        self.selector = selectors.DefaultSelector()
        self.log = LogWriter(
            plan["log"],
            plan["process_id"],
            os.getpid(),
            older=plan.get("older_log"),
            max_bytes=plan.get("log_max_bytes"),
        )
        self.flushes: list[Callable[[], None]] = []
        self.splitters: dict[str, LineSplitter] = {}
        self.metrics = MetricsWriter(plan["metrics"])
        self.output = OutputMetrics(self.metrics, wanted=plan.get("metrics_from_output", False))
        self.output_told = False
        self.orders = Orders(attempt_dir, plan, self._on_held)
        self.process: dict[str, object] | None = None
        self.identity_due: float | None = None
        self.said: dict[str, Any] = {}
        self.tail = Tail()
        self.oom_kills = oom.kills()
        self.started = time.time()

    def run(self) -> int:
        """Guard the attempt to its end."""
        self._catch_signals()
        tree.become_subreaper()
        self.socket = f"parallel-ml-{self.plan['token']}"
        Link(self.socket, self.selector, self._on_message)
        pid, failure = self._start()
        if failure is not None:
            place = failure.filename  # of a program that was copied: as the user knows it
            named = self.plan.get("program", place) if place == self.plan["argv"][0] else place
            self.log.say(f"cannot start {named}: {failure.strerror}")
            self._finish(spawn_error=f"cannot start {named}: {failure.strerror}")
            return 0
        self._tell_start(pid)
        status, usage = self._watch(pid)
        if self.hung and self.orders.asked is None:
            pid, failure = self._start()
            if failure is None:
                self._tell_start(pid)
                status, usage = self._watch(pid)
        self._finish(status=status, usage=usage)
        return 0

    def _start(self) -> tuple[int, OSError | None]:
        """Start the job: in a fork of what is loaded here where that is what it needs, else as any program."""
        outs = [self._pipe("stdout"), self._pipe("stderr")]
        env = {**os.environ, "PARALLEL_ML_SOCKET": self.socket}
        origin = None if self.hung else self.origin
        enter = None if origin is None else partial(origin.enter, self.plan["entry"], self.plan["argv"], env)
        try:
            return tree.start(self.plan["argv"], env, self.plan["cwd"], outs[0], outs[1], enter)
        finally:
            for handle in outs:
                os.close(handle)

    def _tell_start(self, pid: int) -> None:
        """Say who the job is; one that is forked from an image only when it has shown that it works."""
        self.log.pid = pid
        self.process, self.started = tree.identity(pid), time.time()
        warm = self.origin is not None and not self.hung
        self.log.say(f"attempt {self.plan['attempt']} started{' warm' if warm else ''}, pid {pid}")
        patience_s = self.plan.get("heartbeat_s") if warm else None
        self.unproven_until = None if patience_s is None else time.monotonic() + patience_s
        self._prove()

    def _prove(self) -> None:
        """Tell who the job is, once that cannot change any more."""
        if self.unproven_until is None:
            self._write_identity()
            self._nudge()

    def _give_up_warm(self) -> None:
        """End a job that was forked from an image and does not even begin; it is started anew, by itself."""
        self.unproven_until, self.hung = None, True
        self.log.say("it was started warm and does not begin: it is started anew, cold")
        tree.signal_all(signal.SIGKILL)

    def _watch(self, pid: int) -> tuple[int, Any]:
        """Serve pipes, socket and orders until the training process ends; then end what it left behind."""
        ended = os.pidfd_open(pid)
        running = True

        def on_end() -> None:
            nonlocal running
            running = False

        self.selector.register(ended, selectors.EVENT_READ, on_end)
        self.orders.obey()
        while running:
            left_s = self.orders.in_time()
            self._serve(TICK_S if left_s is None else min(TICK_S, left_s))
            self.orders.obey()
            self._tell_of_output(self.output.flush())
            for kind, splitter in self.splitters.items():
                self.log.show(kind, splitter)
            tree.reap_strays(pid)
            self.orders.overdue()
            if self.unproven_until is not None and time.monotonic() >= self.unproven_until:
                self._give_up_warm()
            if self.identity_due is not None and time.monotonic() >= self.identity_due:
                self._write_identity()
                self._nudge()
        self.selector.unregister(ended)
        _, status, usage = os.wait4(pid, 0)
        if self.unproven_until is not None:
            self.unproven_until = None
            self._prove()
        left = self._end_leftovers()
        give_up_at = time.monotonic() + DRAIN_S
        while self._serve(0.0) and time.monotonic() < give_up_at:
            pass
        for flush in self.flushes:
            flush()
        self._tell_of_output(self.output.finish())
        if left and self.orders.asked is None:
            self.log.say(f"{left} processes that the job left running were ended")
        return status, usage

    def _end_leftovers(self) -> int:
        """End what the job left running: TERM and CONT, a grace, KILL until none is left. Return how many that were.

        Where the job was asked to end its main process may only have been a shell: then the rest of the grace is for
        those who do the work. They are served meanwhile: a full pipe, or a report without answer, would hold them up.
        """
        if not tree.reap():
            return 0
        left_s = self.orders.in_time()
        grace_s = 0.0 if self.orders.killed else LEFTOVER_GRACE_S if left_s is None else left_s
        count = len(tree.descendants())
        for number in (signal.SIGTERM, signal.SIGCONT) if left_s is None else ():
            tree.signal_all(number)
        kill_at = time.monotonic() + grace_s
        give_up_at = kill_at + 10
        while tree.reap() and time.monotonic() < give_up_at:
            if time.monotonic() >= kill_at or self.orders.killed:
                tree.signal_all(signal.SIGKILL)
            self._serve(LEFTOVER_LOOK_S)
            self.orders.obey()
        return count

    def _serve(self, timeout_s: float) -> int:
        """Handle what is ready; return how much that was."""
        ready = self.selector.select(timeout_s)
        for key, _ in ready:
            key.data()
        return len(ready)

    def _pipe(self, kind: str) -> int:
        """Make a pipe whose lines go to the log; return the end to write to."""
        read, write = os.pipe()
        os.set_blocking(read, False)
        with contextlib.suppress(OSError):  # where the system grants no more, 64 KiB do
            fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        splitter = self.splitters[kind] = LineSplitter(self.log.longest_line)

        def take(lines: list[tuple[str, bool]]) -> None:
            self.tail.take(kind, lines)
            self.log.write(kind, lines)

        def on_data() -> None:
            try:
                data = os.read(read, 1 << 18)
            except BlockingIOError:
                return
            take(splitter.feed(data) if data else splitter.finish())
            self._tell_of_output(self.output.feed(kind, data))
            if not data:
                self.selector.unregister(read)
                os.close(read)

        self.flushes.append(lambda: take(splitter.finish()))  # a pipe that a stranger holds open has no end
        self.selector.register(read, selectors.EVENT_READ, on_data)
        return write

    def _on_message(self, message: dict[str, Any]) -> dict[str, Any]:
        """Take a report of the job and answer it."""
        done = True
        if message.get("type") == "epoch" and isinstance(message.get("data"), dict):
            self.output.give_way()
            done = self.metrics.write(message["data"])
            self._nudge()
        elif message.get("type") == "up" and self.unproven_until is not None:
            self.unproven_until = None
            self._prove()
        elif message.get("type") == "end":
            self.said = {key: _short(message.get(key)) for key in ("outcome", "error", "place")}
        return {"ok": done, "stop": self.orders.answer(asking=message.get("type") == "ask")}

    def _on_held(self) -> None:
        """Tell that the job is held in memory, or no longer."""
        held = self.orders.held
        self.log.say("held in memory: it cannot save and leave by itself" if held else "it goes on")
        self._write_identity()
        self._nudge()

    def _write_identity(self) -> None:
        """Write who guards the attempt; on a full disk again at a later turn, as the job must be served meanwhile."""
        told = {
            "shim": tree.identity(os.getpid()),
            "process": self.process,
            "held": self.orders.held,
            "started": self.started,
            "locked": self.locked,
            "image": None if self.origin is None else "hung" if self.hung else self.origin.key,
        }
        written = write_once(f"{self.dir}/shim.json", told, durable=False)
        self.identity_due = None if written else time.monotonic() + TICK_S

    def _catch_signals(self) -> None:
        """Turn signals into turns of the loop: TERM is an order to stop, USR1 says that there is an order."""
        read, write = os.pipe()
        for handle in (read, write):
            os.set_blocking(handle, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where the parent ignores it, no child could be waited for
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

        def on_signal() -> None:
            if signal.SIGTERM in os.read(read, 64) and self.orders.asked is None:
                self.orders.stop()

        self.selector.register(read, selectors.EVENT_READ, on_signal)

    def _tell_of_output(self, written: bool) -> None:  # noqa: FBT001
        """Tell that an epoch was found in the output, in the log the first time."""
        if written:
            if not self.output_told:
                self.log.say("the job calls no report(): its metrics are read from its output where that is clear")
            self.output_told = True
            self._nudge()

    def _nudge(self) -> None:
        """Tell the back end that something is new; it may be gone."""
        with contextlib.suppress(OSError):
            os.write(self.wake, b".")

    def _finish(self, *, status: int | None = None, usage: Any = None, spawn_error: str | None = None) -> None:
        """Write how the attempt ended; from now on nothing of it runs."""
        code = signalled = None
        if status is not None:
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
            signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            how = f"exit code {code}" if signalled is None else f"signal {signalled}"
            self.log.say(f"attempt {self.plan['attempt']} ended with {how}")
        good, killed = code == 0, oom.kills()
        if good and self.orders.asked is None:
            self._write_result()
        write(
            f"{self.dir}/exit.json",
            {
                "v": 1,
                "code": code,
                "signal": signalled,
                "spawn_error": spawn_error,
                "said": self.said.get("outcome"),
                "place": self.said.get("place"),
                "error": self.said.get("error") or self.tail.last_error,
                "asked": self.orders.asked,
                "oom_kill": killed is not None and killed > (self.oom_kills or 0),
                "tail": [] if good else self.tail.lines(),
                "started": self.started,
                "ended": time.time(),
                "max_rss_bytes": usage.ru_maxrss * 1024 if usage else None,
                "cpu_s": round(usage.ru_utime + usage.ru_stime, 3) if usage else None,
            },
        )

    def _write_result(self) -> None:
        """Make the last reported values an own program's `result.json`, unless it wrote one itself."""
        path = self.plan.get("result")
        if path and self.metrics.newest is not None and not os.path.exists(path):
            write(path, self.metrics.newest)


def _short(text: object) -> str | None:
    """Return a text that fits into an event; None for what is no text."""
    return text[:MAX_ERROR_CHARACTERS] if isinstance(text, str) else None


def from_command_line() -> None:
    """Run the shim as `python -IS -c '...' ATTEMPT_DIR WAKE_FD`."""
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
