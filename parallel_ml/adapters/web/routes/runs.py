"""`/api/v1/runs`: all runs, one run, one job; and starting configurations that lie under the root."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query

from parallel_ml.adapters.web import starting
from parallel_ml.adapters.web.json_response import JsonResponse
from parallel_ml.adapters.web.parts import JobName, RunId, Server, answers
from parallel_ml.adapters.web.problems import not_found
from parallel_ml.adapters.web.schemas import Job, Run, RunList, StartRun, State

router = APIRouter(prefix="/api/v1/runs", tags=["runs"])
Offset = Annotated[int, Query(ge=0, le=10_000_000, description="How many are left out before the first")]
Limit = Annotated[int, Query(ge=1, le=10_000, description="The most that are answered")]


@router.get("", response_model=RunList, responses=answers())
def list_runs(
    server: Server,
    offset: Offset = 0,
    limit: Limit = 100,
    state: Annotated[State | None, Query(description="Only those in this state")] = None,
) -> JsonResponse:
    """List the runs, newest first."""
    found = [run for run in server.listing.runs() if state in (None, run["state"])]
    return JsonResponse({"runs": found[offset : offset + limit], "total": len(found)})


@router.post("", status_code=202, response_model=Run, responses=answers(404, 409, bodied=True))
def start_run(server: Server, asked: StartRun) -> JsonResponse:
    """Check configurations under the root and start them side by side; they go on whatever becomes of the server."""
    status = starting.start(server, asked.configs, name=asked.name, max_parallel=asked.max_parallel, gpus=asked.gpus)
    states = Counter(job.state for job in status.jobs)
    told = {**status.to_dict(), "total": len(status.jobs), "states": dict(states)}
    return JsonResponse(told, 202, headers={"Location": f"/api/v1/runs/{status.run}"})


@router.get("/{run}", response_model=Run, responses=answers(404))
def show_run(
    server: Server,
    run: RunId,
    offset: Offset = 0,
    limit: Limit = 1000,
    state: Annotated[State | None, Query(description="Only jobs in this state")] = None,
) -> JsonResponse:
    """Tell how a run stands, with its jobs in their order."""
    with server.runs.opened(run) as client:
        states = client.job_states()
        wanted = [job for job, known in states.items() if state in (None, known)]
        status = client.status_of(wanted[offset : offset + limit])
    return JsonResponse({**status.to_dict(), "total": len(wanted), "states": dict(Counter(states.values()))})


@router.get("/{run}/jobs/{job}", response_model=Job, responses=answers(404))
def show_job(server: Server, run: RunId, job: JobName) -> JsonResponse:
    """Tell how a job stands."""
    with server.runs.opened(run) as client:
        if job not in client.job_names:
            raise not_found(f"run {run} has no job {job}")
        return JsonResponse(client.status_of([job]).jobs[0].to_dict())
