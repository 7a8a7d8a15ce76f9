"""What one attempt runs from: its code pinned to the snapshot, and a record of what the run's plan does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from parallel_ml.core.model import Job
from parallel_ml.errors import BackendError
from parallel_ml.gpu.manager import GPUManager
from parallel_ml.runtime.pin import Pin
from parallel_ml.runtime.provenance import hardware, interpreter_of, linked_folders, packages_of, versions
from parallel_ml.store.files import write_json
from parallel_ml.store.layout import RunLayout


class AttemptProvenance:
    """Pins the attempts of a run, and writes what they depend on before they start."""

    def __init__(self, layout: RunLayout, plan: Mapping[str, Any], gpus: GPUManager) -> None:
        """Keep what the run's plan says; runs of older versions say nothing of code."""
        self._layout, self._plan, self._gpus = layout, plan, gpus
        self._jobs: dict[str, Mapping[str, Any]] = {one["name"]: one for one in plan.get("jobs", ())}

    @cached_property
    def _hardware(self) -> dict[str, Any]:
        return hardware(self._gpus.snapshot())

    def pinned(
        self, job: Job, argv: Sequence[str], env: Mapping[str, str], cwd: Path
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the environment of a job's newest attempt, and write its `provenance.json`.

        Raises:
            BackendError: The snapshot is not there any more.
            StoreError: The record could not be written.
        """
        interpreter = interpreter_of(argv, env)
        number = self._jobs.get(job.name, {}).get("code")
        told, changed, whole = list(argv), dict(env), False
        if number is not None:
            entry = self._plan["code"][number]
            tree = self._layout.dir / entry["tree"]
            if not tree.is_dir():
                raise BackendError(f"starting {job.name}", f"its code is gone from {tree}")
            found = Pin(entry["root"], str(tree)).apply(
                argv, env, cwd, linked_folders(interpreter) if interpreter else ()
            )
            told, changed, whole = found.argv, found.env, found.whole
        self._write(job, number if whole else None, interpreter)
        return told, changed

    def _write(self, job: Job, number: int | None, interpreter: str) -> None:
        attempt = job.attempt
        if attempt is None:
            return
        packages = packages_of(interpreter) if interpreter else {}
        now = {"versions": versions(), "hardware": self._hardware}
        record = {
            "v": 1,
            "seed": job.spec.seed,
            "batch_size": attempt.batch_size,
            "accumulation": attempt.accumulation,
            "code": number,
            "interpreter": interpreter,
            **{key: value for key, value in now.items() if value != self._plan.get(key)},
        }
        if packages != self._plan.get("packages", {}).get(interpreter):
            record["packages"] = packages
        write_json(self._layout.job(job.name).attempt(attempt.number).provenance, record, mode=0o600, durable=False)
