"""`/api/v1/runs/{run}/jobs/{job}/logs`: what a job prints, a piece at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from parallel_ml.adapters.web.job_files import files_of
from parallel_ml.adapters.web.json_response import JsonResponse
from parallel_ml.adapters.web.log_pieces import read_piece
from parallel_ml.adapters.web.parts import JobName, RunId, Server, answers
from parallel_ml.adapters.web.schemas import LogPiece

router = APIRouter(prefix="/api/v1/runs/{run}/jobs/{job}", tags=["files"])


@router.get("/logs", response_model=LogPiece, responses=answers(404))
def logs(
    server: Server,
    run: RunId,
    job: JobName,
    after: Annotated[str | None, Query(max_length=400, description="The `next` of the piece before")] = None,
    tail: Annotated[int | None, Query(ge=1, le=10_000, description="Begin with about the last so many lines")] = None,
    limit_bytes: Annotated[int, Query(ge=1024, le=1 << 20, description="About the most that is answered")] = 256 << 10,
) -> JsonResponse:
    """Return lines of the log: from its beginning, from the end, or after a piece; across its rotation."""
    return JsonResponse(read_piece(files_of(server, run, job), after, tail, limit_bytes))
