"""The MCP server as clients meet it: over its pipes and over HTTP, in both protocol generations, with real runs."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest

pytest.importorskip("mcp", reason="an extra")
pytest.importorskip("fastapi", reason="an extra")

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from parallel_ml.adapters.cli.main import main
from parallel_ml.adapters.mcp_runs import Served
from parallel_ml.adapters.mcp_server import make_server
from tests.process.conftest import until
from tests.process.test_cli import REPORTS, WAITS, Shell, read_until, shell

__all__ = ["shell"]
pytestmark = pytest.mark.process
TOKEN = "a-token-for-this-test"  # noqa: S105 - of a server that lives as long as these tests
GENERATIONS = ("legacy", "auto")
SERVER = [sys.executable, "-m", "parallel_ml", "mcp"]
ROUNDS = """
import os, time
from parallel_ml import report
for epoch in (1, 2, 3, 4):
    report(epoch=epoch, epochs=4, loss=1 / epoch)
    for _ in range(600):
        if os.path.exists(f"go{epoch}"):
            break
        time.sleep(0.05)
"""
_HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}}


def over_pipes(shell: Shell, generation: str) -> Client:
    """Return a client that starts a server itself, as assistants do."""
    parameters = StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=shell.env, cwd=shell.folder)
    return Client(parameters, mode=generation)


def in_process(shell: Shell) -> Client:
    """Return a client of a server in this very process."""
    return Client(make_server(Served(shell.folder.resolve(), None, shell.env)))


async def answer(client: Client, tool: str, **given: Any) -> Any:
    """Call a tool and return what it answers."""
    result = await client.call_tool(tool, given)
    assert not result.is_error, result.content
    return result.structured_content


async def stopped(client: Client, run: str) -> None:
    """Find the run that another client has started at work, and stop it."""
    assert (await answer(client, "get_parallel_status", run=run))["supervisor"] == "running"
    found = await answer(client, "stop_parallel_execution", run=run[:-1])
    assert (found["run"], found["state"], found["counts"]) == (run, "stopped", {"stopped": 1})


def test_a_run_outlives_the_client_that_started_it(shell: Shell) -> None:
    """The server ends with its client; the next one, of the newer protocol, finds the run at work and stops it."""
    (shell.folder / "config").mkdir()
    shell.config("config/waits", WAITS, name="waits")

    async def story() -> None:
        async with over_pipes(shell, "legacy") as client:
            assert client.protocol_version == "2025-11-25"
            run = (await answer(client, "run_parallel_pipeline", gpus="none"))["run"]
        async with over_pipes(shell, "auto") as client:
            assert client.protocol_version == "2026-07-28"
            await stopped(client, run)

    asyncio.run(story())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Return the folder of a server over HTTP, its address in the environment as ADDRESS."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PARALLEL_ML_")]:
            patch.delenv(name)
        folder = tmp_path_factory.mktemp("served")
        for name in ("HOME", "XDG_STATE_HOME", "PARALLEL_ML_LEASES"):
            patch.setenv(name, str(folder / "home"))
        shell = Shell(folder)
    shell.env["PARALLEL_ML_TOKEN"] = TOKEN
    process = shell.start("mcp", "--http", "0")
    [line] = read_until(process, "MCP at ")
    assert TOKEN not in line
    shell.env["ADDRESS"] = line.split()[2].rstrip(";")
    yield shell
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors


@pytest.mark.parametrize("generation", GENERATIONS)
def test_http_is_as_good(served: Shell, generation: str) -> None:
    """Here the server stays; its token is not handed on to the jobs."""
    program = f"import os\nprint('token', os.environ.get('PARALLEL_ML_TOKEN'), flush=True)\n{WAITS}"
    config = served.config("waits", program)

    async def story() -> None:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as carrier,
            Client(streamable_http_client(served.env["ADDRESS"], http_client=carrier), mode=generation) as client,
        ):
            found = await answer(client, "run_parallel_pipeline", configs=[config], gpus="none")
            await until_printed(client, "ready")
            lines = (await answer(client, "get_parallel_logs"))["lines"]
            assert "token None" in [line["message"] for line in lines]
            await stopped(client, found["run"])

    asyncio.run(story())


async def until_printed(client: Client, text: str) -> None:
    """Wait until the newest run has printed a line."""
    for _ in range(300):
        lines = (await answer(client, "get_parallel_logs"))["lines"]
        if text in [line["message"] for line in lines]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(lines)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Host": "rebound.example:{port}"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
    ],
    ids=["no-token", "wrong-token", "other-host", "other-port", "page-of-another-port", "page-of-no-origin"],
)
def test_who_is_foreign_is_refused(served: Shell, method: str, headers: dict[str, str], status: int) -> None:
    """Without the token, under another name (DNS rebinding), from another port's page; by any method."""
    port = _port(served)
    given = {"Authorization": f"Bearer {TOKEN}", "Host": f"127.0.0.1:{port}", **headers}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, "/mcp", headers={name: value.format(port=port) for name, value in given.items()})
    assert connection.getresponse().status == status
    connection.close()


