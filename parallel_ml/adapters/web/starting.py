"""Starting runs: always in a process of their own session, which outlives the server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from parallel_ml.adapters.confined import MUST_BE_YOURS, first_foreign, on_the_way
from parallel_ml.adapters.web.parts import Parts
from parallel_ml.adapters.web.paths import inside
from parallel_ml.adapters.web.problems import Problem, not_found
from parallel_ml.adapters.web.settings import ServerSettings
from parallel_ml.config.loading import Source, find_sources
from parallel_ml.core.status import RunStatus
from parallel_ml.errors import ConfigError, ConfigProblem
from parallel_ml.runtime.executor import ParallelMLExecutor


def start(
    server: Parts, configs: Sequence[str], *, name: str | None, max_parallel: int | None, gpus: str | None
) -> RunStatus:
    """Start configurations that lie under the root.

    Raises:
        Problem: One is not there, lies elsewhere, or may be somebody else's.
        ConfigError, PlacementError, UsageError, BackendError, StoreError: Nothing was started.
    """
    return _start(server, _checked(server.settings, configs), name=name, max_parallel=max_parallel, gpus=gpus)


def start_written(server: Parts, config: Mapping[str, Any]) -> RunStatus:
    """Start one configuration that the server has put together itself.

    Raises:
        ConfigError, PlacementError, UsageError, BackendError, StoreError: Nothing was started.
    """
    with tempfile.TemporaryDirectory(prefix="parallel-ml-") as folder:  # the run has a copy of its own
        path = Path(folder) / "request.yaml"
        path.write_text(yaml.safe_dump(_literal(config), allow_unicode=True, sort_keys=False), encoding="utf-8")
        try:
            return _start(server, [str(path)])
        except ConfigError as error:  # the file is none that whoever asked knows
            raise ConfigError(
                ConfigProblem(None, None, one.key, one.message, one.hint) for one in error.problems
            ) from error


def _start(server: Parts, configs: Sequence[str], **options: Any) -> RunStatus:
    settings = server.settings
    with server.slowly(), server.starting:
        executor = ParallelMLExecutor(
            list(configs), runs_dir=settings.runs_dir, cwd=settings.root, environ=settings.environ, **options
        )
        return executor.detach()


def _checked(settings: ServerSettings, configs: Sequence[str]) -> list[str]:
    """Return the files that are meant, each inside the root, the links of folders and globs followed as well."""
    root = settings.root
    files: list[Source] = []
    for named in configs:
        literal = inside(root, named)
        for path in on_the_way(named, root):
            inside(root, str(path))
        for found in find_sources(str(literal) if literal.exists() else named, root):
            if isinstance(found, ConfigProblem):
                raise not_found(f"{named[:200]!r}: {found.message}", found.hint)
            files.append(Source(inside(root, str(found.path)), found.shown))
    foreign = first_foreign(files, settings.environ)
    if foreign is not None:
        what = f"{os.path.relpath(foreign, root)[:200]} may have been written by somebody else"
        raise Problem(403, "not-yours", what, MUST_BE_YOURS)
    return [os.path.relpath(one.path, root) for one in files]


def _literal(value: Any) -> Any:
    """Return a value in which `${` is text: a request must not read the server's environment."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_literal(inner) for inner in value]
    return value
