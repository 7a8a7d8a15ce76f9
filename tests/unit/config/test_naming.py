"""Names of jobs are unique, and dependencies are on jobs that exist."""

from __future__ import annotations

import pytest

from parallel_ml.config.loaded import name_of_file
from tests.unit.config.conftest import Folder

OWN = "command: [python, t.py]\n"


def names(folder: Folder, *texts: str) -> list[str]:
    """Return the names of the jobs of some configurations, file1.yaml and on."""
    files = [folder.write(f"file{number}.yaml", OWN + text) for number, text in enumerate(texts, 1)]
    return [job.name for job in folder.load(*files).jobs]


@pytest.mark.parametrize(
    ("given", "unique"),
    [
        (["a", "a", "a"], ["a", "a-2", "a-3"]),
        (["a", "a", "a-2"], ["a", "a-3", "a-2"]),
        (["a-2", "a", "a"], ["a-2", "a", "a-3"]),
        (["Net", "net"], ["Net", "net-2"]),
        (["x" * 100, "x" * 100], ["x" * 100, "x" * 98 + "-2"]),
    ],
)
def test_the_same_name_twice_gets_a_number(folder: Folder, given: list[str], unique: list[str]) -> None:
    """Never one that another configuration has of its own, and upper and lower case are alike."""
    assert names(folder, *(f"name: {name}\n" for name in given)) == unique


def test_the_same_file_twice_is_two_jobs(folder: Folder) -> None:
    """In the order given."""
    folder.write("a.yaml", OWN)
    assert [job.name for job in folder.load("a.yaml", "a.yaml").jobs] == ["a", "a-2"]


def test_a_new_name_is_in_the_snapshot(folder: Folder) -> None:
    """So that whoever reads it later sees the same job."""
    folder.write("a.yaml", OWN)
    assert "name: a-2\n" in folder.load("a.yaml", "a.yaml").jobs[1].snapshot()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("c/my net (2).yaml", "my-net-2"),
        ("训练.yaml", "job"),
        ("...yaml", "job"),
        ("a.b.yaml", "a.b"),
        ("-x-.yml", "x"),
    ],
)
def test_a_file_gives_its_stem(path: str, name: str) -> None:
    """Characters that no name has become a '-'."""
    assert name_of_file(path) == name


def test_dependencies_are_kept(folder: Folder) -> None:
    """One name or a list of them."""
    folder.write("a.yaml", OWN)
    folder.write("b.yaml", f"{OWN}depends_on: a\n")
    folder.write("c.yaml", f"{OWN}depends_on: [a, b]\n")
    assert [job.spec(0).depends_on for job in folder.load("c.yaml", "b.yaml", "a.yaml").jobs] == [
        ("a", "b"),
        ("a",),
        (),
    ]


def test_an_unknown_dependency_names_the_nearest_job(folder: Folder) -> None:
    """And the line."""
    folder.write("train.yaml", OWN)
    folder.write("b.yaml", f"{OWN}depends_on: trian\n")
    (problem,) = folder.problems("train.yaml", "b.yaml")
    assert (problem.file, problem.line, problem.hint) == ("b.yaml", 2, "did you mean train?")


def test_a_circle_of_dependencies_is_told(folder: Folder) -> None:
    """With the whole way round."""
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        folder.write(f"{name}.yaml", f"{OWN}depends_on: {other}\n")
    (problem,) = folder.problems("a.yaml", "b.yaml", "c.yaml")
    assert problem.message == "goes round in a circle: a -> b -> c -> a"
