"""The image: a process that has imported what jobs need, has done nothing else, and forks their shims from itself.

An import of TensorFlow takes longer than many a training. Done once, here, it costs each job a fork: the memory is
shared until somebody writes to it. That is safe only as long as nothing but imports has happened: a lock that another
thread holds at the fork would stay locked for ever, and a card that was opened would be no good to a child. So an image
has one thread and no open card, looks at that before each fork, and refuses otherwise; then jobs start cold.

It ends when no supervisor is connected any more; one that is kept (`--keep-warm`) some time after that.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import socket
import struct
import sys
import time
import traceback
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from parallel_ml.runtime.shim import frames, guard
from parallel_ml.runtime.shim.become import become
from parallel_ml.runtime.shim.label import Label

SHIM = "parallel-ml-shim"
LOOK_S = 60.0
ANSWER_S = 10.0
_PEER = struct.Struct("3i")


class Image:
    """One image, from its first connection to its end."""

    def __init__(self, connection: socket.socket, order: dict[str, Any], label: Label) -> None:
        """Keep what to be; nothing is imported yet.

        Args:
            connection: To the supervisor that has started this process.
            order: `key`, its name; `modules` to import; `keep_s`, how long it outlives its last supervisor; `socket`,
                the path at which others find it, or None.
            label: Where a forked process shows who it is.
        """
        self.label = label
        self.key: str = order["key"]
        self.modules: list[str] = order["modules"]
        self.keep_s = float(order.get("keep_s") or 0.0)
        self.path: str | None = order.get("socket")
        self.selector = selectors.DefaultSelector()
        self.connections: dict[int, socket.socket] = {connection.fileno(): connection}
        self.idle_since = time.monotonic()
        self.held: frozenset[int] = frozenset()

    def run(self) -> int:
        """Import, answer, serve; return the exit code."""
        begun = time.monotonic()
        before = _open_files()
        problem = self._load()
        self.held = _open_files() - before
        answer = {"refused": problem} if problem else {"ready": self.key, "took_s": time.monotonic() - begun}
        for connection in self.connections.values():
            with suppress(OSError):  # it did not wait for us
                frames.send(connection, answer)
            self._serve(connection)
        if problem:
            return 1
        self._listen()
        while self._wanted():
            for key, _ in self.selector.select(LOOK_S):
                key.data()
        return 0

    def _load(self) -> str:
        """Import what jobs need; return what forbids to fork after that, or ""."""
        gc.disable()  # it would walk the hundreds of thousands of objects that the imports make, again and again
        for name in self.modules:
            try:
                importlib.import_module(name)
            except BaseException as error:  # noqa: BLE001 - what a package does at its import is beyond us
                return f"importing {name} failed: {type(error).__name__}: {error}"
        gc.collect()
        gc.freeze()  # so that no collection in a child touches, and copies, what all share
        gc.enable()
        return self._unsafe()

    def _unsafe(self) -> str:
        """Return why no process may be forked from this one now, or ""."""
        threads = len(os.listdir("/proc/self/task"))
        if threads != 1:
            return f"importing {', '.join(self.modules)} has started {threads - 1} threads"
        for handle in _open_files():
            with suppress(OSError):
                if os.readlink(f"/proc/self/fd/{handle}").startswith("/dev/nvidia"):
                    return f"importing {', '.join(self.modules)} has opened a GPU"
        return ""

    def _wanted(self) -> bool:
        if self.connections:
            return True
        if self.path is None or not os.path.exists(self.path):
            return False
        return time.monotonic() - self.idle_since < self.keep_s

    def _listen(self) -> None:
        """Let later supervisors find this image."""
        if self.path is None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with suppress(FileNotFoundError):
            os.unlink(self.path)
        listener.bind(self.path)
        os.chmod(self.path, 0o600)
        listener.listen()
        self.selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener))

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid != os.getuid():
            connection.close()
            return
        with suppress(OSError):
            frames.send(connection, {"ready": self.key, "took_s": 0.0})
        self.connections[connection.fileno()] = connection
        self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(ANSWER_S)
        self.selector.register(connection, selectors.EVENT_READ, partial(self._answer, connection))

    def _answer(self, connection: socket.socket) -> None:
        """Carry out one request of a supervisor, or let go of one that is gone."""
        handles: list[int] = []
        try:
            request, handles = frames.receive(connection)
            if "keep_s" in request:
                self.keep_s = max(self.keep_s, float(request["keep_s"]))
            elif (problem := self._unsafe()) or len(handles) != len(("wake", "complaints")):
                frames.send(connection, {"refused": problem or "the request is incomplete"})
            else:
                self._fork(connection, request, handles)
        except (OSError, EOFError, ValueError, KeyError):
            self.selector.unregister(connection)
            del self.connections[connection.fileno()]
            connection.close()
            self.idle_since = time.monotonic()
        finally:
            for handle in handles:
                os.close(handle)

    def _fork(self, connection: socket.socket, request: dict[str, Any], handles: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            self._be_shim(request, *handles)
        ended = os.pidfd_open(pid)
        self.selector.register(ended, selectors.EVENT_READ, partial(self._reap, pid, ended))
        frames.send(connection, {"pid": pid}, [ended])

    def _reap(self, pid: int, ended: int) -> None:
        self.selector.unregister(ended)
        os.close(ended)
        os.waitpid(pid, 0)

    def _be_shim(self, request: dict[str, Any], wake: int, complaints: int) -> NoReturn:
        """Guard an attempt; from here on this process is as one that was started for it."""
        code = 1
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for handle, place in ((null, 0), (null, 1), (complaints, 2)):
                os.dup2(handle, place)
            for connection in self.connections.values():
                connection.detach()  # it is closed by its number
            _close_all_but({wake} | self.held)
            os.chdir("/")
            _set_environment(request["env"])
            self.label.show([sys.executable, SHIM, request["attempt_dir"]], os.environ)
            code = guard.main(request["attempt_dir"], wake, self)
        except BaseException:  # noqa: BLE001 - a forked child must never run on in its parent's code
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def enter(self, entry: dict[str, Any], argv: list[str], env: dict[str, str]) -> NoReturn:
        """Run a job's program in this process, which the shim has forked for it."""
        _close_all_but(self.held)
        _set_environment(env)
        self.label.show(argv, env)
        become(entry)


def _open_files() -> frozenset[int]:
    """Return the numbers of the open files beside the standard ones, without that by which they are listed."""
    return frozenset(handle for name in os.listdir("/proc/self/fd") if (handle := int(name)) > 2 and _is_open(handle))


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def _close_all_but(kept: set[int] | frozenset[int]) -> None:
    for handle in _open_files() - kept:
        os.close(handle)


def _set_environment(env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)


def from_command_line() -> NoReturn:
    """Be an image, as `python -c '...' parallel-ml-image NAME SOCKET_FD`."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    label = Label()
    connection = socket.socket(fileno=int(sys.argv[-1]))
    connection.set_inheritable(False)
    order, _ = frames.receive(connection)
    code = Image(connection, order, label).run()
    sys.stderr.flush()
    os._exit(code)
