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


def supervisor_dies_at(step: int) -> str:
    """Return the prelude of a supervisor that is killed right before its `step`-th such call."""
    return _HOOK.format(calls=_CALLS) + f"_die_at({step})\n"


def shims_die_at(steps: dict[str, int]) -> str:
    """Return the prelude of a supervisor the shims of whose jobs are killed so, in the first attempt of each."""
    first = "if os.environ['PARALLEL_ML_ATTEMPT'] == '1':"
    die = f"_die_at({steps!r}.get(os.environ['PARALLEL_ML_JOB'], 0))"
    code = f"{_HOOK.format(calls=_CALLS)}\nimport os\n{first} {die}\n"
    return f"from parallel_ml.runtime import local\nlocal._BOOT = {code!r} + local._BOOT\n"
