"""What a configuration starts, looked for before anything starts: an own program, or an own model's function.

Nothing of it is run or imported.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import symtable
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from parallel_ml.config.fields import located, nearest, shell_operator
from parallel_ml.config.loaded import NO_SHELL, LoadedConfig
from parallel_ml.config.resolve import find_program
from parallel_ml.errors import ConfigProblem

_MADE_AT_RUN_TIME = frozenset({"__getattr__", "globals"})
"""A module with these may have names that no reader of its text finds."""


def command_problems(job: LoadedConfig) -> Iterator[ConfigProblem]:
    """Yield why an own program cannot be started."""
    command, config = job.config.command or [], job.config
    yield from _code_problems(job)
    folder = located(config.cwd or ".", job.cwd)
    if not folder.is_dir():
        yield job.problem(("cwd",), f"there is no folder {folder}")
        return
    program, *arguments = command
    if "{" in program:
        return
    if "/" in program and not _is_executable(folder / program):
        hint = "make it executable with chmod +x" if (folder / program).is_file() else ""
        yield job.problem(("command",), f"{program} is not a program that can be run", hint)
    elif find_program(program, config.env.get("PATH")) is None:
        written = job.values["command"]
        hint = NO_SHELL if isinstance(written, str) and shell_operator(written) else ""
        yield job.problem(("command",), f"the program {program} is not found in PATH", hint)
    script = next((part for part in arguments if not part.startswith("-")), "")
    is_python = Path(program).name.startswith("python") and script.endswith(".py") and "{" not in script
    if is_python and arguments[0] == script and not (folder / script).is_file():
        yield job.problem(("command",), f"there is no file {script} in {folder}")


def _code_problems(job: LoadedConfig) -> Iterator[ConfigProblem]:
    """Yield what `code` names and is not there."""
    for name in job.config.code if isinstance(job.config.code, list) else ():
        path = located(name, job.cwd)
        if not path.exists():
            yield job.problem(("code",), f"there is no {path}", "it is relative to the folder where run is typed")


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def model_problems(job: LoadedConfig) -> Iterator[ConfigProblem]:
    """Yield why the function of a `module:function` model cannot be called."""
    yield from _code_problems(job)
    training = job.config.model_training
    key = "model_type" if training and training.model_type else "model"
    named = (training and (training.model_type or training.model)) or ""
    if ":" not in named:
        return
    module, _, function = named.partition(":")
    path = [str(job.cwd), *_python_path(job), *sys.path]
    try:
        spec, missing = _find_module(module, path, job.cwd)
        if missing:
            hint = f"it is looked for in {job.cwd}, and where Python finds packages"
            yield job.problem(("model_training", key), f"there is no module {missing}", hint)
        elif spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            known = defined_names(Path(spec.origin))
            if known is not None and function not in known:
                guess = nearest(function, known)
                hint = f"did you mean {guess}?" if guess else ""
                yield job.problem(("model_training", key), f"{spec.origin} has no {function}", hint)
    except SyntaxError as error:
        place = f"{error.filename}:{error.lineno}"
        yield job.problem(("model_training", key), f"{place} is no valid Python: {error.msg}")


def _python_path(job: LoadedConfig) -> list[str]:
    """Return the folders that the configuration itself adds to where Python looks."""
    return [str(job.cwd / folder) for folder in job.config.env.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _find_module(name: str, path: list[str], cwd: Path) -> tuple[ModuleSpec | None, str]:
    """Return where a module is, None where only importing it could tell; and the name of what is not there, or "".

    A package may make modules of its own when it is imported, so that only those of the run's folder, which a user
    wrote for this, are known to have no others than their files.
    """
    first, *below = name.split(".")
    PathFinder.invalidate_caches()  # somebody may have written it a moment ago
    spec = PathFinder.find_spec(first, path) or _found_otherwise(first)
    if spec is None:
        return None, first
    for place, part in enumerate(below):
        found = ".".join([first, *below[:place]])
        folders = list(spec.submodule_search_locations or ())
        inner = PathFinder.find_spec(f"{found}.{part}", folders)
        if inner is None:
            own = any(Path(home).is_relative_to(cwd) for home in folders or [spec.origin or ""])
            return None, f"{found}.{part}" if own else ""
        spec = inner
    return spec, ""


def _found_otherwise(name: str) -> ModuleSpec | None:
    """Return where a module is that no folder holds: one that is built in, or installed as a link to its sources."""
    with contextlib.suppress(ValueError):  # it is loaded, and says nothing of where it came from
        return importlib.util.find_spec(name)
    return None


def defined_names(path: Path) -> frozenset[str] | None:
    """Return what a Python file defines or imports at its top level; None where that cannot be told from its text.

    Raises:
        SyntaxError: It is no Python.
    """
    try:
        text = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's text, and said when it is imported
            imports = [node for node in ast.parse(text, str(path)).body if isinstance(node, ast.ImportFrom)]
            symbols = symtable.symtable(text, str(path), "exec").get_symbols()  # type: ignore[arg-type]  # or bytes
    except (OSError, ValueError, RecursionError):
        return None
    told = all(alias.name != "*" for node in imports for alias in node.names)
    if not told or any(symbol.get_name() in _MADE_AT_RUN_TIME for symbol in symbols):
        return None
    return frozenset(symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported())
