"""The MCP server's tools and resources, asked by the SDK's own client in both protocol generations, in one process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("mcp", reason="an extra")

from mcp import Client, MCPError
from mcp.types import CallToolResult, TextContent, TextResourceContents

from parallel_ml.adapters.cli.main import main
from parallel_ml.adapters.mcp_answers import MOST_JOBS
from parallel_ml.adapters.mcp_runs import LONGEST_MESSAGE, Served
from parallel_ml.adapters.mcp_server import make_server
from parallel_ml.core import events as ev
from parallel_ml.core.model import Allocation, JobSpec, JobState, ProcessId
from parallel_ml.core.outcome import Outcome, OutcomeKind
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run

GENERATIONS = ("legacy", "2026-07-28")
RUN, OLDER = "20260102-120000-3fa9", "20260101-120000-3fa9"
READERS = {"get_parallel_status", "get_parallel_logs", "list_parallel_runs", "validate_parallel_configs"}
ORDERS = {
    "pause_parallel_execution",
    "resume_parallel_execution",
    "retry_parallel_execution",
    "run_parallel_pipeline",
    "stop_parallel_execution",
}
T = TypeVar("T")
Ask = Callable[[Client], Awaitable[T]]
_ME = ProcessId("elsewhere", "boot", 1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two finished runs; the newer one has a job that failed and one that was not started."""
    make_run(tmp_path, OLDER, 1)
    layout = make_run(tmp_path, RUN, 2)
    store = RunStore(layout)
    failed = ev.AttemptEnded("job0", 1, Outcome(OutcomeKind.ERROR, 1), "it broke", None, 20.0)
    placed = [ev.JobPlaced("job0", 1, Allocation(0, ()), 32, 1), ev.AttemptStarted("job0", 1, _ME, _ME, 10.0)]
    stopped = ev.JobFinished("job1", JobState.STOPPED, None)
    store.add([ev.SupervisorStarted(_ME), *placed, failed, ev.JobFinished("job0", JobState.FAILED, None), stopped], 20)
    store.flush()
    store.close()
    return tmp_path


def make_run(folder: Path, run: str, jobs: int) -> RunLayout:
    """Make a run whose jobs wait."""
    layout = RunLayout(folder / "runs" / run)
    layout.dir.parent.mkdir(exist_ok=True)
    specs = tuple(JobSpec(place, f"job{place}", "x.yaml", "command", seed=7, epochs=4) for place in range(jobs))
    plan = {"run": run, "name": "night", "cwd": str(folder)}
    create_run(layout, ev.RunCreated(run, "night", specs), plan, {spec.name: "x: 1" for spec in specs}, 1.0)
    return layout


def asked(folder: Path, ask: Ask[T], generation: str = GENERATIONS[-1]) -> T:
    """Ask a server over a folder."""
    server = make_server(Served(folder.resolve(), None, dict(os.environ)))

    async def asking() -> T:
        async with Client(server, mode=generation) as client:
            return await ask(client)

    return asyncio.run(asking())


def call(folder: Path, tool: str, generation: str = GENERATIONS[-1], **given: Any) -> CallToolResult:
    """Call a tool."""
    return asked(folder, lambda client: client.call_tool(tool, given), generation)


def told(result: CallToolResult) -> Any:
    """Return what a tool answered."""
    assert not result.is_error, result.content
    return result.structured_content


def refusal(result: CallToolResult) -> str:
    """Return why a tool refused."""
    assert result.is_error
    assert result.structured_content is None
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text.partition(": ")[2]


def read(folder: Path, uri: str, generation: str = GENERATIONS[-1]) -> str:
    """Read a resource."""
    [found] = asked(folder, lambda client: client.read_resource(uri), generation).contents
    assert isinstance(found, TextResourceContents)
    return found.text


@pytest.mark.parametrize("generation", GENERATIONS)
def test_each_tool_says_what_it_does_and_what_it_answers(folder: Path, generation: str) -> None:
    """A description, a schema of the answer, a sentence for what could be misunderstood, and all four hints."""
    tools = asked(folder, lambda client: client.list_tools(), generation).tools
    assert {tool.name for tool in tools} == READERS | ORDERS
    for tool in tools:
        assert tool.description
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"
        assert tool.annotations is not None
        hints = tool.annotations.model_dump(exclude={"title"})
        assert None not in hints.values()
        assert tool.annotations.read_only_hint is (tool.name in READERS)
        assert tool.annotations.destructive_hint is (tool.name == "stop_parallel_execution")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_newest_run_is_meant_where_none_is_named(folder: Path, generation: str) -> None:
    """Its jobs come with their states, outcomes and errors."""
    found = told(call(folder, "get_parallel_status", generation))
    assert (found["run"], found["state"], found["counts"]) == (RUN, "failed", {"failed": 1, "stopped": 1})
    assert [(job["name"], job["outcome"], job["error"]) for job in found["jobs"]] == [
        ("job0", "error(1)", "it broke"),
        ("job1", "stopped", None),
    ]


