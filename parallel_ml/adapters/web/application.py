"""The application: the routes behind the guard, its description, its errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer

from parallel_ml import __version__
from parallel_ml.adapters.web.guard import Guard
from parallel_ml.adapters.web.parts import Parts, make_parts
from parallel_ml.adapters.web.problems import handle_problems
from parallel_ml.adapters.web.routes import (
    artifacts,
    epoch_train,
    events,
    logs,
    measurements,
    orders,
    page,
    prometheus,
    runs,
    sockets,
    training,
)
from parallel_ml.adapters.web.schemas import ProblemDetails
from parallel_ml.adapters.web.settings import ServerSettings

_ROUTES = (runs, orders, logs, measurements, artifacts, events, training, epoch_train, prometheus)
_DESCRIPTION = """\
Runs of trainings: start, see, stop, pause, resume, retry, follow.

Every request needs `Authorization: Bearer TOKEN`. Bodies are JSON. Times are ISO 8601 in UTC, durations in seconds,
memory in MB (MiB), utilisation in percent, accuracies in [0, 1]. What goes wrong is answered as
`application/problem+json` (RFC 9457). Jobs run in processes of their own: the server may end, and come back.
"""


def make_app(settings: ServerSettings) -> FastAPI:
    """Return the application of a server."""
    parts = make_parts(settings)
    app = FastAPI(
        title="parallel_ml",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.parts = parts
    bearer = HTTPBearer(auto_error=False, description="The token that `parallel-ml serve` names")  # the guard decides
    for module in _ROUTES:
        app.include_router(module.router, dependencies=[Depends(bearer)])
    app.include_router(sockets.router)
    app.include_router(page.router)
    handle_problems(app)
    app.add_middleware(Guard, settings=settings)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    yield
    await parts.watch.close()
    await parts.followers.close()


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with the problems in place of FastAPI's own errors."""
    if app.openapi_schema is None:
        told = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = told["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas[ProblemDetails.__name__] = ProblemDetails.model_json_schema()
        app.openapi_schema = told
    return app.openapi_schema
