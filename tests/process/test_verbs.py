"""The verbs for the first minutes and for housekeeping, with real runs, each in a process of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.process.test_cli import QUICK, WAITS, Shell, read_until, shell

__all__ = ["shell"]
pytestmark = pytest.mark.process


def runs(shell: Shell) -> list[str]:
    """Return what is in the runs folder, hidden things included."""
    return sorted(path.name for path in (shell.folder / "runs").iterdir())


def test_clean_removes_what_it_is_told(shell: Shell) -> None:
    """Three runs; a look first; then all but the newest; then that one by its name. The index forgets them."""
    for name in ("one", "two", "three"):
        assert shell.run("run", shell.config("a", QUICK), "--name", name)[0] == 0
    first, second, third = runs(shell)
    code, out, err = shell.run("clean", "--keep", "1", "--dry-run")
    assert (code, err, len(runs(shell))) == (0, "", 3)
    assert [line.split(":")[0] for line in out.splitlines()[:2]] == [
        f"would remove {first} (one)",
        f"would remove {second} (two)",
    ]
    code, out, err = shell.run("clean", "--keep", "1", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert [run["run"] for run in told["removed"]] == [first, second]
    assert told["freed_bytes"] == sum(run["size_bytes"] for run in told["removed"]) > 0
    assert told["left"]["runs"] == 1
    assert runs(shell) == [third]
    code, out, err = shell.run("clean", "three")
    assert (code, err) == (0, "")
    assert out.startswith(f"removed {third} (three): completed ")
    assert "freed; 0 runs stay in " in out
    assert runs(shell) == []
    index = Path(os.environ["XDG_STATE_HOME"]) / "parallel_ml" / "runs.jsonl"
    assert index.read_text(encoding="utf-8") == ""


def test_clean_never_takes_a_run_that_goes_on(shell: Shell) -> None:
    """Not by a criterion, and not by name: that is refused before anything else is removed."""
    assert shell.run("run", shell.config("a", QUICK))[0] == 0
    [finished] = runs(shell)
    process = shell.start("run", shell.config("b", WAITS))
    read_until(process, "b: running")
    [running] = [run for run in runs(shell) if run != finished]
    code, out, err = shell.run("clean", finished, running)
    assert (code, out) == (2, "")
    assert f"run {running} is driven by a supervisor" in err
    code, out, err = shell.run("clean", "--keep", "0", "--max-size", "0", "--older-than", "0s")
    assert (code, err) == (0, "")
    assert "1 run stays in " in out
    assert runs(shell) == [running]
    shell.let_go()
    assert process.wait(timeout=60) == 0


def test_clean_keeps_to_its_own_folder(shell: Shell) -> None:
    """The criteria do not reach runs that only the index knows; a name does."""
    assert shell.run("run", shell.config("a", QUICK))[0] == 0
    [run] = runs(shell)
    elsewhere = shell.folder / "elsewhere"
    elsewhere.mkdir()
    kept, shell.folder = shell.folder, elsewhere
    code, out, _ = shell.run("clean", "--keep", "0")
    assert (code, out.startswith("nothing to remove; 0 runs stay in ")) == (0, True)
    assert [path.name for path in (kept / "runs").iterdir()] == [run]
    assert shell.run("clean", run)[0] == 0
    assert not list((kept / "runs").iterdir())


def test_what_init_writes_can_be_run(shell: Shell) -> None:
    """`validate` asks for the images and for nothing else."""
    assert shell.run("init")[0] == 0
    code, _, err = shell.run("validate")
    assert code == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == ["data_preprocessing.image_dir"]
