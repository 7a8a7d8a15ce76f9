"""What every file of the project keeps to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import parallel_ml

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "parallel_ml").rglob("*.py"))
OURS = (".ci", "benchmarks", "config", "contrib", "docs", "parallel_ml", "sample_data", "scripts", "tests")
TEXT = {
    "",
    ".c",
    ".cfg",
    ".css",
    ".html",
    ".js",
    ".json",
    ".md",
    ".py",
    ".sh",
    ".svg",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}
HOME_OF_SOMEBODY = re.compile(r"(?:/home/|/Users/|/root/|[A-Z]:\\Users\\)(?!\.\.\.)[\w.-]+")


def text_files() -> list[Path]:
    """Return the project's own text files, those at the top included."""
    inside = (path for folder in OURS for path in (ROOT / folder).rglob("*"))
    at_the_top = (path for path in ROOT.iterdir() if path.suffix in {".md", ".toml"})
    return sorted(
        path
        for path in (*inside, *at_the_top)
        if path.is_file() and path.suffix in TEXT and "__pycache__" not in path.parts
    )


def names_in_all(path: Path) -> list[str] | None:
    """Return a module's `__all__`, or None where it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def module_id(path: Path) -> str:
    """Name a module in pytest's output."""
    return str(path.relative_to(ROOT))


def test_the_public_names_are_those_that_have_a_home() -> None:
    """`__all__` is what can be loaded lazily, and the version."""
    assert set(parallel_ml.__all__) == {*parallel_ml._HOMES, "__version__"}


@pytest.mark.parametrize("name", parallel_ml.__all__)
def test_every_public_name_loads(name: str) -> None:
    """Each name of `__all__` is there, and `dir()` shows it."""
    assert getattr(parallel_ml, name) is not None
    assert name in dir(parallel_ml)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy loading answers like any module: with the name that it does not have."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = parallel_ml.no_such_name


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_all_is_sorted(path: Path) -> None:
    """Where a module says what is public, it says so in order and without repeating itself."""
    names = names_in_all(path)
    assert names is None or names == sorted(set(names))


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_a_module_says_what_it_holds(path: Path) -> None:
    """Each module starts with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_a_module_has_one_responsibility(path: Path) -> None:
    """No file has more than 400 lines, and none is a drawer for odds and ends."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in {"common", "helpers", "misc", "util", "utils"}


def test_no_file_names_the_folder_of_a_person() -> None:
    """No text of the project holds an absolute path of somebody's home."""
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in text_files()
        for match in HOME_OF_SOMEBODY.finditer(path.read_text(encoding="utf-8"))
    }
    assert not found


def test_the_version_has_one_home() -> None:
    """pyproject.toml reads the version from the package, and the package's is a plain release number."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in project
    assert 'path = "parallel_ml/__init__.py"' in project
    assert re.fullmatch(r"\d+\.\d+\.\d+", parallel_ml.__version__)