def _port(served: Shell) -> int:
    return int(served.env["ADDRESS"].split(":")[2].partition("/")[0])


def test_a_port_that_is_taken_is_said(
    served: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line, with exit code 2."""
    port = _port(served)
    monkeypatch.setenv("PARALLEL_ML_TOKEN", TOKEN)
    assert main(["mcp", "--http", str(port)]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith(f"parallel-ml: cannot listen on 127.0.0.1:{port}: ")


@pytest.mark.parametrize("words", [("--root", "nowhere"), ("--http", "70000"), ("--http", "x")])
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """In a line, and nothing is served."""
    assert main(["mcp", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)


def test_waiting_tells_the_progress(shell: Shell) -> None:
    """From one epoch to the next, never backwards, until all jobs are done."""
    shell.config("rounds", ROUNDS)
    seen: list[tuple[float, float | None, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))
        if message is not None and "epochs: rounds" in message:  # what it has told is an epoch: on to the next
            (shell.folder / f"go{message[-3]}").touch()

    async def story() -> Any:
        async with in_process(shell) as client:
            await answer(client, "run_parallel_pipeline", configs=["rounds.yaml"], gpus="none")
            result = await client.call_tool("get_parallel_status", {"wait_s": 60}, progress_callback=tell)
            return result.structured_content

    assert asyncio.run(story())["state"] == "completed"
    assert [done for done, _, _ in seen if done] == [0.25, 0.5, 0.75, 0.99, 1.0]
    assert seen[-1] == (1.0, 1.0, "1 of 1 jobs done")


def test_a_run_that_nobody_drives_obeys_too(shell: Shell) -> None:
    """Pause is carried out here; what resume and retry bring back has a supervisor that outlives the client."""
    process = shell.start("run", shell.config("waits", WAITS))
    read_until(process, "waits: running")
    process.terminate()
    assert process.wait(timeout=60) == 143

    async def story() -> list[tuple[str, str]]:
        told = []
        async with in_process(shell) as client:
            for verb in ("pause", "resume", "stop", "retry"):
                found = await answer(client, f"{verb}_parallel_execution")
                told.append((found["supervisor"], found["state"]))
        return told

    paused, resumed, ended, retried = asyncio.run(story())
    assert paused == ("gone", "paused")
    assert ended[1] == "stopped"
    assert resumed[0] == retried[0] == "running"
    shell.let_go()
    until(lambda: shell.jobs()["waits"]["state"] == "completed", "the end of the job")


def test_nothing_but_the_protocol_is_written_to_stdout(shell: Shell) -> None:
    """Each line is a message, whatever is done; the server ends by itself when its input does."""
    shell.config("quick", REPORTS)
    pipe, silent = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(
        SERVER, cwd=shell.folder, env=shell.env, stdin=pipe, stdout=pipe, stderr=silent, text=True
    ) as server:
        assert _ask(server, 1, "initialize", _HELLO)["serverInfo"]["name"] == "parallel_ml"
        _tell(server, {"method": "notifications/initialized"})
        started = _call(server, 2, "run_parallel_pipeline", configs=["quick.yaml"], gpus="none")
        assert started["structuredContent"]["supervisor"] == "running"
        assert _call(server, 3, "get_parallel_status", run="nope")["isError"] is True
        assert _call(server, 4, "validate_parallel_configs", configs=["quick.yaml"])["isError"] is False
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("this is no message\n")
        server.stdin.close()
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in server.stdout)
        assert server.wait(timeout=30) == 0
    until(lambda: shell.jobs()["quick"]["state"] == "completed", "the end of the job")


def _call(server: subprocess.Popen[str], number: int, tool: str, /, **given: Any) -> dict[str, Any]:
    return _ask(server, number, "tools/call", {"name": tool, "arguments": given})


def _ask(server: subprocess.Popen[str], number: int, method: str, params: Any) -> dict[str, Any]:
    """Send a request and return its result: the very next line, since nothing else may come."""
    _tell(server, {"id": number, "method": method, "params": params})
    assert server.stdout is not None
    told = json.loads(server.stdout.readline())
    assert told["id"] == number
    return cast("dict[str, Any]", told["result"])


def _tell(server: subprocess.Popen[str], message: dict[str, Any]) -> None:
    assert server.stdin is not None
    server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    server.stdin.flush()


def test_ctrl_c_ends_a_server_whose_client_says_nothing(shell: Shell) -> None:
    """At once, although it waits for input."""
    pipe = subprocess.PIPE
    with subprocess.Popen(SERVER, cwd=shell.folder, env=shell.env, stdin=pipe, stdout=pipe, text=True) as server:
        assert _ask(server, 1, "initialize", _HELLO)["serverInfo"]["name"] == "parallel_ml"
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == -signal.SIGINT
