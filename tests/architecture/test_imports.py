"""Who may import whom, and what importing costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "parallel_ml"
HEAVY = (
    "asyncio",
    "fastapi",
    "filelock",
    "keras",
    "numpy",
    "PIL",
    "psutil",
    "pydantic",
    "pynvml",
    "ray",
    "rich",
    "structlog",
    "tensorflow",
    "torch",
    "uvicorn",
    "yaml",
)
MAY_USE = {
    "runtime/shim": {"parallel_ml.runtime.shim"},
    "training": {"parallel_ml.training", "keras", "numpy", "PIL", "tensorflow", "yaml"},
}
# Watches a plain Keras `fit` by the rules of a run, outside of any; what it takes is pure Python.
ALSO = {PACKAGE / "training/alert_callback.py": {"parallel_ml.core"}}
STANDING_ALONE = [
    (path, MAY_USE[folder] | ALSO.get(path, set()))
    for folder in MAY_USE
    for path in sorted((PACKAGE / folder).rglob("*.py"))
]
INSTALLED_AS = {
    "PIL": "pillow",
    "prometheus_client": "prometheus-client",
    "pynvml": "nvidia-ml-py",
    "yaml": "pyyaml",
}


def imported_names(path: Path) -> set[str]:
    """Return the dotted modules that a file imports, inside functions too, but not those for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def not_in_the_standard_library(names: set[str]) -> set[str]:
    """Return the modules that something has to bring."""
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


def dependencies_text() -> str:
    """Return the text of the `dependencies` list of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")]


def test_every_import_contract_is_kept() -> None:
    """Imports go one way, and the core is pure (the contracts stand in pyproject.toml).

    In a process of its own: the linter's way of writing and TensorFlow's log handlers do not go together in one.
    """
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import parallel_ml` costs a few milliseconds: no framework, no NVML, no web stack, none of the dependencies."""
    code = f"import sys, parallel_ml; print([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_user_script_can_report_without_loading_anything_heavy() -> None:
    """`from parallel_ml import params, report` adds nothing heavy to a script of the user's own."""
    names = f"[name for name in {HEAVY!r} if name in sys.modules]"
    code = f"import sys; from parallel_ml import params, report; print({names})"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("path", "allowed"), STANDING_ALONE, ids=[str(path.relative_to(PACKAGE)) for path, _ in STANDING_ALONE]
)
def test_what_runs_beside_the_supervisor_stands_alone(path: Path, allowed: set[str]) -> None:
    """The training process and its shim know nothing of the supervisor's side, and the shim nothing but Python."""
    foreign = {
        name
        for name in not_in_the_standard_library(imported_names(path))
        if not any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed)
    }
    assert not foreign


def test_every_dependency_is_declared_and_used() -> None:
    """What the package imports stands in pyproject.toml, and what stands there as needed by all is imported."""
    declared = set(
        re.findall(r'"([A-Za-z0-9-]+)(?:\[[a-z-]+\])?>=', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    )
    core = set(re.findall(r'^    "([A-Za-z0-9-]+)>=', dependencies_text(), flags=re.MULTILINE))
    used = {
        INSTALLED_AS.get(name.split(".")[0], name.split(".")[0])
        for path in PACKAGE.rglob("*.py")
        for name in not_in_the_standard_library(imported_names(path))
    } - {"parallel_ml", "numpy"}  # numpy comes with TensorFlow and is of its choosing
    assert used - declared == set(), "imported, but not declared"
    assert core - used == set(), "declared, but not imported"
