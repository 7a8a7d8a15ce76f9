"""`/training`: a task's progress, and pausing and resuming it. A task is a job of a run."""

from __future__ import annotations

from fastapi import APIRouter

from parallel_ml.adapters.web import ordering
from parallel_ml.adapters.web.json_response import JsonResponse
from parallel_ml.adapters.web.parts import Parts, Server, TaskId, answers
from parallel_ml.adapters.web.problems import not_found
from parallel_ml.adapters.web.runs import split_task, task_of
from parallel_ml.adapters.web.schemas import OrderTaken, Progress

router = APIRouter(prefix="/training", tags=["training"])
_TOLD = ("state", "epoch", "epochs", "metrics", "waiting", "pausing", "error", "elapsed_s")


@router.get("/progress/{task_id}", response_model=Progress, responses=answers(404))
def progress(server: Server, task_id: TaskId) -> JsonResponse:
    """Tell how a task stands."""
    run, job = _meant(server, task_id)
    with server.runs.opened(run) as client:
        told = client.status_of([job]).jobs[0].to_dict()
    return JsonResponse({"task_id": task_of(run, job), "run": run, "job": job, **{key: told[key] for key in _TOLD}})


@router.post("/pause/{task_id}", status_code=202, response_model=OrderTaken, responses=answers(404, 409))
def pause(server: Server, task_id: TaskId) -> JsonResponse:
    """Have a task save and end, so that its GPU is free."""
    run, job = _meant(server, task_id)
    return JsonResponse(ordering.give(server, run, job, lambda client: client.pause(job)).to_dict(), 202)


@router.post("/resume/{task_id}", status_code=202, response_model=OrderTaken, responses=answers(404, 409))
def resume(server: Server, task_id: TaskId) -> JsonResponse:
    """Let a paused task go on."""
    run, job = _meant(server, task_id)
    return JsonResponse(ordering.resume(server, run, job).to_dict(), 202)


def _meant(server: Parts, task_id: str) -> tuple[str, str]:
    """Return the run and the job of a task.

    Raises:
        Problem: There is no such task.
    """
    run, job = split_task(task_id)
    with server.runs.opened(run) as client:
        names = client.job_names
    if job is None and len(names) == 1:
        return run, names[0]
    if job is None or job not in names:
        raise not_found(f"there is no task {task_id[:200]!r}", "a task is RUN~JOB")
    return run, job
