"""`python -m parallel_ml`, and the command `parallel-ml`."""

from __future__ import annotations

import gc
import sys

_READERS = frozenset({"list", "logs", "status"})
"""Verbs that only look: nothing is left to put away at their end."""


def main() -> int:
    """Run the command line and return its exit code; Ctrl-C while it loads is no traceback."""
    gc.disable()  # what is loaded now stays; the command line has it enabled again before it carries anything out
    try:
        from parallel_ml.adapters.cli import main as cli  # noqa: PLC0415 - inside the try, that is the point

        code = cli.main()
    except KeyboardInterrupt:
        return 130
    if cli.split(sys.argv[1:])[1] in _READERS:
        _leave(code)
    return code


def _leave(code: int) -> None:
    """End this process without taking apart, object by object, the jobs that it has read: a tenth of its time."""
    import os  # noqa: PLC0415 - loaded already

    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return  # the ordinary way out knows what to do
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
