"""`mcp`: serves runs to assistants, by the Model Context Protocol; over stdin and stdout, or over HTTP."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from parallel_ml.adapters.cli.arguments import examples
from parallel_ml.adapters.web.token import VARIABLE, read_token
from parallel_ml.errors import MissingPackage, UsageError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_EXTRA = {"fastapi", "mcp", "starlette", "uvicorn"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument("--http", type=_port, metavar="PORT", help="over HTTP on 127.0.0.1 instead; 0 is any free port")
    parser.add_argument(
        "--root", metavar="DIR", help="the folder of the configurations, which none may leave (default: this one)"
    )
    parser.description = (
        "Serve runs to assistants by the Model Context Protocol. A client starts this command itself and talks to it"
        "\nover stdin and stdout; with --http it is asked with the token of the server: Authorization: Bearer TOKEN."
    )
    examples(parser, "mcp --root trainings", "mcp --http 8770")


def run(args: argparse.Namespace) -> int:
    """Serve until the client leaves, or Ctrl-C.

    Raises:
        UsageError: There is no such folder, the port cannot be had, or the token is no good.
        MissingPackage: The extra is not installed.
    """
    root = _root(args.root)
    try:
        from parallel_ml.adapters.mcp_runs import Served  # noqa: PLC0415 - `mcp --help` needs none of it
        from parallel_ml.adapters.mcp_server import make_server  # noqa: PLC0415 - an extra

        if args.http is not None:
            from parallel_ml.adapters.mcp_http import serve_http  # noqa: PLC0415 - only for HTTP
    except ModuleNotFoundError as error:
        if (missing := str(error.name).partition(".")[0]) in _EXTRA:
            raise MissingPackage(missing, "the MCP server", "mcp") from error
        raise
    served = Served(root, args.runs_dir, _of_jobs(os.environ))
    if args.http is None:
        return _over_pipes(make_server(served))
    token, source = read_token(os.environ)
    serve_http(make_server(served), served, args.http, token, partial(_announce, source))
    return 0


def _announce(source: str, url: str) -> None:
    print(f"MCP at {url}; the token is in {source}", flush=True)


def _over_pipes(server: MCPServer[None]) -> int:
    """Serve until the input ends; nothing but the protocol goes to stdout."""
    if sys.stdin is not None and sys.stdin.isatty():
        print("an MCP client starts this itself, see docs/mcp.md; Ctrl-C ends it", file=sys.stderr)
    # Ctrl-C ends this process at once: the thread that reads the input waits for a line that may never come.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        server.run("stdio")
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def _of_jobs(environ: os._Environ[str]) -> dict[str, str]:
    """Return the environment of the jobs: they have no business with this server."""
    return {name: value for name, value in environ.items() if name != VARIABLE}


def _root(named: str | None) -> Path:
    root = Path(named or ".").expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f"--root {named} is no folder", "give the folder that the configurations are in")
    return root


def _port(text: str) -> int:
    """Read a port."""
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 16):
        message = f"must be a port from 0 to 65535, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)
