"""Jobs run the code as it was when `run` was typed, and a rerun repeats one of them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_ml import ParallelMLExecutor
from parallel_ml.adapters.cli.main import main
from parallel_ml.runtime import snapshots
from parallel_ml.store.files import read_json
from parallel_ml.store.layout import RunLayout

pytestmark = pytest.mark.process
Make = Callable[..., ParallelMLExecutor]

TRAIN = """
import sys, pathlib
from lib import VALUE
print("value", VALUE, sys.argv[1:])
print("data", (pathlib.Path(__file__).parent / "data" / "big.txt").read_text())
open("out.txt", "w").write("here")
"""
SPAWN = """
import multiprocessing, os, sys
from lib import VALUE

def work(number):
    from lib import VALUE
    return number * VALUE

if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print("spawned", pool.map(work, [1, 2]))
    print("main", __name__, __spec__.name, sys.argv[1:], os.getcwd(), "PYTHONSAFEPATH" in os.environ)
"""


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder."""
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env={**os.environ, **who}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a git checkout with a script, a module, and data that git ignores."""
    top = tmp_path / "project"
    (top / "data").mkdir(parents=True)
    (top / "pkg").mkdir()
    (top / "data" / "big.txt").write_text("the data")
    (top / ".gitignore").write_text("data\nruns\n")
    (top / "train.py").write_text(TRAIN)
    (top / "lib.py").write_text("VALUE = 1\n")
    (top / "pkg" / "__init__.py").write_text("")
    (top / "pkg" / "spawn.py").write_text(SPAWN)
    git(top, "init", "-q", "-b", "main")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "first")
    return top


def run_edited(
    project: Path, command: list[str], edit: Callable[[], object], executor: Make, **more: Any
) -> tuple[RunLayout, list[str]]:
    """Plan a run, edit the code, and only then let it go; return its files and what the job printed."""
    config = project.parent / "job.yaml"
    config.write_text(yaml.safe_dump({"name": "job", "command": command, **more}))
    run = executor(config, cwd=project)
    run.prepare()
    edit()
    (result,) = run.run_parallel()
    layout = RunLayout(Path(run.get_status().dir))
    lines = [json.loads(line) for line in layout.job("job").log.read_text().splitlines()]
    assert result.state == "completed", [line["message"] for line in lines]
    return layout, [line["message"] for line in lines if line["type"] == "stdout"]


def change(project: Path) -> Callable[[], object]:
    """Return what changes a module of the project."""
    return lambda: (project / "lib.py").write_text("VALUE = 2\n")


def test_a_script_runs_as_it_was_when_run_was_typed(project: Path, executor: Make) -> None:
    """With its modules; its data and its working folder stay the user's own."""
    _, printed = run_edited(project, [sys.executable, "train.py", "x"], change(project), executor)
    assert printed == ["value 1 ['x']", "data the data"]
    assert (project / "out.txt").read_text() == "here"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_module_and_its_workers_run_as_they_were(project: Path, executor: Make, method: str) -> None:
    """`python -m` with processes that import the program again; what they see of it is what `-m` gives."""
    command = [sys.executable, "-u", "-m", "pkg.spawn", method]
    _, printed = run_edited(project, command, change(project), executor)
    assert printed == ["spawned [1, 2]", f"main __main__ pkg.spawn ['{method}'] {project} False"]


def test_a_rerun_uses_the_code_and_the_seed_of_the_old_run(project: Path, executor: Make, capfd: Any) -> None:
    """Also when the old run is removed meanwhile; the new run says what is other now."""
    layout, _ = run_edited(project, [sys.executable, "train.py", "x"], change(project), executor)
    git(project, "commit", "-q", "-a", "-m", "second")
    assert main(["rerun", f"{layout.dir}/job", "--json", "--gpus", "none"]) == 0
    status = json.loads(capfd.readouterr().out)
    again = RunLayout(Path(status["dir"]))
    lines = [json.loads(line) for line in again.job("job").log.read_text().splitlines()]
    assert next(line["message"] for line in lines if line["type"] == "stdout") == "value 1 ['x']"
    old, new = read_json(layout.plan), read_json(again.plan)
    assert (new["jobs"][0]["seed"], new["code"][0]["digest"]) == (old["jobs"][0]["seed"], old["code"][0]["digest"])
    assert any("the checkout is at" in note for note in new["notes"])


