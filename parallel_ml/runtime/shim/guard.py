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
from typing import Any

from parallel_ml.runtime.shim import tree
from parallel_ml.runtime.shim.lines import LineSplitter
from parallel_ml.runtime.shim.link import Link
from parallel_ml.runtime.shim.log import LogWriter
from parallel_ml.runtime.shim.metrics import MetricsWriter
from parallel_ml.runtime.shim.output_metrics import OutputMetrics

LEFTOVER_GRACE_S = 2.0
"""What a job left running in the background gets this long to end after the job itself has ended."""
DRAIN_S = 5.0
"""What stands in the pipes at the end is read for this long; a stranger who holds them may never stop writing."""
MAX_ERROR_CHARACTERS = 500
PIPE_BYTES = 1 << 20
"""A job that prints much waits less often for its shim."""
TICK_S = 1.0
"""Orders are looked for this often even when nobody nudges (a signal does not reach across hosts)."""


def main(attempt_dir: str, wake: int) -> int:
    """Guard one attempt to its end; return the shim's exit code.

    Args:
        attempt_dir: The attempt's folder, with `start.json` in it.
        wake: A pipe to the back end, written to when something is worth a look; it need not be read.
    """
    os.set_inheritable(wake, False)
    os.set_blocking(wake, False)
    if not claim(attempt_dir):
        return 0
    with open(f"{attempt_dir}/start.json", encoding="utf-8") as stream:
        plan = json.load(stream)
    return Guard(attempt_dir, plan, wake).run()


def claim(attempt_dir: str) -> bool:
    """Make this process the attempt's only shim; return False when it has one already.

    link(2) makes the claim: it fails when the name exists, also on NFS, so spawning twice runs once.
    """
    path, temporary = f"{attempt_dir}/shim.json", f"{attempt_dir}/.shim.{os.getpid()}.tmp"
    _write(temporary, {"shim": tree.identity(os.getpid()), "process": None})
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


