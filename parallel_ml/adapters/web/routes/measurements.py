"""`metrics`, `samples` and `alerts` of a job, `allocations` and `differences` of a run: what the page draws."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from parallel_ml.adapters.web.job_files import configs_of, files_of
from parallel_ml.adapters.web.json_response import JsonResponse
from parallel_ml.adapters.web.parts import JobName, RunId, Server, answers
from parallel_ml.adapters.web.schemas import Alerts, Allocations, Differences, Points, RunAlerts
from parallel_ml.core.differences import differences
from parallel_ml.store.files import read_json
from parallel_ml.store.job_status import read_metrics
from parallel_ml.store.layout import JobLayout, RunLayout

router = APIRouter(prefix="/api/v1/runs/{run}", tags=["measurements"])
MOST_COMPARED = 50
MOST_ALERTING = 1000
Since = Annotated[int, Query(ge=0, le=10_000_000, description="How many points are left out before the first")]
Most = Annotated[int, Query(ge=1, le=10_000, description="The most points that are answered")]
_HOLDING = frozenset({"starting", "running", "stopping", "paused"})
_RULE = ("status", "expr", "episode", "true_epoch", "true_at")


@router.get("/jobs/{job}/metrics", response_model=Points, responses=answers(404))
def metrics(server: Server, run: RunId, job: JobName, offset: Since = 0, limit: Most = 1000) -> JsonResponse:
    """Return a job's metrics, one point an epoch: losses, accuracies, seconds, MB, percent."""
    return _points(read_metrics(files_of(server, run, job).metrics), offset, limit)


@router.get("/jobs/{job}/samples", response_model=Points, responses=answers(404))
def samples(server: Server, run: RunId, job: JobName, offset: Since = 0, limit: Most = 1000) -> JsonResponse:
    """Return what the newest attempt took over time: MB, percent of one core, percent of its cards."""
    files = files_of(server, run, job)
    attempt = max(_attempts(files), default=1)
    return _points(read_metrics(files.attempt(attempt).samples), offset, limit)


@router.get("/jobs/{job}/alerts", response_model=Alerts, responses=answers(404))
def alerts(server: Server, run: RunId, job: JobName) -> JsonResponse:
    """Return how the alert rules of a job stand."""
    return JsonResponse({"alerts": _rules(files_of(server, run, job))})


@router.get("/alerts", response_model=RunAlerts, responses=answers(404))
def run_alerts(server: Server, run: RunId) -> JsonResponse:
    """Return the alerts of a run's first jobs that fire, are about to, or have fired; those that fire come first."""
    with server.runs.opened(run) as client:
        names, layout = client.job_names[:MOST_ALERTING], RunLayout(client.dir)
    found = [
        {"job": name, "rule": rule, **told}
        for name in names
        for rule, told in _rules(layout.job(name)).items()
        if told["episode"] or told["status"] != "inactive"
    ]
    found.sort(key=lambda one: one["status"] != "firing")
    return JsonResponse({"alerts": found})


@router.get("/allocations", response_model=Allocations, responses=answers(404))
def allocations(server: Server, run: RunId) -> JsonResponse:
    """Return what the jobs of a run hold of the machine now; memory limits in MB."""
    with server.runs.opened(run) as client:
        jobs = client.status_of([job for job, state in client.job_states().items() if state in _HOLDING]).jobs
    held = [
        {"job": job.name, "state": job.state, **job.allocation}
        for job in jobs
        if job.allocation is not None and (job.state != "paused" or job.held)
    ]
    return JsonResponse({"allocations": held})


@router.get("/differences", response_model=Differences, responses=answers(404))
def show_differences(server: Server, run: RunId) -> JsonResponse:
    """Return the keys in which the configurations of the run's first jobs differ; never a secret."""
    configs = configs_of(server, run, MOST_COMPARED)
    rows = differences(list(configs.values()))
    return JsonResponse({"jobs": list(configs), "keys": [{"key": key, "values": values} for key, values in rows]})


def _points(points: list[dict[str, Any]], offset: int, limit: int) -> JsonResponse:
    return JsonResponse({"points": points[offset : offset + limit], "total": len(points)})


def _rules(files: JobLayout) -> dict[str, dict[str, Any]]:
    """Return how each rule of a job stands, by its name."""
    told = read_json(files.alerts, links=False)
    state = told.get("state") if isinstance(told, dict) else None
    rules = state.get("rules") if isinstance(state, dict) else None
    return {
        name: {key: rule.get(key) for key in _RULE}
        for name, rule in (rules if isinstance(rules, dict) else {}).items()
        if isinstance(rule, dict)
    }


def _attempts(files: JobLayout) -> list[int]:
    numbers = (path.name.removeprefix("attempt-") for path in files.dir.glob("attempt-*"))
    return [int(number) for number in numbers if number.isdigit()]