def test_a_text_for_python_imports_what_was_there(project: Path, executor: Make) -> None:
    """`python -c` sees the arguments and the name that it always sees."""
    text = "import sys, lib; print(lib.VALUE, sys.argv, __name__, '__file__' in globals())"
    _, printed = run_edited(project, [sys.executable, "-c", text, "x"], change(project), executor)
    assert printed == ["1 ['-c', 'x'] __main__ False"]


def test_a_job_in_a_folder_below_runs_as_it_was(project: Path, executor: Make) -> None:
    """`cwd:`, a script named from there, and a relative PYTHONPATH."""
    (project / "sub").mkdir()
    (project / "sub" / "go.py").write_text("import os, lib; print(lib.VALUE, os.getcwd())")
    command = [sys.executable, "go.py"]
    more = {"cwd": "sub", "env": {"PYTHONPATH": f"..{os.pathsep}/elsewhere"}}
    _, printed = run_edited(project, command, change(project), executor, **more)
    assert printed == [f"1 {project / 'sub'}"]


def test_sources_that_are_installed_by_a_link_run_as_they_were(project: Path, executor: Make) -> None:
    """An editable install of the checkout itself, in an environment of its own."""
    (project / "src" / "mine").mkdir(parents=True)
    (project / "src" / "mine" / "__init__.py").write_text("VALUE = 1\n")
    (project / "go.py").write_text("import mine; print(mine.VALUE)")
    environment = project.parent / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    (site / "mine.pth").write_text(f"{project / 'src'}\n")
    (site / "mine-1.2.dist-info").mkdir()
    command = [str(environment / "bin" / "python"), "go.py"]
    layout, printed = run_edited(
        project, command, lambda: (project / "src" / "mine" / "__init__.py").write_text("VALUE = 2\n"), executor
    )
    assert printed == ["1"]
    assert read_json(layout.plan)["packages"] == {command[0]: {"mine": "1.2"}}


def test_a_script_that_is_in_no_checkout_runs_as_it_was(tmp_path: Path, executor: Make) -> None:
    """With the Python files of its folder; data beside it and above it is found."""
    project = tmp_path / "plain"
    (project / "src").mkdir(parents=True)
    (project / "data.txt").write_text("the data")
    (project / "src" / "lib.py").write_text("VALUE = 1\n")
    (project / "src" / "go.py").write_text(
        "import pathlib, lib; print(lib.VALUE, (pathlib.Path(__file__).parents[1] / 'data.txt').read_text())"
    )
    edit = lambda: (project / "src" / "lib.py").write_text("VALUE = 2\n")  # noqa: E731
    _, printed = run_edited(project, [sys.executable, "src/go.py"], edit, executor)
    assert printed == ["1 the data"]


def test_texts_beside_a_script_in_no_checkout_are_as_they_were(tmp_path: Path, executor: Make) -> None:
    """Data is not: it is linked, with what no text editor shows."""
    project = tmp_path / "plain"
    project.mkdir()
    names = ("tmpl.txt", "shared.yaml", "below/words.json", "data.bin")
    (project / "below").mkdir()
    (project / "go.py").write_text(
        "import pathlib\nhere = pathlib.Path(__file__).parent\n"
        f"for name in {names}: print((here / name).read_bytes().strip(b'\\0').decode())"
    )

    def write(text: str) -> None:
        for name in names:
            (project / name).write_text(text if name != "data.bin" else f"{text}\0")

    write("old")
    _, printed = run_edited(project, [sys.executable, "go.py"], lambda: write("new"), executor)
    assert printed == ["old", "old", "old", "new"]


