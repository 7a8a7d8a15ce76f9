"""The supervisor's side of images: starting them, finding kept ones, asking them for shims.

An image that cannot be had, for whatever reason, costs a job nothing but time: it is started cold.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from parallel_ml.runtime.backend import Launch
from parallel_ml.runtime.origin import Origin
from parallel_ml.runtime.shim import frames
from parallel_ml.runtime.shim.label import ROOM, ROOM_VARIABLE

_ROOT = str(Path(__file__).resolve().parents[2])
BOOT = (
    # Behind the standard library, which nothing may shadow, and without the working folder.
    f"import sys; sys.path[:1] = sys.path[:1] if sys.flags.isolated else []; sys.path.append({_ROOT!r});"
    " from parallel_ml.runtime.shim.image import from_command_line;"
    " from_command_line()"
)
LOADING_S = 120.0
"""An import from a slow disk may take this long; after that its jobs start cold."""
ANSWER_S = 5.0
LEAVING_S = 1.0
MOST = 4
"""Images a run has at the most: each holds the memory of its imports."""


class Readiness(Enum):
    """How an image stands."""

    LOADING = "loading"
    READY = "ready"
    REFUSED = "refused"


@dataclass
class ForkedShim:
    """A shim that an image has forked: not our child, but the kernel tells us of its end all the same."""

    pid: int
    handle: int

    def has_ended(self, timeout_s: float = 0.0) -> bool:
        """Say whether it has, or does within the time."""
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def close(self) -> None:
        """Let go of it."""
        os.close(self.handle)


@dataclass
class _Image:
    """One image and the connection to it."""

    origin: Origin
    connection: socket.socket
    give_up_at: float
    process: subprocess.Popen[bytes] | None = None
    readiness: Readiness = Readiness.LOADING


class Images:
    """The images that this supervisor is connected to, by their keys."""

    def __init__(
        self, complaints: Path, selector: selectors.BaseSelector, note: Callable[[str], None], keep_s: float = 0.0
    ) -> None:
        """Start with none.

        Args:
            complaints: Where an image's own complaints go, should it have any.
            selector: Where to wait for an image that loads; its data is the method to call.
            note: Told why jobs start cold that could have been forked.
            keep_s: How long an image outlives its last supervisor, in seconds.
        """
        self._complaints, self._selector, self._note, self._keep_s = complaints, selector, note, keep_s
        self._images: dict[str, _Image] = {}
        self._refused: dict[str, str] = {}

    def readiness(self, origin: Origin) -> Readiness:
        """Return how the image of an origin stands; the first to ask has it started."""
        key = origin.key
        if key in self._refused:
            return Readiness.REFUSED
        image = self._images.get(key)
        if image is None:
            if len(self._images) >= MOST:
                self._refuse(origin, f"{MOST} images are there already")
                return Readiness.REFUSED
            try:
                image = self._images[key] = self._found(origin) or self._started(origin)
            except OSError as error:
                self._refuse(origin, f"it cannot be started: {error.strerror}")
                return Readiness.REFUSED
        if image.readiness is Readiness.LOADING and time.monotonic() > image.give_up_at:
            self._drop(image, f"it has not loaded within {LOADING_S:.0f} s")
            return Readiness.REFUSED
        return image.readiness

    def fork(self, origin: Origin, launch: Launch, wake: int) -> ForkedShim | None:
        """Have a ready image fork an attempt's shim; None where it cannot.

        Even then a shim may come up, late. Only one shim claims an attempt, so that another may be started.
        """
        image = self._images[origin.key]
        request = {"attempt_dir": str(launch.files.dir), "env": dict(launch.env)}
        try:
            with self._complaints.open("ab") as complaints:
                frames.send(image.connection, request, [wake, complaints.fileno()])
            answer, handles = frames.receive(image.connection)
        except (OSError, EOFError, ValueError) as error:
            self._drop(image, f"it does not answer: {error or 'it has ended'}")
            return None
        if "pid" not in answer or len(handles) != 1:
            for handle in handles:
                os.close(handle)
            self._drop(image, str(answer.get("refused", "its answer is incomplete")))
            return None
        return ForkedShim(int(answer["pid"]), handles[0])

    def distrust(self, key: str) -> None:
        """Use an image no more: a job that was forked from it did not begin."""
        image = self._images.get(key)
        if image is not None:
            with contextlib.suppress(OSError, TypeError):
                os.unlink(self._place(image.origin))  # type: ignore[arg-type] # a later run shall not find it either
            self._drop(image, "a job that was forked from it hung")

    def close(self) -> None:
        """Let go of all; those that are kept wait for the next supervisor, the others end."""
        for image in list(self._images.values()):
            self._close(image)
        self._images.clear()

    def _started(self, origin: Origin) -> _Image:
        """Start an image.

        Raises:
            OSError: It could not be started.
        """
        ours, theirs = socket.socketpair()
        place = self._place(origin) if self._keep_s else None
        isolated = () if origin.modules else ("-I", "-S")
        argv = [origin.interpreter, *isolated, "-c", BOOT, "parallel-ml-image", origin.label, str(theirs.fileno())]
        try:
            with self._complaints.open("ab") as complaints:
                process = subprocess.Popen(
                    argv,
                    env={**dict(origin.env), ROOM_VARIABLE: ROOM},
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            order = {"key": origin.key, "modules": origin.modules, "keep_s": self._keep_s, "socket": place}
            frames.send(ours, order)
        except (OSError, ValueError) as error:
            ours.close()
            raise OSError(0, str(error)) from error
        finally:
            theirs.close()
        return self._watched(_Image(origin, ours, time.monotonic() + LOADING_S, process))

    def _found(self, origin: Origin) -> _Image | None:
        """Return a kept image, if there is one."""
        place = self._place(origin)
        if place is None or not os.path.exists(place):
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(place)
            if self._keep_s:
                frames.send(connection, {"keep_s": self._keep_s})
        except OSError:  # it has ended without removing its name
            connection.close()
            return None
        return self._watched(_Image(origin, connection, time.monotonic() + ANSWER_S))

    def _watched(self, image: _Image) -> _Image:
        image.connection.settimeout(ANSWER_S)
        self._selector.register(image.connection, selectors.EVENT_READ, lambda: self._on_answer(image))
        return image

    def _on_answer(self, image: _Image) -> None:
        """Take in what an image says unasked: that it is ready, that it refuses, or nothing any more."""
        try:
            answer, _ = frames.receive(image.connection)
        except (OSError, EOFError, ValueError):
            self._drop(image, "it has ended while it was loading" if image.readiness is Readiness.LOADING else "")
            return
        if answer.get("ready") == image.origin.key:
            image.readiness = Readiness.READY
        else:
            self._drop(image, str(answer.get("refused", "it is another one")))

    def _drop(self, image: _Image, reason: str) -> None:
        """Let go of an image. With a reason no other takes its place; without, the next job starts a new one."""
        self._images.pop(image.origin.key, None)
        if image.process is not None and image.process.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(image.process.pid, signal.SIGKILL)  # the shims that it has forked live on
        self._close(image)
        if reason:
            self._refuse(image.origin, reason)

    def _refuse(self, origin: Origin, reason: str) -> None:
        self._refused[origin.key] = reason
        self._note(f"jobs start cold, without the image of {origin.label}: {reason}")

    def _close(self, image: _Image) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(image.connection)
        image.connection.close()
        if image.process is not None:
            try:
                image.process.wait(0 if self._keep_s else LEAVING_S)
            except subprocess.TimeoutExpired:
                image.process.returncode = 0  # it leaves by itself; nobody needs to wait for it

    def _place(self, origin: Origin) -> str | None:
        """Return where a kept image listens: a folder that only this user may enter; None where there is none."""
        if not origin.modules:
            return None
        folder = images_folder(os.environ)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError:
            return None
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            return None
        return str(folder / f"{origin.key}.sock")


def images_folder(environ: Mapping[str, str]) -> Path:
    """Return where kept images listen. A socket's path may have 107 bytes, so it is short."""
    base = environ.get("PARALLEL_ML_IMAGES")
    return Path(base) if base else Path(f"/tmp/parallel-ml-{os.getuid()}")  # noqa: S108 - its owner and mode are checked
