"""`/api/v1/runs/{run}/stop`, `pause`, `resume`, `retry`: what can be asked of a run."""

from __future__ import annotations

from fastapi import APIRouter

from parallel_ml.adapters.web import ordering
from parallel_ml.adapters.web.json_response import JsonResponse
from parallel_ml.adapters.web.parts import RunId, Server, answers
from parallel_ml.adapters.web.schemas import OrderAsked, OrderTaken, PauseAsked, StopAsked

router = APIRouter(prefix="/api/v1/runs/{run}", tags=["orders"])
_ANSWERS = answers(404, 409, bodied=True)


@router.post("/stop", status_code=202, response_model=OrderTaken, responses=_ANSWERS)
def stop(server: Server, run: RunId, asked: StopAsked | None = None) -> JsonResponse:
    """Stop a run, or one job of it."""
    wanted = asked or StopAsked()
    job = wanted.job
    return _taken(ordering.give(server, run, job, lambda client: client.stop(job, at_once=wanted.now)))


@router.post("/pause", status_code=202, response_model=OrderTaken, responses=_ANSWERS)
def pause(server: Server, run: RunId, asked: PauseAsked | None = None) -> JsonResponse:
    """Have a run, or one job of it, save and end, so that its GPU is free."""
    wanted = asked or PauseAsked()
    job = wanted.job
    return _taken(ordering.give(server, run, job, lambda client: client.pause(job, freeze=wanted.freeze)))


@router.post("/resume", status_code=202, response_model=OrderTaken, responses=_ANSWERS)
def resume(server: Server, run: RunId, asked: OrderAsked | None = None) -> JsonResponse:
    """Let paused jobs go on, and take over a run that nobody drives."""
    return _taken(ordering.resume(server, run, (asked or OrderAsked()).job))


@router.post("/retry", status_code=202, response_model=OrderTaken, responses=_ANSWERS)
def retry(server: Server, run: RunId, asked: OrderAsked | None = None) -> JsonResponse:
    """Try failed and stopped jobs again, from their last checkpoint."""
    return _taken(ordering.retry(server, run, (asked or OrderAsked()).job))


def _taken(taken: ordering.Taken) -> JsonResponse:
    return JsonResponse(taken.to_dict(), 202)
