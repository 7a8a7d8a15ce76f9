"""Names of the jobs of a run: unique, and what depends on what."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_ml.config.fields import nearest
from parallel_ml.config.loaded import LoadedConfig
from parallel_ml.config.schema import LONGEST_NAME
from parallel_ml.errors import ConfigProblem


def with_unique_names(jobs: Sequence[LoadedConfig]) -> tuple[LoadedConfig, ...]:
    """Return the same configurations, those whose name is taken renamed to `name-2`, `name-3` ...

    Names that differ in upper and lower case alone are the same one: some file systems cannot tell them apart. A
    number never makes a name that another configuration has of its own.
    """
    wanted = {job.name.lower() for job in jobs}
    taken: set[str] = set()
    unique = []
    for job in jobs:
        name, number = job.name, 1
        while name.lower() in taken or (number > 1 and name.lower() in wanted):
            number += 1
            suffix = f"-{number}"
            name = job.name[: LONGEST_NAME - len(suffix)] + suffix
        taken.add(name.lower())
        unique.append(job if name == job.name else job.renamed(name))
    return tuple(unique)


def dependency_problems(jobs: Sequence[LoadedConfig]) -> list[ConfigProblem]:
    """Return the dependencies on jobs that are not in this run, and those that go round in a circle."""
    known = {job.name: job for job in jobs}
    problems = []
    for job in jobs:
        for name in job.config.depends_on or ():
            if name not in known:
                guess = nearest(name, known)
                hint = f"did you mean {guess}?" if guess else f"the jobs are {', '.join(known)}"
                problems.append(job.problem(("depends_on",), f"there is no job {name} in this run", hint))
    circle = _circle(known)
    if circle:
        told = " -> ".join([*circle, circle[0]])
        problems.append(known[circle[0]].problem(("depends_on",), f"goes round in a circle: {told}"))
    return problems


def _circle(jobs: dict[str, LoadedConfig]) -> list[str]:
    """Return the names of one circle of dependencies, or nothing."""
    done: set[str] = set()
    for start in jobs:
        path: list[str] = []
        branches = [iter([start])]
        while branches:
            name = next(branches[-1], None)
            if name is None:
                branches.pop()
                if path:
                    done.add(path.pop())
            elif name in path:
                return path[path.index(name) :]
            elif name in jobs and name not in done:
                path.append(name)
                branches.append(iter(jobs[name].config.depends_on or ()))
    return []
