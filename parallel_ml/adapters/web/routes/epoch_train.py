"""`/api/v1/algorithm/epoch-train`: a training of a table, or of images, said in one request."""

from __future__ import annotations

from fastapi import APIRouter

from parallel_ml.adapters.web import starting
from parallel_ml.adapters.web.epoch_training import EpochTraining
from parallel_ml.adapters.web.json_response import JsonResponse
from parallel_ml.adapters.web.parts import Server, answers
from parallel_ml.adapters.web.runs import task_of
from parallel_ml.adapters.web.schemas import TaskTaken

router = APIRouter(prefix="/api/v1/algorithm", tags=["training"])


@router.post("/epoch-train", status_code=202, response_model=TaskTaken, responses=answers(404, bodied=True))
def epoch_train(server: Server, asked: EpochTraining) -> JsonResponse:
    """Train; paths are relative to the server's root and stay inside."""
    status = starting.start_written(server, asked.config(server.settings.root))
    job = status.jobs[0].name
    headers = {"Location": f"/training/progress/{task_of(status.run, job)}"}
    return JsonResponse({"task_id": task_of(status.run, job), "run": status.run, "job": job}, 202, headers=headers)
