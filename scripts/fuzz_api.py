"""Has schemathesis attack the server by its own OpenAPI description: python scripts/fuzz_api.py [examples a route].

It serves a folder of its own with one finished run in it, so that routes are found, and ends with schemathesis's exit
code: 0 nothing was found. The streams are left out, as they do not end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TOKEN = "a-token-for-this-script-alone"  # noqa: S105 - of a server that lives for a minute
# 413: an array that is too long for its field is too long for a body. 422: what fits the description may still be a
# file that is no table, or a card that there is none of.
SETTINGS = """\
[parameters]
run = "{run}"
job = "job"
task_id = "{run}~job"

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 413, 422]
"""


def main() -> int:
    """Serve, attack, and say what was found."""
    examples = sys.argv[1] if len(sys.argv) > 1 else "50"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        environ = {**os.environ, "PARALLEL_ML_TOKEN": TOKEN, "PARALLEL_ML_RUNS": str(root / "runs")}
        environ["XDG_STATE_HOME"] = str(root / "state")
        program = [sys.executable, "-m", "parallel_ml"]
        (root / "job.yaml").write_text("command: [echo, hello]\n", encoding="utf-8")
        told = subprocess.run(
            [*program, "run", "job.yaml", "--json"], cwd=root, env=environ, stdout=subprocess.PIPE, check=True
        )
        settings = root / "schemathesis.toml"
        settings.write_text(SETTINGS.format(run=json.loads(told.stdout)["run"]), encoding="utf-8")
        serve = [*program, "serve", "--port", "0", "--json"]
        with subprocess.Popen(serve, cwd=root, env=environ, stdout=subprocess.PIPE) as server:
            try:
                return attack(json.loads(server.stdout.readline())["url"], settings, examples)  # type: ignore[union-attr]
            finally:
                server.terminate()


def attack(url: str, settings: Path, examples: str) -> int:
    """Run schemathesis against a server."""
    attacker = [str(Path(sys.executable).with_name("st")), "--config-file", str(settings)]
    options = ["--exclude-path-regex", "events$", "-n", examples, "--continue-on-failure", "--wait-for-schema", "20"]
    phases = ["--phases", "examples,coverage,fuzzing"]
    token = ["-H", f"Authorization: Bearer {TOKEN}"]
    done = subprocess.run(
        [*attacker, "run", f"{url}openapi.json", *options, *phases, *token], cwd=settings.parent, check=False
    )
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