def test_one_job_of_a_run_named_by_the_beginning_of_its_id(folder: Path) -> None:
    """The others are counted all the same."""
    found = told(call(folder, "get_parallel_status", run=RUN[:9], job="job1"))
    assert [job["name"] for job in found["jobs"]] == ["job1"]
    assert found["counts"] == {"failed": 1, "stopped": 1}


def test_numbers_that_are_not_finite_are_null(folder: Path) -> None:
    """JSON has no NaN, and an assistant's client would refuse the whole answer."""
    job = RunLayout(folder / "runs" / RUN).job("job0")
    job.metrics.parent.mkdir(parents=True, exist_ok=True)
    job.metrics.write_text('{"epoch": 1, "epochs": 4, "val_loss": NaN, "lr": 0.5}\n', encoding="utf-8")
    result = call(folder, "get_parallel_status")
    [found, _] = json.loads(result.model_dump_json())["structured_content"]["jobs"]
    assert (found["epoch"], found["metrics"]) == (1, {"val_loss": None, "lr": 0.5})


def test_of_very_many_jobs_those_that_need_a_look_come_first(folder: Path) -> None:
    """The rest is counted, so that an answer stays one that can be read."""
    run = "20260103-120000-3fa9"
    layout = make_run(folder, run, MOST_JOBS + 20)
    store = RunStore(layout)
    store.add([ev.SupervisorStarted(_ME), ev.JobFinished("job110", JobState.FAILED, "no data")], 2.0)
    store.flush()
    store.close()
    found = told(call(folder, "get_parallel_status"))
    assert (found["jobs"][0]["name"], len(found["jobs"]), found["jobs_left_out"]) == ("job110", MOST_JOBS, 20)


@pytest.mark.parametrize("run", ["nope", "", "..", "../runs", "a/b", "\0", "x" * 5000])
def test_a_run_that_is_not_there_is_one_clear_sentence(folder: Path, run: str) -> None:
    """Whatever it is called; a path is none."""
    said = refusal(call(folder, "get_parallel_status", run=run))
    assert "run" in said
    assert "\n" not in said


def test_a_job_that_is_not_there_is_refused(folder: Path) -> None:
    """With the names of those that are."""
    assert refusal(call(folder, "get_parallel_status", job="nope")).endswith("its jobs: job0, job1")
    assert refusal(call(folder, "get_parallel_logs", job="nope")).endswith("its jobs: job0, job1")


def test_there_is_nothing_to_stop_in_a_run_that_has_ended(folder: Path) -> None:
    """It says how the run stands."""
    assert refusal(call(folder, "stop_parallel_execution")) == f"run {RUN} is failed already"


@pytest.mark.parametrize("generation", GENERATIONS)
def test_runs_are_listed_newest_first(folder: Path, generation: str) -> None:
    """Those that are too many are counted."""
    assert [one["run"] for one in told(call(folder, "list_parallel_runs", generation))["runs"]] == [RUN, OLDER]
    found = told(call(folder, "list_parallel_runs", most=1))
    assert ([one["run"] for one in found["runs"]], found["left_out"]) == ([RUN], 1)


def test_logs_are_the_last_lines(folder: Path) -> None:
    """In the order of time, with what the supervisor says; a line of megabytes is cut."""
    log = RunLayout(folder / "runs" / RUN).job("job0").log
    log.parent.mkdir(parents=True, exist_ok=True)
    at = "2026-01-01T12:00:00.000000+00:00"
    messages = [("stdout", "first"), ("stdout", "x" * 10**6), ("stderr", "last \ud800")]
    lines = [json.dumps({"timestamp": at, "type": kind, "message": text}) + "\n" for kind, text in messages]
    log.write_text("".join(lines), encoding="utf-8")
    found = told(call(folder, "get_parallel_logs", job="job0", lines=2))
    assert [line["message"][:6] for line in found["lines"]] == ["xxxxxx", "last \\"]
    assert len(found["lines"][0]["message"]) < LONGEST_MESSAGE + 50
    errors = told(call(folder, "get_parallel_logs", job="job0", errors=True))["lines"]
    assert {line["type"] for line in errors} == {"system", "stderr"}
    assert read(folder, f"parallel-ml://runs/{RUN}/logs/job0").splitlines()[-1] == "last \\ud800"


def test_configurations_are_checked_and_nothing_is_started(folder: Path) -> None:
    """What is wrong comes with its place; without arguments the folder config/ is meant."""
    (folder / "config").mkdir()
    good = folder / "config" / "a.yaml"
    good.write_text("command: ['true']\nmodel_training: {epochs: 3}\n", encoding="utf-8")
    found = told(call(folder, "validate_parallel_configs"))
    assert (found["ok"], [one["name"] for one in found["configs"]]) == (True, ["a"])
    good.write_text("command: ['true']\ncolor: 3\n", encoding="utf-8")
    found = told(call(folder, "validate_parallel_configs", configs=["config/*.yaml"]))
    assert not found["ok"]
    assert [(one["file"], one["line"], one["key"]) for one in found["problems"]] == [("config/a.yaml", 2, "color")]
    assert {path.name for path in (folder / "runs").iterdir()} == {RUN, OLDER}