class Guard:
    """One attempt, from start to end."""

    def __init__(self, attempt_dir: str, plan: dict[str, Any], wake: int) -> None:
        """Prepare; nothing is started yet."""
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
        self.metrics = MetricsWriter(plan["metrics"])
        self.output = OutputMetrics(self.metrics, wanted=plan.get("metrics_from_output", False))
        self.output_told = False
        self.asked: str | None = None
        self.kill_at: float | None = None
        self.order_seen = ""
        self.said: dict[str, Any] = {}
        self.last_error: str | None = None
        self.started = time.time()

    def run(self) -> int:
        """Guard the attempt to its end."""
        self._catch_signals()
        tree.become_subreaper()
        name = f"parallel-ml-{self.plan['token']}"
        Link(name, self.selector, self._on_message)
        outs = [self._pipe("stdout"), self._pipe("stderr")]
        env = {**os.environ, "PARALLEL_ML_SOCKET": name}
        pid, failure = tree.start(self.plan["argv"], env, self.plan["cwd"], *outs)
        for handle in outs:
            os.close(handle)
        if failure is not None:
            self.log.say(f"cannot start {failure.filename}: {failure.strerror}")
            self._finish(spawn_error=f"cannot start {failure.filename}: {failure.strerror}")
            return 0
        self.log.pid = pid
        process = tree.identity(pid)
        _write(f"{self.dir}/shim.json", {"shim": tree.identity(os.getpid()), "process": process})
        self.log.say(f"attempt {self.plan['attempt']} started, pid {pid}")
        self._nudge()
        status, usage = self._watch(pid)
        self._finish(status=status, usage=usage)
        return 0

    def _watch(self, pid: int) -> tuple[int, Any]:
        """Serve pipes, socket and orders until the training process ends; then end what it left behind."""
        ended = os.pidfd_open(pid)
        running = True

        def on_end() -> None:
            nonlocal running
            running = False

        self.selector.register(ended, selectors.EVENT_READ, on_end)
        self._obey()
        while running:
            self._serve(TICK_S if self.kill_at is None else max(0.0, min(TICK_S, self.kill_at - time.monotonic())))
            self._obey()
            self._tell_of_output(self.output.flush())
            tree.reap_strays(pid)
            if self.kill_at is not None and time.monotonic() >= self.kill_at:
                tree.signal_all(signal.SIGKILL)
                self.kill_at = time.monotonic() + 1.0
        self.selector.unregister(ended)
        _, status, usage = os.wait4(pid, 0)
        left = tree.end_all(0.0 if self.order_seen == "kill" else LEFTOVER_GRACE_S)
        give_up_at = time.monotonic() + DRAIN_S
        while self._serve(0.0) and time.monotonic() < give_up_at:
            pass
        for flush in self.flushes:
            flush()
        self._tell_of_output(self.output.finish())
        if left and self.asked is None:
            self.log.say(f"{left} processes that the job left running were ended")
        return status, usage

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
        splitter = LineSplitter(self.log.longest_line)

        def take(lines: list[tuple[str, bool]]) -> None:
            if kind == "stderr":
                self.last_error = next((_short(text) for text, _ in reversed(lines) if text.strip()), self.last_error)
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
        elif message.get("type") == "end":
            self.said = {key: _short(message.get(key)) for key in ("outcome", "error", "place")}
        return {"ok": done, "stop": self.asked}

    def _obey(self) -> None:
        """Carry out the newest order, once."""
        try:
            with open(f"{self.dir}/order.json", encoding="utf-8") as stream:
                command = str(json.load(stream)["command"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if command == self.order_seen:
            return
        self.order_seen = command
        if command in ("stop", "pause"):
            self._ask_to_end(command)
        elif command == "kill":
            self.asked = self.asked or "stop"
            self.kill_at = time.monotonic()
        elif command == "freeze":
            tree.signal_all(signal.SIGSTOP)
        elif command == "thaw":
            tree.signal_all(signal.SIGCONT)

    def _ask_to_end(self, command: str) -> None:
        self.asked = command
        self.kill_at = time.monotonic() + self.plan["grace_s"]
        tree.signal_all(signal.SIGTERM)
        tree.signal_all(signal.SIGCONT)  # TERM does nothing to a frozen process

    def _catch_signals(self) -> None:
        """Turn signals into turns of the loop: TERM is an order to stop, USR1 says that there is an order."""
        read, write = os.pipe()
        for handle in (read, write):
            os.set_blocking(handle, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where the parent ignores it, no child could be waited for
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

        def on_signal() -> None:
            if signal.SIGTERM in os.read(read, 64) and self.asked is None:
                self._ask_to_end("stop")

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
        said = self.said.get("outcome")
        self._write_result()
        _write(
            f"{self.dir}/exit.json",
            {
                "v": 1,
                "code": code,
                "signal": signalled,
                "spawn_error": spawn_error,
                "said": said,
                "error": self.said.get("error") or self.last_error,
                "asked": self.asked,
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
            _write(path, self.metrics.newest)


def _short(text: object) -> str | None:
    """Return a text that fits into an event; None for what is no text."""
    return text[:MAX_ERROR_CHARACTERS] if isinstance(text, str) else None


def _write(path: str, value: dict[str, Any]) -> None:
    """Replace a file whole; on a full disk try again for as long as it takes, the end must not be lost."""
    temporary = f"{path}.{os.getpid()}.tmp" if not path.endswith(".tmp") else path
    while True:
        try:
            with open(temporary, "w", encoding="utf-8") as stream:
                json.dump(value, stream)
                stream.flush()
                os.fsync(stream.fileno())
            if temporary != path:
                os.replace(temporary, path)
        except FileNotFoundError:  # the run's folder is gone: nobody is left to tell
            return
        except OSError:
            time.sleep(1.0)
            continue
        return


def from_command_line() -> None:
    """Run the shim as `python -IS -c '...' ATTEMPT_DIR WAKE_FD`."""
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
