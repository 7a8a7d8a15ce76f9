"""`python -m parallel_ml`, and the command `parallel-ml`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code; Ctrl-C while it loads is no traceback."""
    try:
        from parallel_ml.adapters.cli.main import main as run  # noqa: PLC0415 - inside the try, that is the point

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