@pytest.mark.parametrize("where", ["", "a/b/", "data/"])
def test_a_script_beside_much_data_runs_as_it_was(
    tmp_path: Path, executor: Make, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """With the code that is nearest to it, and one note."""
    monkeypatch.setattr(snapshots, "_MAX_LOOKED_AT", 200)
    project = tmp_path / "plain"
    (project / where).mkdir(parents=True)
    (project / "go.py").write_text("import lib; print(lib.VALUE)")
    (project / "lib.py").write_text("VALUE = 1\n")
    for number in range(201):
        (project / where / f"{number}.dat").write_bytes(b"")
    layout, printed = run_edited(project, [sys.executable, "go.py"], change(project), executor)
    assert printed == ["1"]
    (note,) = [note for note in read_json(layout.plan)["notes"] if "pinned" in note]
    assert "only the code nearest" in note
    assert "more than 200 files" in note


@pytest.mark.parametrize(("most", "taken", "notes"), [(2, ["lib.py", "z.py"], 1), (3, ["a/a.py", "lib.py", "z.py"], 0)])
def test_a_folder_of_much_code_is_pinned_in_part(
    tmp_path: Path, executor: Make, monkeypatch: pytest.MonkeyPatch, most: int, taken: list[str], notes: int
) -> None:
    """The script itself always, then what is nearest."""
    monkeypatch.setattr(snapshots, "MAX_TREE_FILES", most)
    project = tmp_path / "plain"
    (project / "a").mkdir(parents=True)
    (project / "z.py").write_text("import lib; print(lib.VALUE)")
    (project / "lib.py").write_text("VALUE = 1\n")
    (project / "a" / "a.py").write_text("")
    layout, printed = run_edited(project, [sys.executable, "z.py"], change(project), executor)
    assert printed == ["1"]
    assert sorted(read_json(layout.code / "0.json")["files"]) == taken
    assert sum("pinned" in note for note in read_json(layout.plan)["notes"]) == notes


def test_no_channel_of_this_run_is_in_its_folder(project: Path, executor: Make) -> None:
    """Whatever the file is called, and however its key is spelled: not in a snapshot, not in a diff."""
    config = project / "job.py"
    config.write_text("old")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "second")
    channel = "{email_enabled: false, email: {password: hidden-value}}"
    config.write_text(f'command: [{sys.executable}, train.py]\n"notific\\u0061tions": {channel}\n')
    run = executor(config, cwd=project)
    run.prepare()
    folder = Path(run.get_status().dir)
    assert (folder / "code" / "0" / "project" / "job.py").is_symlink()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if b"hidden-value" in path.read_bytes()]


@pytest.mark.parametrize("how", ["in the configuration", "for the run"])
def test_a_snapshot_can_be_left_out(project: Path, executor: Make, how: str) -> None:
    """Then a job runs the code that is there when it starts."""
    option = {"code": False} if how == "in the configuration" else {}

    def made(*configs: Path, **more: object) -> ParallelMLExecutor:
        return executor(*configs, snapshot=bool(option), **more)

    layout, printed = run_edited(project, [sys.executable, "train.py"], change(project), made, **option)
    assert printed[0] == "value 2 []"
    assert read_json(layout.plan)["code"] == []


def test_a_configuration_may_name_its_code(project: Path, executor: Make) -> None:
    """Then that is copied and nothing else."""
    command = [sys.executable, "train.py"]
    layout, printed = run_edited(project, command, change(project), executor, code=["train.py"])
    assert printed[0] == "value 2 []"
    assert read_json(layout.plan)["code"][0]["files"] == 1


def test_a_shell_text_is_said_to_be_not_pinned(project: Path, executor: Make) -> None:
    """Nobody can tell what it starts; the note names the job."""
    command = ["bash", "-c", f"{shlex.quote(sys.executable)} train.py"]
    layout, printed = run_edited(project, command, change(project), executor)
    assert printed[0] == "value 2 []"
    (note,) = [note for note in read_json(layout.plan)["notes"] if "pinned" in note]
    assert note.startswith("job: its code is not pinned")


def test_jobs_share_a_snapshot(project: Path, executor: Make) -> None:
    """Two jobs of one checkout need no two copies."""
    for name in ("a", "b"):
        (project.parent / f"{name}.yaml").write_text(yaml.safe_dump({"command": [sys.executable, "train.py", name]}))
    run = executor(project.parent / "a.yaml", project.parent / "b.yaml", cwd=project)
    layout = RunLayout(Path(run.prepare().dir))
    assert [job["code"] for job in read_json(layout.plan)["jobs"]] == [0, 0]
    assert sorted(path.name for path in layout.code.iterdir()) == ["0", "0.json"]


