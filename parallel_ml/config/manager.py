"""The front door: reads the configurations of a run, checks them, and writes the copy of each process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from parallel_ml.config.loaded import LoadedConfig, load_config, load_snapshot
from parallel_ml.config.loading import find_sources
from parallel_ml.config.naming import dependency_problems, with_unique_names
from parallel_ml.config.preflight import look_at
from parallel_ml.config.resolve import ProcessContext, command_line, resolve, unique_path, write_process_config
from parallel_ml.errors import ConfigError, ConfigProblem

__all__ = [
    "ConfigManager",
    "LoadedConfig",
    "ProcessContext",
    "command_line",
    "load_snapshot",
    "resolve",
    "unique_path",
    "write_process_config",
]


class ConfigManager:
    """The configurations of a run, in the order given.

    Example:
        manager = ConfigManager(["config/config1.yaml", "config/config2.yaml"])
        [job.name for job in manager.jobs]
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path] | None = None,
        *,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Read and check the configurations.

        Args:
            paths: Files, directories (their own `*.yaml` and `*.yml`, sorted, not those below) and globs; None is
                `config/config.yaml`.
            cwd: What relative paths are relative to; None is the current folder.
            environ: What `${VARIABLE}` is looked up in; None is the environment of this process.

        Raises:
            ConfigError: All problems of all files, in the order of the files and of their lines.
        """
        self.cwd = Path.cwd() if cwd is None else cwd.absolute()
        problems: list[ConfigProblem] = []
        jobs = []
        for source in find_sources(paths, self.cwd):
            if isinstance(source, ConfigProblem):
                problems.append(source)
                continue
            loaded, found = load_config(source, self.cwd, os.environ if environ is None else environ)
            problems += found
            if loaded is not None:
                jobs.append(loaded)
        self.jobs: tuple[LoadedConfig, ...] = with_unique_names(jobs)
        if not problems:
            problems += dependency_problems(self.jobs)
        _raise_any(problems)

    def preflight(self, runs_dir: Path | None = None) -> tuple[str, ...]:
        """Look at what the jobs need on this machine, before any training; images are counted, not decoded.

        Args:
            runs_dir: The folder that the run's own folder will be made in; None is `./runs`.

        Returns:
            What is allowed and probably not meant, one line each.

        Raises:
            ConfigError: All that stands in the way.
        """
        findings = look_at(self.jobs, self.cwd / (runs_dir or "runs"))
        _raise_any(findings.problems)
        return tuple(findings.warnings)


def _raise_any(problems: Sequence[ConfigProblem]) -> None:
    if problems:
        # A base that several files extend is read for each of them, and is wrong once.
        raise ConfigError(dict.fromkeys(problems))
