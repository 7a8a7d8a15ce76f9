"""`serve` as a process: it is killed and comes back, and the runs that it started go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.process.conftest import until

pytestmark = pytest.mark.process

TOKEN = "a-token-of-the-tests"  # noqa: S105 - of no server that lives on
TRAINING = """\
import os, sys, time
from parallel_ml import report
for epoch in range(1, 5):
    report(epoch=epoch, epochs=4, val_loss=1 / epoch)
    while epoch == 2 and not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
print("the token:", os.environ.get("PARALLEL_ML_TOKEN"))
"""


class Servers:
    """Starts servers over a folder."""

    def __init__(self, root: Path) -> None:
        """Start none yet."""
        self._root = root
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, **more: Any) -> httpx.Client:
        """Start one and return who asks it."""
        environ = {**os.environ, "PARALLEL_ML_TOKEN": TOKEN}
        program = [sys.executable, "-m", "parallel_ml", "serve", "--port", "0", "--json", *words]
        process = subprocess.Popen(
            program, cwd=self._root, env=environ, stdout=subprocess.PIPE, start_new_session=True, **more
        )
        self.running.append(process)
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)

    def kill(self) -> None:
        """Kill the newest one, and all that is in its group."""
        process = self.running.pop()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Return what starts servers; those that are left are killed at the end."""
    made = Servers(tmp_path)
    yield made
    while made.running:
        made.kill()


def test_a_run_outlives_the_server_that_started_it(
    servers: Servers, write: Callable[..., Path], tmp_path: Path
) -> None:
    """Started by one, followed, and seen to its end by the next, with every epoch told once."""
    go = tmp_path / "go"
    write("job", [sys.executable, "-c", TRAINING, str(go)])
    with servers.start() as client:
        started = client.post("/api/v1/runs", json={"configs": ["job.yaml"], "gpus": "none"})
        assert started.status_code == 202, started.text
        run = started.json()["run"]
        with client.stream("GET", f"/api/v1/runs/{run}/events", headers={"Last-Event-ID": f"{run}:0.0"}) as answer:
            first = told(answer, lambda message: message.get("epoch") == 2)
        servers.kill()
    go.touch()
    with servers.start() as client:
        until(lambda: client.get(f"/training/progress/{run}").json()["state"] == "completed", "the run's end")
        with client.stream("GET", f"/api/v1/runs/{run}/events", headers={"Last-Event-ID": first[-1]["id"]}) as answer:
            then = told(answer, lambda message: message.get("state") == "completed")
        lines = client.get(f"/api/v1/runs/{run}/jobs/job/logs").json()["lines"]
    epochs = [message["epoch"] for message in first + then if message["type"] == "epoch_progress"]
    assert epochs == [1, 2, 3, 4]
    assert "the token: None" in [line["message"] for line in lines]


def test_a_server_that_is_told_to_leave_ends_its_streams(servers: Servers, write: Callable[..., Path]) -> None:
    """At once, and without a word of complaint: streams have no end of their own."""
    write("job", [sys.executable, "-c", "pass"])
    with servers.start(stderr=subprocess.PIPE) as client, client.stream("GET", "/api/v1/events") as answer:
        assert answer.status_code == 200
        process = servers.running.pop()
        process.terminate()
        for _ in answer.iter_lines():
            pass
        assert process.stderr is not None
        said = process.stderr.read().decode()
        process.wait(timeout=20)
    assert "Traceback" not in said
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()


def test_a_proxy_calls_a_server_by_the_name_that_was_allowed(servers: Servers) -> None:
    """Whatever port the proxy listens on, none in the `Host` of HTTPS; pages under that name may ask."""
    with servers.start("--allow-host", "ML.example.org") as client:
        for host in ("ml.example.org", "ml.example.org:8443"):
            headers = {"Host": host, "Origin": f"https://{host}"}
            assert client.get("/api/v1/runs", headers=headers).status_code == 200
        assert client.get("/api/v1/runs", headers={"Host": "localhost"}).status_code == 421
        assert client.get("/api/v1/runs", headers={"Host": "evil.example.org"}).status_code == 421


def test_runs_are_stopped_and_tried_again(servers: Servers, write: Callable[..., Path]) -> None:
    """Also where the run's supervisor is gone: one is started for it."""
    write("job", "test -e go || sleep 60")
    with servers.start() as client:
        run = client.post("/api/v1/runs", json={"configs": ["job.yaml"], "gpus": "none"}).json()["run"]

        def state() -> object:
            return client.get(f"/training/progress/{run}").json()["state"]

        until(lambda: state() == "running", "the job's start")
        assert client.post(f"/api/v1/runs/{run}/stop", json={"now": True}).status_code == 202
        until(lambda: state() == "stopped", "the stop")
        until(lambda: client.get(f"/api/v1/runs/{run}").json()["supervisor"] == "gone", "the supervisor's end")
        (servers._root / "go").touch()
        assert client.post(f"/api/v1/runs/{run}/retry", json={"job": "job"}).json()["state"] == "done"
        until(lambda: state() == "completed", "the job's end")


def test_a_task_is_paused_and_goes_on(servers: Servers, write: Callable[..., Path], tmp_path: Path) -> None:
    """By the routes of the contract."""
    write("job", "until test -e go; do sleep 0.05; done")
    with servers.start() as client:
        run = client.post("/api/v1/runs", json={"configs": ["job.yaml"], "gpus": "none"}).json()["run"]
        task = f"{run}~job"

        def state() -> object:
            return client.get(f"/training/progress/{task}").json()["state"]

        until(lambda: state() == "running", "the job's start")
        assert client.post(f"/training/pause/{task}").status_code == 202
        until(lambda: state() == "paused", "the pause")
        assert client.post(f"/training/resume/{task}").status_code == 202
        (tmp_path / "go").touch()
        until(lambda: state() == "completed", "the job's end")


@pytest.mark.tf
def test_a_table_is_trained_by_one_request(servers: Servers, tmp_path: Path) -> None:
    """End to end: the built-in training learns it, and the model lies where the request said."""
    rows = "".join(f"{age},{city},{'yes' if age > 40 else 'no'}\n" for age in range(20, 60) for city in "xyz")
    (tmp_path / "table.csv").write_text(f"age,city,bought\n{rows}", encoding="utf-8")
    asked = {
        "name": "buyers",
        "algorithm_type": "classification",
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 0.05,
        "train_data_path": "table.csv",
        "feature_columns": ["age", "city"],
        "target_column": "bought",
        "algorithm_params": {"model_type": "mlp", "hidden_units": [8], "learning_rate_scheduler": "step"},
        "output_path": "models",
    }
    with servers.start() as client:
        answer = client.post("/api/v1/algorithm/epoch-train", json=asked)
        assert answer.status_code == 202, answer.text
        task = answer.json()["task_id"]
        until(lambda: client.get(f"/training/progress/{task}").json()["state"] in {"completed", "failed"}, "its end")
        progress = client.get(f"/training/progress/{task}").json()
    assert (progress["state"], progress["epoch"], progress["epochs"]) == ("completed", 3, 3)
    assert progress["metrics"]["test_accuracy"] > 0.7
    assert list(tmp_path.glob("models/*buyers.keras"))


def told(answer: httpx.Response, is_last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Return the messages of a stream up to one of them."""
    assert answer.status_code == 200
    found: list[dict[str, Any]] = []
    for line in answer.iter_lines():
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
            if is_last(found[-1]):
                return found
    raise AssertionError(found)