def test_a_wrong_configuration_starts_nothing(folder: Path) -> None:
    """The answer is the line that is wrong."""
    (folder / "bad.yaml").write_text("command: ['true']\ncolor: 3\n", encoding="utf-8")
    said = refusal(call(folder, "run_parallel_pipeline", configs=["bad.yaml"]))
    assert said.startswith("bad.yaml:2: color: ")
    assert {path.name for path in (folder / "runs").iterdir()} == {RUN, OLDER}


def test_of_very_many_problems_the_first_are_told(folder: Path) -> None:
    """A line each, and how many more there are."""
    keys = "".join(f"color{place}: 3\n" for place in range(50))
    (folder / "bad.yaml").write_text(f"command: ['true']\n{keys}", encoding="utf-8")
    lines = refusal(call(folder, "run_parallel_pipeline", configs=["bad.yaml"])).splitlines()
    assert (len(lines), lines[-1]) == (21, "+30 more")


@pytest.mark.parametrize("tool", ["run_parallel_pipeline", "validate_parallel_configs"])
@pytest.mark.parametrize(
    "named", ["../secret.yaml", "/etc/passwd", "~/secret.yaml", "link.yaml", "*.yaml", "out", "a\0b"]
)
def test_configurations_stay_in_their_folder(folder: Path, tool: str, named: str) -> None:
    """Neither by a path, nor by a link to a file or a folder, nor by what a glob finds."""
    inside = folder / "served"
    inside.mkdir()
    (folder / "secret.yaml").write_text("command: ['true']\n", encoding="utf-8")
    (inside / "link.yaml").symlink_to(folder / "secret.yaml")
    (inside / "out").symlink_to(folder)
    assert "is not below the folder that is served" in refusal(call(inside, tool, configs=[named]))


@pytest.mark.parametrize("tool", ["run_parallel_pipeline", "validate_parallel_configs"])
@pytest.mark.parametrize(
    "named", ["empty", "empty/*.yaml", "empt*/*.yaml", "empty/x.yaml", "served/../../served/*.yaml"]
)
def test_what_is_there_outside_is_not_told(folder: Path, tool: str, named: str) -> None:
    """An empty folder, or one that is not there, is answered as one with configurations is."""
    inside = folder / "served"
    inside.mkdir()
    (folder / "nothing").mkdir()
    (inside / "empty").symlink_to(folder / "nothing")
    assert "is not below the folder that is served" in refusal(call(inside, tool, configs=[named]))


@pytest.mark.parametrize("open_to_all", ["top.yaml", "base.yaml"])
def test_a_configuration_that_everybody_may_write_is_not_started(folder: Path, open_to_all: str) -> None:
    """Nor one that extends such a file: it names a program."""
    (folder / "top.yaml").write_text("extends: base.yaml\n", encoding="utf-8")
    (folder / "base.yaml").write_text("command: ['true']\n", encoding="utf-8")
    (folder / open_to_all).chmod(0o666)
    said = refusal(call(folder, "run_parallel_pipeline", configs=["top.yaml"]))
    assert said.startswith(f"'{open_to_all}' may have been written by somebody else")
    assert {path.name for path in (folder / "runs").iterdir()} == {RUN, OLDER}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_runs_are_resources(folder: Path, generation: str) -> None:
    """The list, a run, a report; the first names the others' runs."""
    [found] = asked(folder, lambda client: client.list_resources(), generation).resources
    assert [one["run"] for one in json.loads(read(folder, str(found.uri), generation))["runs"]] == [RUN, OLDER]
    assert json.loads(read(folder, f"parallel-ml://runs/{RUN}", generation))["state"] == "failed"
    assert read(folder, f"parallel-ml://runs/{RUN}/report", generation).startswith("# Run night\n")


@pytest.mark.parametrize(
    "uri", ["parallel-ml://runs/nope", "parallel-ml://runs/..%2F..", f"parallel-ml://runs/{RUN}/logs/x"]
)
def test_a_resource_that_is_not_there_is_an_error(folder: Path, uri: str) -> None:
    """With what is there instead, and no path leads out of the runs folder."""

    async def refused(client: Client) -> str:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
        return str(caught.value)

    said = asked(folder, refused)
    assert "run" in said
    assert "\n" not in said


@pytest.mark.parametrize("words", [[], ["--http", "0"]])
def test_without_the_extra_it_says_what_to_install(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line on stderr, with exit code 2."""
    monkeypatch.delitem(sys.modules, "parallel_ml.adapters.mcp_server")
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    assert main(["mcp", *words]) == 2
    told = "parallel-ml: the MCP server needs mcp; run: pip install 'parallel-ml[mcp]'\n"
    assert capsys.readouterr() == ("", told)
