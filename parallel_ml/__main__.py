"""`python -m parallel_ml`, and the command `parallel-ml`."""

from __future__ import annotations

import sys

from parallel_ml.adapters.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
