"""What `run` loads before its first job starts."""

from __future__ import annotations

import subprocess
import sys

UNWANTED = (
    "asyncio",
    "filelock",
    "http.client",
    "parallel_ml.config.notification_schema",
    "parallel_ml.notify.dispatcher",
    "rich",
    "ssl",
    "urllib.request",
)


def test_a_run_without_messages_loads_nothing_that_sends_them() -> None:
    """Neither the schema of notifications nor the network is loaded by the executor's module alone."""
    code = "import parallel_ml.runtime.executor, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(UNWANTED) & set(done.stdout.split()) == set()
