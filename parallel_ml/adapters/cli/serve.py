"""`serve`: the runs as a page, as REST and as streams, for this machine alone unless it is told otherwise."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, examples
from parallel_ml.adapters.cli.text import safe
from parallel_ml.errors import MissingPackage, UsageError

if TYPE_CHECKING:
    from parallel_ml.adapters.web.settings import ServerSettings

DEFAULT_PORT = 8765
_NEEDED = ("fastapi", "uvicorn", "websockets")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, metavar="N", help=f"default {DEFAULT_PORT}; 0: any")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default 127.0.0.1, this machine alone")
    parser.add_argument("--root", metavar="DIR", help="where configurations and data lie (default: this folder)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name of this server, that of a proxy say; believed with any port",
    )
    add_json(parser, "the address")
    examples(parser, "serve", "serve --port 9000 --root experiments")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; runs go on.

    Raises:
        MissingPackage: The extra is not installed.
        UsageError: The root is no folder, the port is taken, the token is too weak.
    """
    missing = next((name for name in _NEEDED if find_spec(name) is None), None)
    if missing is not None:
        raise MissingPackage(missing, "serve", "serve")
    from parallel_ml.adapters.web.server import allow_files, listen, make_server  # noqa: PLC0415 - an extra, and heavy
    from parallel_ml.adapters.web.settings import ServerSettings, own_names  # noqa: PLC0415
    from parallel_ml.adapters.web.token import VARIABLE, read_token  # noqa: PLC0415

    root = Path(args.root or ".").expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f"the root {args.root} is no folder")
    token, source = read_token(os.environ)
    allow_files()
    listening = listen(args.host, args.port)
    with listening:
        settings = ServerSettings(
            root=root,
            token=token,
            runs_dir=args.runs_dir,
            host=args.host,
            port=listening.getsockname()[1],
            environ={name: value for name, value in os.environ.items() if name != VARIABLE},
            names=own_names(args.host),
            proxy_names=frozenset(name.lower().strip("[]") for name in args.allow_host),
        )
        _announce(settings, source, as_json=args.json)
        make_server(settings).run(sockets=[listening])
    return 0


def _announce(settings: ServerSettings, source: str, *, as_json: bool) -> None:
    """Say where it is. The token goes to a terminal alone, behind the `#`: that part of a URL is never sent."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}/"
    if as_json:
        screen.print_json({"url": url, "root": str(settings.root), "token": source, "pid": os.getpid()})
    elif screen.is_terminal(sys.stdout):
        print(f"open {url}#token={settings.token}", flush=True)
        print(f"configurations and data are looked for in {safe(str(settings.root))}; Ctrl-C ends, runs go on")
    else:
        print(f"serving {url} (the token: {safe(source)})", flush=True)
    if settings.is_open:
        told = "whoever has the token can start what lies under the root, and all is sent unencrypted"
        print(f"warning: other machines can reach this server; {told}", file=sys.stderr)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        message = f"must be a port from 0 to 65535, not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)
