"""What goes wrong, as problem+json (RFC 9457): one shape for all of it, with what to do where that is known."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from parallel_ml.adapters.web.json_response import ProblemResponse
from parallel_ml.errors import (
    ConfigError,
    ConfigProblem,
    InvalidTransition,
    MissingPackage,
    ParallelMLError,
    PlacementError,
    StoreError,
    UsageError,
)

_TYPE = "urn:parallel-ml:problem:"
_MOST_ERRORS = 50
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_log = logging.getLogger("parallel_ml")


class Problem(ParallelMLError):
    """A request that cannot be carried out.

    Attributes:
        status: The status of HTTP.
        kind: A word for programs.
        detail: A sentence for people.
        hint: What to do about it, or "".
        errors: What is wrong one by one: `key`, `message` and more.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        hint: str = "",
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what is to be told."""
        self.status, self.kind, self.detail, self.hint = status, kind, detail, hint
        self.errors, self.headers = errors, headers
        super().__init__(detail)

    def body(self) -> dict[str, Any]:
        """Return the object that is answered."""
        told: dict[str, Any] = {
            "type": _TYPE + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.hint:
            told["hint"] = self.hint
        if self.errors:
            told["errors"] = list(self.errors[:_MOST_ERRORS])
        return told

    def response(self) -> Response:
        """Return the answer."""
        return ProblemResponse(self.body(), self.status, dict(self.headers or {}))


def not_found(what: str, hint: str = "") -> Problem:
    """Return the problem that something is not there."""
    return Problem(404, "not-found", what, hint)


def conflict(error: UsageError) -> Problem:
    """Return the problem that something cannot be done now."""
    return Problem(409, "conflict", _without_hint(error), error.hint)


def problem_of(error: Exception) -> Problem:
    """Return what to tell of an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ConfigError):
        return Problem(422, "configuration", "the configuration is wrong", errors=[*map(_of_config, error.problems)])
    if isinstance(error, PlacementError):
        return Problem(422, "placement", str(error))
    if isinstance(error, UsageError):
        return Problem(422, "usage", _without_hint(error), error.hint)
    if isinstance(error, MissingPackage):
        return Problem(501, "missing-package", str(error))
    if isinstance(error, ParallelMLError) and not isinstance(error, InvalidTransition):
        kind = "files" if isinstance(error, StoreError) else "unavailable"
        return Problem(503, kind, str(error))
    return Problem(500, "bug", "this is a bug of parallel_ml; the server's output has more")


def handle_problems(app: FastAPI) -> None:
    """Have an application answer its errors as problems."""
    app.add_exception_handler(ParallelMLError, _answer)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _answer)


async def _answer(_request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR and isinstance(error, ParallelMLError):  # else uvicorn does
        _log.error("a request failed", exc_info=error)
    return problem.response()


async def _invalid(_request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    errors = [{"key": ".".join(map(str, one["loc"][1:])), "message": _said(one["msg"])} for one in found]
    where = {one["loc"][0] for one in found}
    what = "body" if "body" in where else "path or query"
    return Problem(422, "invalid", f"the {what} of the request is not what it should be", errors=errors).response()


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_methods(request))}
        return Problem(405, "method-not-allowed", "there is no such method here", headers=headers).response()
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return Problem(error.status_code, kind, str(error.detail), headers=error.headers).response()


def _methods(request: Request) -> list[str]:
    """Return what can be done at a path: each method is a route of its own, and Starlette names those of the first."""
    app: FastAPI = request.app
    scopes = [{**request.scope, "method": method} for method in _METHODS]
    fit = [scope for scope in scopes if any(route.matches(scope)[0] is Match.FULL for route in app.routes)]
    return [scope["method"] for scope in fit]


def _of_config(problem: ConfigProblem) -> dict[str, Any]:
    return {
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
        "file": problem.file,
        "line": problem.line,
    }


def _said(text: str) -> str:
    return text.removeprefix("Value error, ")


def _without_hint(error: UsageError) -> str:
    return str(error).removesuffix(f"; {error.hint}") if error.hint else str(error)
