"""What the routes answer: the shapes that the description promises, pages of many jobs, pieces of logs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from parallel_ml.adapters.web import schemas
from tests.unit.web.serving import RUN, Script, Served

if TYPE_CHECKING:
    from pydantic import BaseModel

MakeScript = Callable[..., Script]


def got(served: Served, path: str, model: type[BaseModel]) -> dict[str, Any]:
    """Return what a route answers, which has the shape of a model."""
    answer = served.client.get(path)
    assert answer.status_code == 200, answer.text
    model.model_validate(answer.json())
    told: dict[str, Any] = answer.json()
    return told


def test_runs_are_listed_newest_first(served: Served, script: MakeScript) -> None:
    """With how many jobs are in each state; a page at a time, and by state."""
    script("one", run="20260101-120000-0001")
    script("one", "two", run="20260101-120001-0002").begin("two")
    told = got(served, "/api/v1/runs", schemas.RunList)
    assert [run["run"] for run in told["runs"]] == ["20260101-120001-0002", "20260101-120000-0001"]
    assert told["runs"][0]["states"] == {"pending": 1, "running": 1}
    assert got(served, "/api/v1/runs?offset=1&limit=1", schemas.RunList)["runs"][0]["run"] == "20260101-120000-0001"
    assert got(served, "/api/v1/runs?state=failed", schemas.RunList) == {"runs": [], "total": 0}


def test_a_run_that_cannot_be_read_is_listed_as_such(served: Served, script: MakeScript) -> None:
    """It hides none of the others."""
    script().layout.events.write_bytes(b"nonsense\n")
    script("one", run="20260101-120001-0002")
    told = got(served, "/api/v1/runs", schemas.RunList)["runs"]
    assert [run["state"] for run in told] == ["pending", "unreadable"]


def test_a_run_is_shown_with_its_jobs_a_page_at_a_time(served: Served, script: MakeScript) -> None:
    """In their order, all or those in a state."""
    run = script(*(f"job{number}" for number in range(5)))
    run.begin("job3")
    run.epoch("job3", 1, 2)
    told = got(served, f"/api/v1/runs/{RUN}?offset=1&limit=2", schemas.Run)
    assert [job["name"] for job in told["jobs"]] == ["job1", "job2"]
    assert (told["total"], told["states"]) == (5, {"pending": 4, "running": 1})
    running = got(served, f"/api/v1/runs/{RUN}?state=running", schemas.Run)["jobs"]
    assert [(job["name"], job["epoch"], job["epochs"]) for job in running] == [("job3", 2, 9)]


def test_a_job_and_a_task_are_the_same(served: Served, script: MakeScript) -> None:
    """`RUN~JOB` is one segment of a URL; of a run with one job the run will do."""
    run = script("one")
    run.begin("one")
    run.epoch("one", 1)
    job = got(served, f"/api/v1/runs/{RUN}/jobs/one", schemas.Job)
    for task in (f"{RUN}~one", RUN):
        told = got(served, f"/training/progress/{task}", schemas.Progress)
        assert told["task_id"] == f"{RUN}~one"
        assert {told[key] == job[key] for key in ("state", "epoch", "epochs", "metrics")} == {True}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/runs/20990101-000000-0000",
        f"/api/v1/runs/{RUN}/jobs/three",
        f"/training/progress/{RUN}",
        f"/training/progress/{RUN}~three",
        f"/api/v1/runs/{RUN}/jobs/three/logs",
        f"/api/v1/runs/{RUN}/report.html",
        "/api/v2/runs",
    ],
)
def test_what_is_not_there_is_a_problem(served: Served, script: MakeScript, path: str) -> None:
    """In the one shape that all problems have."""
    script()
    answer = served.client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    schemas.ProblemDetails.model_validate(answer.json())


def test_what_is_not_finite_is_null(served: Served, script: MakeScript) -> None:
    """JSON has no NaN, and an answer with one would be none."""
    run = script("one")
    run.begin("one")
    run.epoch("one", 1, train_loss=math.nan, name="\ud800")
    told = got(served, f"/api/v1/runs/{RUN}/jobs/one/metrics", schemas.Points)
    assert told["points"][0]["train_loss"] is None
    assert got(served, f"/api/v1/runs/{RUN}/jobs/one", schemas.Job)["metrics"]["train_loss"] is None


def test_metrics_come_in_ranges(served: Served, script: MakeScript) -> None:
    """A page asks for what it has not seen."""
    run = script("one")
    run.begin("one")
    run.epoch("one", *range(1, 10))
    told = got(served, f"/api/v1/runs/{RUN}/jobs/one/metrics?offset=7&limit=5", schemas.Points)
    assert ([point["epoch"] for point in told["points"]], told["total"]) == ([8, 9], 9)


def test_a_log_is_read_in_pieces_and_followed(served: Served, script: MakeScript) -> None:
    """Each piece says where the next begins; at the end there is nothing until more is printed."""
    log = script("one").layout.job("one").log
    log.write_text(
        "".join(json.dumps({"message": f"line {n}", "pad": "x" * 50}) + "\n" for n in range(100)), encoding="utf-8"
    )
    path, after, seen = f"/api/v1/runs/{RUN}/jobs/one/logs", "", []
    while (told := got(served, f"{path}?limit_bytes=1024{after}", schemas.LogPiece))["lines"]:
        seen += [line["message"] for line in told["lines"]]
        after = f"&after={told['next']}"
    assert seen == [f"line {n}" for n in range(100)]
    with log.open("a", encoding="utf-8") as stream:
        stream.write('{"message": "more"}\n')
    assert [line["message"] for line in got(served, f"{path}?{after}", schemas.LogPiece)["lines"]] == ["more"]


def test_a_log_is_followed_from_its_end(served: Served, script: MakeScript) -> None:
    """`tail` begins with the last lines, and the next piece with what comes then."""
    log = script("one").layout.job("one").log
    log.write_text("".join(json.dumps({"message": str(n)}) + "\n" for n in range(9)), encoding="utf-8")
    told = got(served, f"/api/v1/runs/{RUN}/jobs/one/logs?tail=2", schemas.LogPiece)
    assert [line["message"] for line in told["lines"]] == ["7", "8"]
    assert got(served, f"/api/v1/runs/{RUN}/jobs/one/logs?after={told['next']}", schemas.LogPiece)["lines"] == []


@pytest.mark.parametrize(
    "after",
    ["x", "bnVsbA==", "WzEsMl0=", "WzEsIiIsLTEsMF0=", "WzEsIiIsMWUzMCwwXQ==", "[]", "W0luZmluaXR5LCIiLDAsMF0="],
)
def test_a_place_in_no_log_is_refused(served: Served, script: MakeScript, after: str) -> None:
    """Whatever it says: it is text of somebody else."""
    script("one")
    assert served.client.get(f"/api/v1/runs/{RUN}/jobs/one/logs", params={"after": after}).status_code == 422


def test_allocations_differences_and_alerts_are_told(served: Served, script: MakeScript) -> None:
    """What the page draws beside the curves."""
    configs = {
        "one": "params: {lr: 0.1, token: a}\ncommand: [x]\n",
        "two": "params: {lr: 0.2, token: b}\ncommand: [x]\n",
    }
    run = script("one", "two", configs=configs)
    run.begin("two")
    rules = {"slow": {"status": "firing", "expr": "epoch() < 2", "episode": 1, "history": [1]}}
    run.layout.job("one").alerts.write_text(json.dumps({"v": 1, "state": {"rules": rules}}), encoding="utf-8")
    held = got(served, f"/api/v1/runs/{RUN}/allocations", schemas.Allocations)["allocations"]
    assert [(one["job"], one["device"]) for one in held] == [("two", "cpu")]
    told = got(served, f"/api/v1/runs/{RUN}/differences", schemas.Differences)
    assert told == {"jobs": ["one", "two"], "keys": [{"key": "lr", "values": ["0.1", "0.2"]}]}
    alerts = got(served, f"/api/v1/runs/{RUN}/jobs/one/alerts", schemas.Alerts)["alerts"]
    assert alerts["slow"]["status"] == "firing"
    assert "history" not in alerts["slow"]


def test_artifacts_are_saved_and_never_shown(served: Served, script: MakeScript) -> None:
    """A report is of the jobs' making: it must not run with the page's rights."""
    run = script("one")
    states = run.layout.job("one").checkpoints
    (states / "model.keras").write_bytes(b"weights")
    run.layout.report("html").write_text("<script>alert(1)</script>", encoding="utf-8")
    told = got(served, f"/api/v1/runs/{RUN}/jobs/one/artifacts", schemas.Artifacts)["artifacts"]
    assert {"path": "checkpoints/model.keras", "bytes": 7} in [{k: one[k] for k in ("path", "bytes")} for one in told]
    assert served.client.get(f"/api/v1/runs/{RUN}/jobs/one/artifacts/checkpoints/model.keras").content == b"weights"
    report = served.client.get(f"/api/v1/runs/{RUN}/report.html")
    assert report.headers["content-type"] == "application/octet-stream"
    assert report.headers["content-disposition"].startswith("attachment")
    assert report.headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/api/v1/runs/{RUN}/retry", {}, 409),
        (f"/api/v1/runs/{RUN}/resume", {"job": "one"}, 409),
        (f"/api/v1/runs/{RUN}/resume", None, 409),
        (f"/api/v1/runs/{RUN}/stop", {"job": "three"}, 404),
        (f"/training/pause/{RUN}~three", None, 404),
        (f"/api/v1/runs/{RUN}/stop", {"now": "yes"}, 422),
        ("/api/v1/runs", {"configs": ["no.yaml"]}, 404),
    ],
)
def test_what_cannot_be_done_is_refused(
    served: Served, script: MakeScript, path: str, body: dict[str, Any] | None, status: int
) -> None:
    """With the reason, and what to do where that is known."""
    script()
    answer = served.client.post(path, json=body) if body is not None else served.client.post(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_an_order_waits_for_the_supervisor(served: Served, script: MakeScript, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is there; who drives the run takes it."""
    monkeypatch.setattr("parallel_ml.adapters.web.ordering.ANSWER_S", 0.0)
    run = script()
    answer = served.client.post(f"/api/v1/runs/{RUN}/stop", json={"job": "one", "now": True})
    assert answer.status_code == 202
    schemas.OrderTaken.model_validate(answer.json())
    [order] = [json.loads(path.read_text(encoding="utf-8")) for path in run.layout.orders.glob("*.json")]
    assert (order["id"], order["kind"], order["job"]) == (answer.json()["order"], "stop", "one")


def test_all_that_is_wrong_with_a_configuration_comes_at_once(served: Served) -> None:
    """With file, line and key of each."""
    (served.settings.root / "bad.yaml").write_text("comand: [x]\nretri: 1\n", encoding="utf-8")
    answer = served.client.post("/api/v1/runs", json={"configs": ["bad.yaml"]})
    assert answer.status_code == 422
    assert {(one["file"], one["line"], one["key"]) for one in answer.json()["errors"]} >= {("bad.yaml", 1, "comand")}


def test_the_description_tells_errors_and_units(served: Served) -> None:
    """Each operation names the problems that it may answer with; metrics name their units."""
    told = served.client.get("/openapi.json").json()
    for path, operations in told["paths"].items():
        for operation in operations.values():
            assert "application/problem+json" in operation["responses"]["401"]["content"], path
            assert operation["security"], path
    assert "percent" in told["components"]["schemas"]["Job"]["properties"]["metrics"]["description"]
    assert "HTTPValidationError" not in told["components"]["schemas"]


def test_a_method_that_is_not_there_is_answered_with_those_that_are(served: Served) -> None:
    """All of them, although each is a route of its own."""
    answer = served.client.delete("/api/v1/runs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
