"""`/`: the page and its files. They hold no data and need no token; what they show they ask for with it."""

from __future__ import annotations

from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from parallel_ml.adapters.web.problems import not_found

router = APIRouter(include_in_schema=False)
_KINDS = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$"


@router.get("/")
def index() -> Response:
    """Return the page."""
    return _file("index.html")


@router.get("/favicon.ico")
def icon() -> Response:
    """Return nothing: the page names its own."""
    return Response(status_code=204)


@router.get("/page/{name}")
def file(name: Annotated[str, Path(pattern=_NAME)]) -> Response:
    """Return a file of the page."""
    return _file(name)


def _file(name: str) -> Response:
    """Return a file of the package's own folder `page`, which has no others below it.

    Raises:
        Problem: There is no such file.
    """
    kind = _KINDS.get(name.rpartition(".")[2])
    found = resources.files("parallel_ml.adapters.web") / "page" / name
    if kind is None or not found.is_file():
        raise not_found(f"the page has no file {name}")
    return Response(found.read_bytes(), media_type=kind, headers={"Cache-Control": "no-cache"})
