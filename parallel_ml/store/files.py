"""Files that are whole or not there: replaced by a temporary name, fsync and rename; and tolerant readers."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat

from parallel_ml.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any, BinaryIO

ODD_CHARACTERS = "backslashreplace"
"""What becomes of half a surrogate pair (of a file name that is no UTF-8, say): its escape, which JSON reads back."""
_BLOCK = 1 << 16


@contextlib.contextmanager
def store_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a StoreError that says the path and what was being done."""
    try:
        yield
    except OSError as error:
        raise StoreError(path, doing, error.strerror or str(error)) from error


def write_whole(path: Path, data: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Replace `path` by `data` at once: a reader sees the old file or the new one, also after a power loss.

    Args:
        path: The file.
        data: What it will hold.
        mode: Who may read it.
        durable: Off only for what is made again from other files: a power loss may then leave less of it, or nothing.

    Raises:
        StoreError: It could not be written; the old file is as it was and no temporary file is left.
    """
    with store_errors(path, "writing"):
        temporary = f"{path.parent}/.{path.name}.{os.urandom(8).hex()}.tmp"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                if durable:
                    os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if durable:
            sync_dir(path.parent)


def write_json(path: Path, value: Any, mode: int = 0o644, *, durable: bool = True) -> None:
    """Replace `path` by `value` as JSON, readable by people; what need not be durable is one line, which is quicker."""
    text = json.dumps(value, indent=1 if durable else None, ensure_ascii=False) + "\n"
    write_whole(path, text.encode("utf-8", ODD_CHARACTERS), mode, durable=durable)


def read_json(path: Path | str, *, links: bool = True) -> Any:
    """Return the JSON value of a file, or None where there is no file, or not a whole one."""
    try:
        return json.loads(read_whole(path, links=links))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    except OSError as error:
        raise StoreError(path, "reading", error.strerror or str(error)) from error


def open_plain(path: Path | str, *, links: bool = True, flags: int = os.O_RDONLY) -> int:
    """Open a plain file and return its handle; anything else counts as no file, and nothing is waited for.

    A job may put what it likes into its folder, and a FIFO of a file's name would hold up whoever opens it for ever.

    Args:
        path: The file.
        links: Whether a link of this name is followed; one that is not counts as no file either.
        flags: How to open it.

    Raises:
        FileNotFoundError: There is no plain file.
        OSError: It cannot be opened, or is a folder.
    """
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if links else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO or (error.errno == errno.ELOOP and not links):
            raise FileNotFoundError(errno.ENOENT, "is no plain file", str(path)) from None
        raise
    kind = os.fstat(handle).st_mode
    if stat.S_ISREG(kind):
        return handle
    os.close(handle)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise FileNotFoundError(errno.ENOENT, "is no plain file", str(path))


def open_stream(path: Path | str, *, links: bool = True) -> BinaryIO:
    """Return a plain file opened for reading, as `open_plain` does.

    Raises:
        FileNotFoundError: There is no plain file.
        OSError: It cannot be opened, or is a folder.
    """
    return os.fdopen(open_plain(path, links=links), "rb")


def read_whole(path: Path | str, *, links: bool = True) -> bytes:
    """Return what a plain file holds. `status` reads thousands: a stream for each would cost more than its reading."""
    handle = open_plain(path, links=links)
    try:
        size = os.fstat(handle).st_size
        data = os.read(handle, size + 1)
        while len(data) != size and (more := os.read(handle, _BLOCK)):  # it has grown, or is of a kind without a size
            data += more
        return data
    finally:
        os.close(handle)


def make_dir(path: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it; one that is there already is fine."""
    with store_errors(path, "making folder"):
        path.mkdir(mode=mode, parents=True, exist_ok=True)


def sync_dir(path: Path) -> None:
    """Make the names in a folder survive a power loss, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def last_lines(path: Path | str, count: int, block: int = 8192, *, links: bool = True) -> list[bytes]:
    """Return the last `count` whole lines of a file, oldest first, without reading all of it; [] where there is none.

    What stands after the last newline is not a line yet.
    """
    try:
        handle = open_plain(path, links=links)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(path, "reading", error.strerror or str(error)) from error
    try:
        end = os.lseek(handle, 0, os.SEEK_END)
        data = b""
        while end > 0 and data.count(b"\n") <= count:
            start = max(0, end - block)
            data = os.pread(handle, end - start, start) + data
            end = start
    except OSError as error:
        raise StoreError(path, "reading", error.strerror or str(error)) from error
    finally:
        os.close(handle)
    lines = data.split(b"\n")[:-1]
    return lines[-count:] if count else []


def is_locked(path: Path | str) -> bool:
    """Say whether a process holds the lock of a lock file (flock(2), as `filelock` takes it)."""
    try:
        handle = open_plain(path)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def free_bytes(path: Path) -> int:
    """Return what an ordinary user may still write on a folder's disk; much, where that cannot be told."""
    try:
        found = os.statvfs(path)
    except OSError:
        return 1 << 62
    return found.f_bavail * found.f_frsize
