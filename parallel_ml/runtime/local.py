"""The back end of one machine: shims as child processes, watched through their files and a pipe each."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from parallel_ml.core.model import ProcessId
from parallel_ml.core.recovery import ExitFacts
from parallel_ml.core.stimuli import Command, Ended, Held, Started, Stimulus
from parallel_ml.errors import BackendError, StoreError
from parallel_ml.runtime.backend import AttemptRef, Launch
from parallel_ml.runtime.images import ForkedShim, Images, Readiness
from parallel_ml.runtime.new_files import new_files
from parallel_ml.runtime.origin import Origin
from parallel_ml.runtime.sweep import sweep
from parallel_ml.store.attempts import HUNG, is_guarded, read_exit, read_guards
from parallel_ml.store.files import make_dir, read_json, write_json
from parallel_ml.store.identity import identify, is_alive
from parallel_ml.store.layout import AttemptLayout

_ROOT = str(Path(__file__).resolve().parents[2])
_BOOT = (
    f"import sys; sys.path.append({_ROOT!r});"  # behind the standard library, which nothing may shadow
    " from parallel_ml.runtime.shim.guard import from_command_line; from_command_line()"
)
_LEAVING_S = 1.0
"""A shim that has written its record is gone in a hundredth of a second."""
LOOK_EVERY_S = 0.5
"""Attempts are looked at this often even when their shims say nothing (an adopted one has no pipe to us)."""


@dataclass
class _Live:
    """An attempt whose end has not been seen yet.

    Attributes:
        launch: What it was started with, by this process; None for one that was adopted.
        waits: Whether it waits for an image that loads.
    """

    job: str
    number: int
    files: AttemptLayout
    started: bool = False
    held: int = 0
    launch: Launch | None = None
    waits: bool = False
    child: subprocess.Popen[bytes] | ForkedShim | None = None
    pipe: int | None = None
    stirred: bool = True
    kill_told: bool = False


class LocalBackend:
    """Starts each shim in a session of its own, so that it outlives this process."""

    def __init__(
        self,
        log: Path,
        note: Callable[[str], None] = lambda _: None,
        *,
        warm: bool | float = True,
        orders: Path | None = None,
    ) -> None:
        """Start with no attempts.

        Args:
            log: Where a shim's own complaints go, should it have any.
            note: Told why jobs start cold that could have been forked.
            warm: Whether shims, and jobs that may be, are forked from images; a number is how long an image outlives
                this process, in seconds.
            orders: A folder: a file that is put there ends a wait.
        """
        self._log = log
        self._live: dict[str, _Live] = {}
        self._leaving: list[subprocess.Popen[bytes] | ForkedShim] = []
        self._selector = selectors.DefaultSelector()
        self._images = Images(log, self._selector, note, 0.0 if warm is True else warm) if warm else None
        if self._images is not None:
            self._images.readiness(_light())  # it loads while the run is made ready
        self._look_at = 0.0
        self._closing = threading.RLock()  # re-entered when a signal handler wakes us in the middle of a wake
        self._waker: int | None
        self._woken, self._waker = os.pipe()
        for handle in (self._woken, self._waker):
            os.set_blocking(handle, False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._orders = None if orders is None else new_files(orders)
        if self._orders is not None:
            self._selector.register(self._orders, selectors.EVENT_READ, None)

    def start(self, launch: Launch) -> None:
        """Write `start.json` and start the shim; an attempt that has had one gets no other.

        That is so where the log was cut: then what the first one did, or does, is what the attempt is.
        """
        if launch.files.shim.exists():
            self.adopt([AttemptRef(launch.job, launch.number, launch.files, started=False)])
            return
        write_json(launch.files.start, dict(launch.plan), mode=0o600, durable=False)
        live = self._live[launch.job] = _Live(launch.job, launch.number, launch.files, launch=launch)
        try:
            self._begin(live, launch)
        except BackendError:
            del self._live[launch.job]
            raise

    def _begin(self, live: _Live, launch: Launch) -> None:
        """Have the shim forked from an image, or start it; or let it wait for an image that loads.

        Raises:
            BackendError: It could not be started.
        """
        origin = launch.origin or _light()
        readiness = Readiness.REFUSED if self._images is None else self._images.readiness(origin)
        live.waits = readiness is Readiness.LOADING
        if live.waits:
            return
        ours, theirs = os.pipe()
        try:
            if self._images is not None and readiness is Readiness.READY:
                live.child = self._images.fork(origin, launch, theirs)
            if live.child is None:
                live.child = self._spawn(launch, theirs)
        except (OSError, ValueError) as error:
            os.close(ours)
            raise BackendError(f"starting the shim of {launch.job}", str(error)) from error
        finally:
            os.close(theirs)
        os.set_blocking(ours, False)
        live.pipe = ours
        self._selector.register(ours, selectors.EVENT_READ, live)

    def _spawn(self, launch: Launch, wake: int) -> subprocess.Popen[bytes]:
        """Start a shim in an interpreter of its own."""
        argv = [sys.executable, "-IS", "-c", _BOOT, str(launch.files.dir), str(wake)]
        with self._log.open("ab") as complaints:
            return subprocess.Popen(
                argv,
                env=dict(launch.env),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=[wake],
                start_new_session=True,
            )

    def adopt(self, refs: Sequence[AttemptRef]) -> None:
        """Watch attempts whose shims may live or not."""
        for ref in refs:
            self._live[ref.job] = _Live(ref.job, ref.number, ref.files, started=ref.started)

    def tell(self, job: str, command: Command) -> None:
        """Write the order beside the shim and nudge it; without room on the disk a signal alone must do."""
        live = self._live.get(job)
        if live is None:
            return
        number = signal.SIGUSR1
        try:
            write_json(live.files.order, {"command": command.value, "id": time.time_ns()})
        except StoreError:
            if command in (Command.FREEZE, Command.THAW):
                return
            number = signal.SIGTERM
        if command is Command.KILL:  # told twice, the shim is stuck: it is killed itself, and buried at the next look
            number = signal.SIGKILL if live.kill_told else number
            live.kill_told = True
        shim = read_guards(live.files).shim
        if shim is not None and is_alive(shim):
            with contextlib.suppress(OSError):
                os.kill(shim.pid, number)

    def poll(self) -> list[Stimulus]:
        """Look at the attempts that stirred, and now and then at all."""
        self._leaving = [child for child in self._leaving if not _has_left(child)]
        look_at_all = time.monotonic() >= self._look_at
        if look_at_all:
            self._look_at = time.monotonic() + LOOK_EVERY_S
        found: list[Stimulus] = []
        for live in list(self._live.values()):
            if live.waits:
                found += self._begin_later(live)
            elif look_at_all or live.stirred:
                live.stirred = False
                with contextlib.suppress(StoreError):  # a disk that fails now may be read at the next look
                    found += self._look(live)
        return found

    def _begin_later(self, live: _Live) -> list[Stimulus]:
        """Start an attempt whose image may be there by now."""
        try:
            if live.launch is not None:
                self._begin(live, live.launch)
        except BackendError as error:
            del self._live[live.job]
            return [Ended(live.job, live.number, ExitFacts(spawn_error=str(error)))]
        return []

    def _look(self, live: _Live) -> list[Stimulus]:
        gone = live.child is not None and _has_ended(live.child)
        guards = read_guards(live.files)
        shim, process = guards.shim, guards.process
        news: list[Stimulus] = []
        if gone and shim is None and isinstance(live.child, ForkedShim) and live.launch is not None:
            return self._begin_again(live, live.launch)
        if guards.image == HUNG and not live.started and self._images is not None and live.launch is not None:
            self._images.distrust((live.launch.origin or _light()).key)
        if process is not None and shim is not None and not live.started:
            live.started = True
            news.append(Started(live.job, live.number, process, shim, guards.started_at))
        if guards.held not in (0, live.held):
            news.append(Held(live.job, live.number))
        live.held = guards.held
        facts = read_exit(live.files)
        if facts is None and (gone if shim is None else is_guarded(live.files, guards) is False):
            facts = read_exit(live.files) or self._bury(live, shim)
        elif facts is None and shim is None and live.child is None:
            facts = self._bury(live, None)
        if facts is None:
            return news
        self._drop(live)
        return [*news, Ended(live.job, live.number, facts)]

    def _begin_again(self, live: _Live, launch: Launch) -> list[Stimulus]:
        """Start cold what has ended as soon as an image had forked it, for whatever reason."""
        self._release(live)
        live.launch, live.child, live.pipe = replace(launch, origin=None), None, None
        if self._images is not None:
            self._images.distrust((launch.origin or _light()).key)
        return self._begin_later(live)

    def _bury(self, live: _Live, shim: ProcessId | None) -> ExitFacts | None:
        """Make sure that nothing of an attempt whose shim is gone runs, now or later; None while something does."""
        if shim is not None and shim.start_ticks < 0:
            return ExitFacts(never_started=True)  # a supervisor claimed it, so no shim ever did
        if shim is None and not _claim(live.files):
            return None  # a shim came up in this moment
        plan = read_json(live.files.start) or {}
        if plan.get("token") and not sweep(shim, plan["token"]):
            return None
        if shim is not None:
            return ExitFacts(lost=True)
        if live.child is None:
            return ExitFacts(never_started=True)
        code = -1 if isinstance(live.child, ForkedShim) else live.child.returncode
        if code < 0:  # it was killed before it claimed the attempt
            return ExitFacts(lost=True)
        return ExitFacts(spawn_error=f"its shim ended at once with exit code {code}; see {self._log}")

    def _drop(self, live: _Live) -> None:
        del self._live[live.job]
        self._release(live)

    def _release(self, live: _Live) -> None:
        """Let go of an attempt's shim."""
        if live.pipe is not None:
            self._selector.unregister(live.pipe)
            os.close(live.pipe)
        if live.child is not None:
            self._leaving.append(live.child)  # it has written its record, and is on its way out

    def wait(self, timeout_s: float) -> None:
        """Sleep until a shim stirs or ends, somebody wakes us, or the time is over."""
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            if key.data is None:
                self._drain(key.fd)
                continue
            if not isinstance(key.data, _Live):
                key.data()  # an image says something
                continue
            key.data.stirred = True
            if not self._drain(key.fd):
                self._selector.unregister(key.fd)
                os.close(key.fd)
                key.data.pipe = None

    def wake(self) -> None:
        """End a `wait` at once."""
        with self._closing, contextlib.suppress(OSError):
            if self._waker is not None:
                os.write(self._waker, b".")

    @staticmethod
    def _drain(handle: int) -> bool:
        """Empty a pipe; return whether its other end is still open."""
        try:
            while data := os.read(handle, 4096):
                if len(data) < 4096:
                    return True
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        """Let go of the pipes; shims do not mind."""
        for live in list(self._live.values()):
            if live.pipe is not None:
                os.close(live.pipe)
            if isinstance(live.child, ForkedShim):
                live.child.close()
            elif live.child is not None:
                live.child.returncode = live.child.poll() or 0  # it is not ours to wait for any more
        for child in self._leaving:
            _wait_for(child)
        self._leaving.clear()
        self._live.clear()
        if self._images is not None:
            self._images.close()
        self._selector.close()
        os.close(self._woken)
        if self._orders is not None:
            os.close(self._orders)
        with self._closing:
            if self._waker is not None:
                os.close(self._waker)
            self._waker = None


