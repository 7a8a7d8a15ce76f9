"""From a job that was placed to all that its start needs: its own configuration, command line and environment."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from parallel_ml.config.manager import LoadedConfig, ProcessContext, command_line, load_snapshot, write_process_config
from parallel_ml.core.batch import BatchPlan
from parallel_ml.core.codec import encode
from parallel_ml.core.machine import pause_patience_s
from parallel_ml.core.model import Attempt, Job
from parallel_ml.errors import BackendError
from parallel_ml.gpu.environment import THREAD_VARIABLES
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.runtime.attempt_provenance import AttemptProvenance
from parallel_ml.runtime.backend import Launch
from parallel_ml.runtime.origin import HEARTBEAT_S, TRAINING, Origin, entry_of, origin_of
from parallel_ml.runtime.sweep import TOKEN_VARIABLE
from parallel_ml.store.files import make_dir, read_whole, store_errors, write_json
from parallel_ml.store.layout import JobLayout, RunLayout

LONGEST_PARAMS = 32 * 1024
"""In characters; Linux takes 128 KiB a variable (execve(2)), and all of them share the room of the stack."""

_EVEN = {"PYTHONHASHSEED": "0"}
"""What every job starts from unless the user says otherwise, so that a forked one computes what a cold one does."""


class AttemptPreparer:
    """Writes an attempt's files from what the run's directory holds, so that any supervisor can."""

    def __init__(
        self, layout: RunLayout, plan: Mapping[str, Any], gpus: GPUManager, environ: Mapping[str, str]
    ) -> None:
        """Keep what all attempts of the run share.

        Args:
            layout: The run's files.
            plan: What `run.json` says.
            gpus: Knows the environment that an allocation needs.
            environ: The environment that jobs inherit, and that fills in `${VARIABLES}`.
        """
        self._layout, self._plan, self._gpus, self._environ = layout, plan, gpus, environ
        self._provenance = AttemptProvenance(layout, plan, gpus)

    def prepare(self, job: Job) -> Launch:
        """Write the newest attempt's files and return its launch.

        Raises:
            ConfigError: The configuration cannot be filled in now (a variable is not set any more).
            StoreError: A file could not be written.
            BackendError: The job was not placed.
        """
        attempt = job.attempt
        if attempt is None:
            raise BackendError(f"preparing {job.name}", "it has no attempt")
        files = self._layout.job(job.name)
        with store_errors(files.source, "reading"):
            text = read_whole(files.source).decode("utf-8")
        cwd = Path(self._plan["cwd"])
        loaded = load_snapshot(text, source=job.spec.source, cwd=cwd, environ=self._environ)
        make_dir(files.attempt(attempt.number).dir)
        make_dir(files.checkpoints)
        write_rates(files, job)
        context = self._context(job, attempt, cwd)
        config = write_process_config(loaded, context)
        token = secrets.token_hex(16)
        folder = _working_folder(loaded, cwd)
        env = self._environment(job, attempt, loaded, config, token)
        command = command_line(loaded, config, context)
        argv, env = self._provenance.pinned(job, command, env, folder)
        origin, entry = _origin(loaded, argv, env)
        plan = {
            "v": 1,
            "token": token,
            "process_id": job.spec.position,
            "attempt": attempt.number,
            "argv": argv,
            "program": command[0],
            "cwd": str(folder),
            "grace_s": job.spec.grace_s,
            "built_in": loaded.config.built_in,
            "pause_signal": loaded.config.pause_signal,
            "pause_patience_s": pause_patience_s(job.spec),
            "log": str(files.log),
            "older_log": str(files.older_log),
            "log_max_bytes": job.spec.log_max_bytes,
            "metrics": str(files.metrics),
            "metrics_from_output": job.spec.kind == "command" and loaded.config.metrics_from_output is not False,
            "result": str(files.result) if job.spec.kind == "command" else None,
            "image": origin.key if origin else None,
            "entry": entry,
            "heartbeat_s": HEARTBEAT_S if loaded.config.built_in else None,
        }
        return Launch(job.name, attempt.number, files.attempt(attempt.number), plan, env, origin)

    def _context(self, job: Job, attempt: Attempt, cwd: Path) -> ProcessContext:
        files = self._layout.job(job.name)
        batch = None if attempt.batch_size is None else BatchPlan(attempt.batch_size, attempt.accumulation)
        return ProcessContext(
            run_id=self._layout.dir.name,
            job=job.name,
            process_id=job.spec.position,
            attempt=attempt.number,
            seed=job.spec.seed,
            batch=batch,
            allocation=attempt.allocation.to_dict(),
            job_dir=files.dir,
            attempt_dir=files.attempt(attempt.number).dir,
            checkpoint_dir=files.checkpoints,
            cwd=cwd,
            cpus=attempt.allocation.cpus,
            log_file=files.log,
            metrics_file=files.metrics,
            history_file=files.history,
            result_file=files.result,
            evaluation_batch_size=attempt.evaluation_batch_size,
            rates_file=files.rates,
        )

    def _environment(
        self, job: Job, attempt: Attempt, loaded: LoadedConfig, config: Path, token: str
    ) -> dict[str, str]:
        """Return the process's environment: inherited, the user's own, the allocation's, and who it is.

        How many threads a library starts is the configuration's own affair where it says so.
        """
        files = self._layout.job(job.name)
        own = {**_EVEN, **self._environ, "PYTHONUNBUFFERED": "1", **loaded.config.env}
        return {
            **own,
            **self._gpus.environment(attempt.allocation, own),
            **{name: value for name, value in loaded.config.env.items() if name in THREAD_VARIABLES},
            "PARALLEL_ML_RUN": self._layout.dir.name,
            "PARALLEL_ML_JOB": job.name,
            "PARALLEL_ML_PROCESS_ID": str(job.spec.position),
            "PARALLEL_ML_ATTEMPT": str(attempt.number),
            "PARALLEL_ML_SEED": str(job.spec.seed),
            "PARALLEL_ML_JOB_DIR": str(files.dir),
            "PARALLEL_ML_ATTEMPT_DIR": str(files.attempt(attempt.number).dir),
            "PARALLEL_ML_CHECKPOINT_DIR": str(files.checkpoints),
            "PARALLEL_ML_CONFIG": str(config),
            "PARALLEL_ML_PARAMS": _params_text(loaded),
            **_batch_variables(attempt),
            TOKEN_VARIABLE: token,
        }


def _origin(
    loaded: LoadedConfig, argv: Sequence[str], env: dict[str, str]
) -> tuple[Origin | None, dict[str, object] | None]:
    """Return what a process may be forked from and what it then runs; settings that both starts need go into `env`."""
    wanted = loaded.config.warm
    if wanted is False or not (loaded.config.built_in or wanted):
        return None, None
    entry = entry_of(argv)
    if entry is None:
        return None, None
    env["OPENBLAS_NUM_THREADS"] = "1"  # with a pool of threads in numpy's library there would be nothing to fork
    if loaded.config.built_in:
        return origin_of(argv[0], (TRAINING,), env), {**entry, "own": True}
    modules = list(wanted) if isinstance(wanted, list) else []
    if "torch" in modules:
        modules.append("torch._dynamo")  # the first optimizer imports it
    return origin_of(argv[0], modules, env), entry


def write_rates(files: JobLayout, job: Job) -> None:
    """Write what was ordered for a training's learning rate; nothing where nothing was.

    Raises:
        StoreError: It could not be written.
    """
    if job.rate_cuts:
        write_json(files.rates, {"v": 1, "cuts": encode(job.rate_cuts)})


def _batch_variables(attempt: Attempt) -> dict[str, str]:
    if attempt.batch_size is None:
        return {}
    return {"PARALLEL_ML_BATCH_SIZE": str(attempt.batch_size), "PARALLEL_ML_ACCUMULATION": str(attempt.accumulation)}


def _params_text(loaded: LoadedConfig) -> str:
    """Return `params` as JSON; "" where they are too long for an environment, to be read from the configuration."""
    text = json.dumps(loaded.config.params)
    return text if len(text) <= LONGEST_PARAMS else ""


def _working_folder(loaded: LoadedConfig, cwd: Path) -> Path:
    return cwd / Path(loaded.config.cwd).expanduser() if loaded.config.cwd else cwd
