"""From the command line that the user wrote to the one that runs the code of a snapshot.

The working folder stays the user's own. What changes is the program's path, where Python looks for modules, and nothing
else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parallel_ml.runtime.program import Program, ProgramKind, read_command

_MAIN = str(Path(__file__).with_name("pinned_main.py"))


@dataclass(frozen=True)
class Pinned:
    """What is started instead.

    Attributes:
        whole: Whether the program is that of the snapshot; else it is as it is now.
    """

    argv: list[str]
    env: dict[str, str]
    whole: bool


@dataclass(frozen=True)
class Pin:
    """A snapshot that a job runs from: what stands for `root` is in `tree`."""

    root: str
    tree: str

    def apply(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, packages: Sequence[str] = ()) -> Pinned:
        """Return what runs from the snapshot.

        Args:
            argv: The command line.
            env: The process's whole environment.
            cwd: Its working folder.
            packages: Folders that the interpreter looks into by itself (installed as a link to sources, say).
        """
        program = read_command(argv, lambda word: self._copied(cwd, word) is not None)
        changed = {**env, **self._python_path(env, cwd, packages)}
        told = self._command(program, changed, cwd)
        return Pinned(list(argv) if told is None else told, changed, told is not None)

    def _command(self, program: Program, env: Mapping[str, str], cwd: Path) -> list[str] | None:
        if program.kind in (ProgramKind.SCRIPT, ProgramKind.FILE):
            copied = self._copied(cwd, program.word)
            return None if copied is None else [*program.before, copied, *program.after]
        if program.kind not in (ProgramKind.MODULE, ProgramKind.TEXT) or env.get("PYTHONSAFEPATH"):
            return None
        folder = self._copied(cwd, ".")
        if folder is None:
            return None
        option = "-m" if program.kind is ProgramKind.MODULE else "-c"
        return [*program.before, _MAIN, folder, option, program.word, *program.after]

    def _python_path(self, env: Mapping[str, str], cwd: Path, packages: Sequence[str]) -> dict[str, str]:
        """Return PYTHONPATH with the snapshot's folders in place of those that it stands for."""
        written = env.get("PYTHONPATH", "")
        entries = [self._copied(cwd, entry or ".") or entry for entry in written.split(os.pathsep)] if written else []
        linked = [copied for folder in packages if (copied := self._copied(cwd, folder)) is not None]
        if not entries and not linked:
            return {}
        return {"PYTHONPATH": os.pathsep.join(dict.fromkeys([*entries, *linked]))}

    def _copied(self, cwd: Path, word: str) -> str | None:
        """Return what a path is in the snapshot, or None where it is not in there, or only as a link out of it."""
        if "\0" in word or len(word) > 4096:
            return None
        folder, name = os.path.split(os.path.join(cwd, os.path.expanduser(word)))
        path = os.path.normpath(os.path.join(os.path.realpath(folder), name))
        if path != self.root and not path.startswith(f"{self.root}/"):
            return None
        copied = os.path.normpath(os.path.join(self.tree, os.path.relpath(path, self.root)))
        real, tree = os.path.realpath(copied), os.path.realpath(self.tree)
        within = real == tree or real.startswith(f"{tree}/")
        return copied if within and os.path.exists(real) else None
