"""What the results of a run depend on: code, versions, packages, machine; from `run.json` and each job's own record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from parallel_ml.core.text import number
from parallel_ml.core.units import format_size
from parallel_ml.errors import StoreError
from parallel_ml.report.blocks import Block, Facts, Text
from parallel_ml.report.facts import Report, RunFacts
from parallel_ml.report.words import label
from parallel_ml.store.files import read_json

_NAMED = (
    *("tensorflow", "tensorflow-cpu", "keras", "torch", "torchvision", "jax", "flax", "lightning", "transformers"),
    *("numpy", "scipy", "pandas", "scikit-learn", "xgboost", "lightgbm", "pillow"),
)
"""Packages that are named; `run.json` has all."""
_MOST_RUNS = 30


def origin_blocks(report: Report, language: str) -> list[Block]:
    """Return what each run was made with."""
    found: list[Block] = []
    for run in report.runs[:_MOST_RUNS]:
        if report.several:
            found.append(Text(f"{run.title} ({run.status.run})", strong=True))
        found.append(Facts([(name, value) for name, value in _rows(run, language) if value]))
    return found


def named_packages(plan: Mapping[str, Any]) -> dict[str, str]:
    """Return the packages of a run that matter most, with their versions; of several interpreters the first's."""
    found: dict[str, str] = {}
    for packages in _mapping(plan.get("packages")).values():
        for name in _NAMED:
            if name in _mapping(packages):
                found.setdefault(name, str(packages[name]))
    return found


def other_circumstances(run: RunFacts) -> list[str]:
    """Return the jobs whose newest attempt found other versions or another machine than the run did, each as a line."""
    lines = []
    for job in run.status.jobs:
        try:
            told = read_json(run.layout.job(job.name).attempt(job.attempt).provenance) if job.attempt else None
        except StoreError:
            continue
        if other := list(_others(_mapping(told), run.plan)):
            lines.append(f"{job.name}: {', '.join(other)}")
    return lines


def _others(told: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an attempt's record says beside the plan; it holds only what differs."""
    then = _mapping(plan.get("versions"))
    for name, value in _mapping(told.get("versions")).items():
        if then.get(name) != value:
            yield f"{name} {value}"
    for key in ("hardware", "packages"):
        if key in told:
            yield key


def _rows(run: RunFacts, language: str) -> Iterator[tuple[str, str]]:
    plan = run.plan
    versions, hardware = _mapping(plan.get("versions")), _mapping(plan.get("hardware"))
    yield "parallel_ml", str(versions.get("parallel_ml", ""))
    yield label("python", language), str(versions.get("python", ""))
    yield label("system", language), str(versions.get("platform", ""))
    yield label("git_commit", language), _git(plan, language)
    yield label("code", language), ", ".join(_code(plan))
    yield label("packages", language), ", ".join(f"{name} {value}" for name, value in named_packages(plan).items())
    yield label("machine", language), _machine(hardware)
    cards = [one for one in hardware.get("gpus") or () if isinstance(one, dict)]
    yield label("cards", language), ", ".join(str(one.get("name")) for one in cards) or label("none", language)
    yield label("driver", language), str(hardware.get("driver") or "")
    yield label("not_as_planned", language), "; ".join(other_circumstances(run)[:_MOST_RUNS])


def _git(plan: Mapping[str, Any], language: str) -> str:
    git = _mapping(plan.get("git"))
    if not git.get("commit"):
        return label("no_git", language)
    branch = f" ({git['branch']})" if git.get("branch") else ""
    dirty = label("clean_checkout", language)
    if git.get("dirty"):
        dirty = label("not_committed", language, changed=git.get("changed"), untracked=git.get("untracked"))
    diff = f", {git['diff']}" if git.get("diff") else ""
    return f"{git['commit']}{branch}: {dirty}{diff}"


def _code(plan: Mapping[str, Any]) -> list[str]:
    return [str(one.get("tree", "")) for one in plan.get("code") or () if isinstance(one, dict)]


def _machine(hardware: Mapping[str, Any]) -> str:
    memory = hardware.get("memory_bytes")
    parts = [str(hardware.get("host") or ""), str(hardware.get("cpu") or "")]
    if hardware.get("cores"):
        parts.append(f"x {number(hardware['cores'])}")
    if isinstance(memory, int):
        parts.append(format_size(memory))
    return " ".join(part for part in parts if part)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
