"""`/metrics`: the figures of the runs, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from parallel_ml.adapters.web.parts import Server, answers
from parallel_ml.store.runs import runs_folder

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        **answers(501),
        200: {
            "description": "Prometheus' text format; every name has its unit",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    },
)
def metrics(server: Server) -> Response:
    """Tell the figures of the runs in Prometheus' text format."""
    from parallel_ml.adapters.prometheus import CONTENT_TYPE, render  # noqa: PLC0415 - an extra of its own

    settings = server.settings
    folder = runs_folder(settings.runs_dir, settings.environ, settings.root)
    return Response(render(folder, environ=settings.environ), media_type=CONTENT_TYPE)
