"""Turning a process that was forked from an image into the Python program that `python PROGRAM ...` would be.

What an interpreter sets up before a program's first line is set up again here, so that a program cannot tell the one
start from the other: `sys.argv`, `sys.path[0]`, `__main__`, its signals, its random numbers, how it ends.
"""

from __future__ import annotations

import atexit
import builtins
import io
import os
import runpy
import signal
import sys
import threading
import types
from contextlib import suppress
from typing import Any, NoReturn

_FLUSH_FAILED = 120
"""What Python itself exits with when its output cannot be written at the end."""


def become(entry: dict[str, Any]) -> NoReturn:
    """Run a program and end this process as its interpreter would.

    Args:
        entry: `module` or `script`, a name or a path; `arguments`, those behind it; `own`: whether the program is part
            of this package, whose modules then stay loaded.
    """
    if not entry.get("own"):
        _forget_ourselves()
    _signals_of_python()
    _fresh_random_numbers()
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = main
    leave(_run(entry, main))


def leave(code: int) -> NoReturn:
    """End the process with all that is done at an exit, but without freeing every object one by one."""
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads, as the interpreter does
        atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or _FLUSH_FAILED
        except AttributeError:
            pass  # the program has set it to None
    os._exit(code)


def _run(entry: dict[str, Any], main: types.ModuleType) -> int:
    """Run the program; return its exit code."""
    try:
        if "module" in entry:
            _start_path(os.getcwd())
            sys.argv = ["-m", *entry["arguments"]]
            runpy._run_module_as_main(entry["module"])  # type: ignore[attr-defined]  # noqa: SLF001 - as `-m` does
        else:
            _run_script(entry["script"], entry["arguments"], main)
    except SystemExit as ending:
        return _code_of(ending)
    except KeyboardInterrupt as error:
        _tell(error)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        return 128 + signal.SIGINT
    except BaseException as error:  # noqa: BLE001 - nothing above it could tell
        _tell(error)
        return 1
    return 0


def _run_script(path: str, arguments: list[str], main: types.ModuleType) -> None:
    _start_path(os.path.dirname(os.path.realpath(path)))
    sys.argv = [path, *arguments]
    main.__dict__.update(__file__=os.path.abspath(path), __cached__=None)
    with io.open_code(os.path.abspath(path)) as stream:
        text = stream.read()
    exec(compile(text, path, "exec"), main.__dict__)  # noqa: S102 - it is the user's own program


def _start_path(folder: str) -> None:
    """Put the folder first of all where modules are looked for, unless the interpreter was told not to."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, folder)


def _code_of(ending: SystemExit) -> int:
    if ending.code is None:
        return 0
    if isinstance(ending.code, int):
        return ending.code & 0xFF
    with suppress(Exception):
        sys.stderr.write(f"{ending.code}\n")
    return 1


def _tell(error: BaseException) -> None:
    """Print how a program failed, without the frame of this file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    with suppress(Exception):
        sys.excepthook(type(error), error.with_traceback(trace), trace)


def _forget_ourselves() -> None:
    """Let a program import this package from where it would find it by itself, if anywhere."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "parallel_ml"]:
        del sys.modules[name]


def _signals_of_python() -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _fresh_random_numbers() -> None:
    """Seed anew what was seeded at its import; `random` does that itself after a fork."""
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()
