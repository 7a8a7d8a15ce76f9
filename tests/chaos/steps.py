"""Killing a process of ours at the n-th call by which it changes the disk or starts something: at each place once."""

from __future__ import annotations

_FILES = ("fsync", "fdatasync", "replace", "rename", "link", "unlink", "ftruncate", "mkdir")
_CALLS = (*_FILES, "fork", "wait4", "pidfd_open")
_HOOK = """
def _die_at(left):
    import os, signal, subprocess
    def wrap(owner, name):
        real = getattr(owner, name)
        def counted(*args, **named):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **named)
        setattr(owner, name, counted)
    for name in {calls}:
        wrap(os, name)
    wrap(subprocess.Popen, "_execute_child")
"""

_FORKED = """
from parallel_ml.runtime.shim import guard
_main = guard.main
def _dying(*given):
    exec({code!r}, {{}})
    return _main(*given)
guard.main = _dying
from_command_line()
"""
"""What an image runs: each shim that it forks is prepared to die."""


def supervisor_dies_at(step: int) -> str:
    """Return the prelude of a supervisor that is killed right before its `step`-th such call."""
    return _HOOK.format(calls=_CALLS) + f"_die_at({step})\n"


def shims_die_at(steps: dict[str, int]) -> str:
    """Return the prelude of a supervisor the shims of whose jobs are killed so, in the first attempt of each."""
    first = "if os.environ['PARALLEL_ML_ATTEMPT'] == '1':"
    die = f"_die_at({steps!r}.get(os.environ['PARALLEL_ML_JOB'], 0))"
    code = f"{_HOOK.format(calls=_CALLS)}\nimport os\n{first} {die}\n"
    forked = _FORKED.format(code=code)
    return (
        f"from parallel_ml.runtime import images, local\nlocal._BOOT = {code!r} + local._BOOT\n"
        f"images.BOOT = images.BOOT.replace(' from_command_line()', {forked!r})\n"
    )
