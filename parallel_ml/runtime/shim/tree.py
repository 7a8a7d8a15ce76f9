"""The process tree below the shim: starting it, finding it, signalling it, reaping it (Linux, proc(5), prctl(2))."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, those that called setsid included."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    stdout: int,
    stderr: int,
    enter: Callable[[], NoReturn] | None = None,
) -> tuple[int, OSError | None]:
    """Start a program in a process group of its own that dies with this process.

    Args:
        argv: The program.
        env: Its whole environment.
        cwd: Its working folder.
        stdout: Where it writes to.
        stderr: Where it complains.
        enter: Called in the new process instead of the program, which is not loaded then: it becomes one itself.

    Returns:
        Its process number, and None or why it could not be started (the process is gone then).
    """
    parent = os.getpid()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(argv, env, cwd, (stdout, stderr), parent, tell, enter)
    os.close(tell)
    with os.fdopen(told, "rb") as stream:
        failure = stream.read()
    if not failure:
        return pid, None
    os.waitpid(pid, 0)
    number, _, place = failure.decode().partition(" ")
    return pid, OSError(int(number), os.strerror(int(number)), place)


def _become(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    outs: tuple[int, int],
    parent: int,
    tell: int,
    enter: Callable[[], NoReturn] | None,
) -> None:
    """Turn the forked child into the program; never returns."""
    place = cwd
    try:
        os.setpgid(0, 0)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the signal was set
            os._exit(1)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(outs[0], 1)
        os.dup2(outs[1], 2)
        os.chdir(cwd)
        place = argv[0]
        if enter is not None:
            os.close(tell)
            enter()
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        os.write(tell, f"{error.errno or errno.EIO} {place}".encode())
    except BaseException:  # noqa: BLE001 - a forked child must never run on in its parent's code
        os.write(tell, f"{errno.EIO} {place}".encode())
    os._exit(127)


_RESET = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGPIPE,
    signal.SIGXFSZ,
)


def descendants() -> list[int]:
    """Return the living processes below this one, parents first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) is not None and fields[0] != b"Z":
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


def signal_all(number: int) -> int:
    """Send a signal to every descendant and return how many got it."""
    return signal_some(descendants(), number)


def signal_some(pids: Sequence[int], number: int) -> int:
    """Send a signal to some processes and return how many got it."""
    reached = 0
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            continue
        reached += 1
    return reached


def catches(pid: int, number: int) -> bool:
    """Return whether a process has a handler of its own for a signal (SigCgt in /proc/PID/status, proc(5))."""
    try:
        with open(f"/proc/{pid}/status", "rb") as stream:
            for line in stream:
                if line.startswith(b"SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    except OSError:
        pass
    return False


def reap_strays(main: int) -> None:
    """Collect orphans that have ended while the training process `main` goes on; a long job may make many."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == main:
            return
        os.waitpid(found.si_pid, 0)


def reap() -> bool:
    """Collect the ended children that nobody waits for; return whether any child is left.

    Only for when the training process itself has been waited for.
    """
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when there is no such process."""
    fields = _stat(pid)
    return None if fields is None else int(fields[19])


def identity(pid: int) -> dict[str, object]:
    """Return what names a process for good: host, boot, number, start, and the namespace of the number."""
    boot, namespace = _boot_and_namespace()
    name = {"host": os.uname().nodename, "boot_id": boot, "pid": pid, "start_ticks": start_ticks(pid) or 0}
    return {**name, "namespace": namespace}


@cache
def _boot_and_namespace() -> tuple[str, str]:
    """Return what no process changes while it lives, and hands on to those that it forks."""
    boot = _content("/proc/sys/kernel/random/boot_id") or b""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return boot.decode("utf-8").strip(), namespace


def _content(path: str) -> bytes | None:
    """Return what stands in a short file of /proc; None where it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(handle, 4096)
        finally:
            os.close(handle)
    except OSError:
        return None


def _stat(pid: int) -> list[bytes] | None:
    """Return the fields of /proc/PID/stat that follow the command's name: state, parent ..."""
    stat = _content(f"/proc/{pid}/stat")
    if not stat:
        return None
    return stat[stat.rindex(b")") + 2 :].split()


if sys.platform != "linux":  # pragma: no cover
    message = "the shim needs Linux"
    raise ImportError(message)
