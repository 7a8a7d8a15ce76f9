"""`python -m benchmarks [NAME...]`: all claims, or those that are named."""

from __future__ import annotations

import sys

from benchmarks.table import main

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