def test_what_a_result_depends_on_is_written_down(project: Path, executor: Make) -> None:
    """Commit, uncommitted changes, packages and hardware; no secret, and nothing for others to read."""
    (project / "lib.py").write_text("VALUE = 1  # changed\n")
    (project / ".env").write_text("TOKEN=hidden-value\n")
    git(project, "add", "-f", ".env")
    layout, _ = run_edited(project, [sys.executable, "train.py"], change(project), executor)
    plan = read_json(layout.plan)
    assert (plan["git"]["branch"], plan["git"]["dirty"], plan["git_commit"]) == (
        "main",
        True,
        git(project, "rev-parse", "HEAD").strip(),
    )
    assert "+VALUE = 1  # changed" in (layout.dir / plan["git"]["diff"]).read_text()
    assert plan["hardware"]["cpu"]
    assert "pytest" in plan["packages"][sys.executable]
    told = layout.job("job").attempt(1).provenance
    assert (read_json(told)["code"], told.stat().st_mode & 0o777) == (0, 0o600)
    files = [path for path in layout.dir.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in files if b"hidden-value" in path.read_bytes()]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{run}/other"], "has no job other"),
        (["{run}", "--attempt", "7"], "has no attempt 7"),
        (["nothing/job"], "no run"),
        (["{run}", "job", "--job", "other"], "two jobs are named"),
        (["{run}", "--name", "a b"], "is no name for a run"),
    ],
)
def test_a_rerun_of_what_is_not_there_is_one_line(
    project: Path, executor: Make, capfd: Any, words: list[str], told: str
) -> None:
    """And exit code 2; no run is made."""
    layout, _ = run_edited(project, [sys.executable, "train.py"], change(project), executor)
    assert main(["rerun", *(word.format(run=layout.dir) for word in words)]) == 2
    error = capfd.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert [path.name for path in layout.dir.parent.iterdir()] == [layout.dir.name]


@pytest.mark.parametrize("what", ["a newer format", "no code", "no configuration"])
def test_a_run_that_cannot_be_repeated_is_one_line(project: Path, executor: Make, capfd: Any, what: str) -> None:
    """What is missing is named."""
    layout, _ = run_edited(project, [sys.executable, "train.py"], change(project), executor)
    if what == "a newer format":
        layout.plan.write_text(json.dumps({**read_json(layout.plan), "v": 2}))
    elif what == "no code":
        shutil.rmtree(layout.code)
    else:
        layout.job("job").source.unlink()
    assert main(["rerun", str(layout.dir)]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert [path.name for path in layout.dir.parent.iterdir()] == [layout.dir.name]


def test_a_rerun_of_a_rerun_needs_neither_run_nor_checkout(project: Path, executor: Make, capfd: Any) -> None:
    """Each run has its own copy: the first may be cleaned, the script deleted."""
    layout, _ = run_edited(project, [sys.executable, "train.py", "x"], change(project), executor)
    assert main(["rerun", str(layout.dir / "jobs" / "job"), "--json"]) == 0
    second = json.loads(capfd.readouterr().out)["dir"]
    shutil.rmtree(layout.dir)
    (project / "train.py").unlink()
    assert main(["rerun", second, "job", "--json", "--name", "third"]) == 0
    third = RunLayout(Path(json.loads(capfd.readouterr().out)["dir"]))
    lines = [json.loads(line) for line in third.job("job").log.read_text().splitlines()]
    assert next(line["message"] for line in lines if line["type"] == "stdout") == "value 1 ['x']"
    assert read_json(third.plan)["rerun_of"]["job"] == "job"


def test_a_folder_that_is_anybodys_is_not_searched(tmp_path: Path, executor: Make) -> None:
    """Of one such as /tmp the files beside the script are taken, not all that lies below it."""
    folder = tmp_path / "shared"
    (folder / "below").mkdir(parents=True)
    for name in ("go.py", "lib.py", "below/other.py"):
        (folder / name).write_text("import lib\n" if name == "go.py" else "")
    folder.chmod(0o1777)
    layout, _ = run_edited(folder, [sys.executable, "go.py"], lambda: None, executor)
    assert sorted(read_json(layout.code / "0.json")["files"]) == ["go.py", "lib.py"]
