"""The file in which all runs of a user on this machine write down what they were granted on cards, and its lock.

It is read and replaced whole under a lock, so it is never half written by us. What stands in it is not trusted: what
cannot be read is skipped, and the runs that live write their part anew.
"""

from __future__ import annotations

import contextlib
import operator
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parallel_ml.core.codec import decode, encode
from parallel_ml.core.model import ProcessId
from parallel_ml.errors import StoreError
from parallel_ml.store.files import make_dir, read_json, store_errors, write_json

FOLDER_VARIABLE = "PARALLEL_ML_LEASES"
LOCK_TIMEOUT_S = 5.0
"""A look at the registry takes milliseconds: who holds it longer is stopped or hangs."""
_POLL_S = 0.01
_VERSION = 1


@dataclass(frozen=True)
class Lease:
    """A part of one card that an attempt of some run holds, for as long as its holder lives.

    Attributes:
        gpu_uuid: The card.
        memory_bytes: The grant.
        slot_fraction: How much of the card's room for jobs it takes.
        holder: The attempt's shim; the supervisor until that has started.
        shim_file: Where the shim writes who it is: it holds the lease even if nobody came to say so here.
        taken_at: When it was granted, in seconds since the epoch.
    """

    gpu_uuid: str
    memory_bytes: int
    slot_fraction: float
    run: str
    job: str
    attempt: int
    holder: ProcessId
    shim_file: str | None = None
    taken_at: float = 0.0

    @property
    def attempt_key(self) -> tuple[str, str, int]:
        """The attempt, among those of all runs."""
        return self.run, self.job, self.attempt


class Registry:
    """The file of leases of one folder.

    Attributes:
        unreadable: Why the file could not be read at the last look, or "".
    """

    def __init__(self, folder: Path, timeout_s: float = LOCK_TIMEOUT_S) -> None:
        """Touch nothing yet.

        Args:
            folder: Where the file and its lock are; made when it is needed.
            timeout_s: How long to wait for another process that holds the lock.
        """
        self.folder, self.path = folder, folder / "leases.json"
        self.unreadable = ""
        self._lock_path, self._timeout_s = folder / "leases.lock", timeout_s

    def read(self) -> tuple[Lease, ...]:
        """Return what stands in the file; nothing where there is none, or not one that can be read."""
        self.unreadable = ""
        try:
            told: Any = read_json(self.path)
        except (StoreError, RecursionError):
            told = None
        if told is None and self.stamp() is None:
            return ()
        listed = told.get("leases") if isinstance(told, dict) else None
        if not isinstance(listed, list):
            self.unreadable = f"{self.path} was damaged; each run writes its part of it anew"
            return ()
        found = []
        for one in listed:
            try:
                found.append(_checked(decode(Lease, one)))
            except (TypeError, ValueError, KeyError, AttributeError):
                self.unreadable = f"{self.path} held what is no lease; that was left out"
        return tuple(found)

    def write(self, leases: tuple[Lease, ...]) -> None:
        """Replace the file.

        Raises:
            StoreError: It cannot be written.
        """
        write_json(self.path, {"v": _VERSION, "leases": encode(leases)}, 0o600)

    def stamp(self) -> tuple[int, int, int] | None:
        """Return what changes with each writing of the file; None where there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the other runs out.

        Raises:
            StoreError: The folder cannot be used, or another process does not let go of the lock in time.
        """
        # Loaded here: 31 ms that only a run on real cards spends.
        from filelock import FileLock, Timeout  # noqa: PLC0415

        make_dir(self.folder, 0o700)
        check_folder(self.folder)
        lock = FileLock(self._lock_path, mode=0o600)
        with store_errors(self._lock_path, "locking"):
            try:
                lock.acquire(timeout=self._timeout_s, poll_interval=_POLL_S)
            except Timeout as error:
                reason = f"{_holder_of(self._lock_path)} has held it for {self._timeout_s:g} s; end it, or let it go on"
                raise StoreError(self._lock_path, "locking", reason) from error
        try:
            yield
        finally:
            lock.release()


def default_folder(environ: Mapping[str, str]) -> Path:
    """Return where the leases of this user are on this machine.

    It is never the folder of the session: that is removed when the user logs out, with detached runs going on, and
    runs that cron starts have none.
    """
    if environ.get(FOLDER_VARIABLE):
        return Path(environ[FOLDER_VARIABLE]).expanduser()
    return Path(f"/tmp/parallel_ml-{os.getuid()}")  # noqa: S108 - `check_folder` refuses one that is not ours


def check_folder(folder: Path) -> None:
    """Refuse a folder that another user made, or that everybody may write to: /tmp is everybody's.

    Raises:
        StoreError: It is such a folder, or it is not there.
    """
    with store_errors(folder, "looking at folder"):
        found = folder.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.getuid():
        raise StoreError(folder, "using folder", f"it is not this user's own; set {FOLDER_VARIABLE} to one that is")
    if found.st_mode & 0o002:
        raise StoreError(folder, "using folder", f"everybody may write to it; chmod 700 it, or set {FOLDER_VARIABLE}")


def _checked(lease: Lease) -> Lease:
    """Return a lease whose numbers are numbers.

    Raises:
        TypeError, ValueError: They are not, or make no sense.
    """
    if not (lease.memory_bytes > 0 and 0 < lease.slot_fraction <= 1 and lease.holder.pid > 0 and lease.attempt > 0):
        message = "out of range"
        raise ValueError(message)
    operator.index(lease.memory_bytes)
    for text in (lease.gpu_uuid, lease.run, lease.job, lease.holder.host, lease.holder.boot_id, lease.shim_file or ""):
        text.encode()  # what is no text, or cannot be written again, ends here
    return lease


def _holder_of(path: Path) -> str:
    """Return who holds a lock, as far as /proc/locks tells."""
    try:
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if "->" not in fields and fields[5].endswith(f":{inode}"):
                return f"process {fields[4]}"
    except (OSError, ValueError, IndexError):
        pass
    return "another process"
