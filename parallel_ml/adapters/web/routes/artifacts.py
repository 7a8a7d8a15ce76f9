"""`artifacts`: the files that a job leaves, and its run's reports. Always to be saved, never to be shown here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import FileResponse

from parallel_ml.adapters.web.job_files import artifacts_of, files_of, find_artifact, find_report
from parallel_ml.adapters.web.json_response import JsonResponse
from parallel_ml.adapters.web.parts import JobName, RunId, Server, answers
from parallel_ml.adapters.web.schemas import Artifacts

router = APIRouter(prefix="/api/v1/runs/{run}", tags=["files"])
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_SEALED = {"Content-Security-Policy": "sandbox; default-src 'none'"}
"""A report, or a model's file, is of the jobs' making: a browser is not to run any of it with the page's rights."""


@router.get("/jobs/{job}/artifacts", response_model=Artifacts, responses=answers(404))
def list_artifacts(server: Server, run: RunId, job: JobName) -> JsonResponse:
    """List the files that a job has left: its model, its states, its result, its logs."""
    return JsonResponse({"artifacts": artifacts_of(files_of(server, run, job))})


@router.get("/jobs/{job}/artifacts/{path:path}", response_class=FileResponse, responses={**answers(404), **_BYTES})
def get_artifact(
    server: Server,
    run: RunId,
    job: JobName,
    path: Annotated[str, Path(max_length=1000, description="As the list has it")],
) -> FileResponse:
    """Return a file that a job has left."""
    return _attached(str(find_artifact(files_of(server, run, job), path)))


@router.get("/report.{form}", response_class=FileResponse, responses={**answers(404), **_BYTES})
def get_report(
    server: Server, run: RunId, form: Annotated[str, Path(pattern="^(html|md|json)$", description="html, md or json")]
) -> FileResponse:
    """Return the run's report, once there is one."""
    return _attached(str(find_report(server, run, form)))


def _attached(path: str) -> FileResponse:
    name = path.rpartition("/")[2]
    return FileResponse(path, media_type="application/octet-stream", filename=name, headers=_SEALED)