def _has_ended(child: subprocess.Popen[bytes] | ForkedShim) -> bool:
    return child.has_ended() if isinstance(child, ForkedShim) else child.poll() is not None


def _wait_for(child: subprocess.Popen[bytes] | ForkedShim) -> None:
    """Give a shim that is on its way out a moment, and let go of it."""
    if isinstance(child, ForkedShim):
        child.has_ended(_LEAVING_S)
        child.close()
        return
    try:
        child.wait(timeout=_LEAVING_S)
    except subprocess.TimeoutExpired:
        child.returncode = 0


def _has_left(child: subprocess.Popen[bytes] | ForkedShim) -> bool:
    """Say whether a shim that has written its record is gone; then it is let go."""
    if not _has_ended(child):
        return False
    if isinstance(child, ForkedShim):
        child.close()
    return True


@cache
def _light() -> Origin:
    """Return the image of what shims need alone."""
    libraries = os.environ.get("LD_LIBRARY_PATH")
    return Origin(sys.executable, (), (("LD_LIBRARY_PATH", libraries),) if libraries else ())


def _claim(files: AttemptLayout) -> bool:
    """Claim an attempt that no shim has claimed, so that a late one finds it taken. Return whether we got it."""
    make_dir(files.dir)
    me = identify()
    temporary = files.dir / f".shim.{os.getpid()}.tmp"
    write_json(temporary, {"shim": None if me is None else vars(me) | {"start_ticks": -1}, "process": None})
    try:
        os.link(temporary, files.shim)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True
