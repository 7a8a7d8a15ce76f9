"""What may follow on a command line, and the script for bash."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parallel_ml.adapters.cli.complete import DIRS, FILES, candidates
from parallel_ml.adapters.cli.completion import SCRIPTS
from parallel_ml.adapters.cli.main import main
from parallel_ml.adapters.cli.verbs import SUMMARIES
from parallel_ml.core.events import RunCreated
from parallel_ml.core.model import JobSpec
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import create_run

OLD, NEW = "20260101-120000-3fa9", "20260102-120000-77aa"
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with two runs, one of them with a name."""
    monkeypatch.chdir(tmp_path)
    for run, name, jobs in ((OLD, "night", ("a1", "a2")), (NEW, "", ("b1", "b2"))):
        specs = tuple(JobSpec(place, job, "x.yaml", "command", seed=0) for place, job in enumerate(jobs))
        created = RunCreated(run, name, specs)
        create_run(RunLayout(tmp_path / "runs" / run), created, {"name": name}, dict.fromkeys(jobs, "x: 1"), 0.0)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([""], list(SUMMARIES)),
        (["st"], ["status", "stop"]),
        (["--r"], ["--runs-dir"]),
        (["--runs-dir", ""], [DIRS]),
        (["run", ""], [FILES]),
        (["run", "x.yaml", "y"], [FILES]),
        (["run", "--det"], ["--detach"]),
        (["run", "--noti"], ["--notify"]),
        (["run", "--notify", ""], [FILES]),
        (["run", "--gpus", "s"], ["sim:2x16GiB"]),
        (["run", "--name", ""], []),
        (["init", ""], [DIRS]),
        (["status", ""], [NEW, OLD, "night"]),
        (["status", "2026010"], [NEW, OLD]),
        (["status", NEW, ""], []),
        (["logs", ""], [NEW, OLD, "night", "b1", "b2"]),
        (["logs", "night", ""], ["a1", "a2"]),
        (["stop", "--job", ""], ["b1", "b2"]),
        (["stop", OLD, "--job", "a"], ["a1", "a2"]),
        (["stop", "--job", "=", "b1"], ["b1"]),
        (["stop", "--job", "="], ["b1", "b2"]),
        (["stop", "--job=b"], ["--job=b1", "--job=b2"]),
        (["clean", OLD, "n"], ["night"]),
        (["clean", "--older-than", ""], []),
        (["--runs-dir", "elsewhere", "status", ""], []),
        (["report", "--format", ""], ["html", "md", "json"]),
        (["status", "--runs-dir", "runs", "n"], ["night"]),
        (["status", "--runs-dir=elsewhere", ""], []),
        (["status", "--", "-"], []),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["noodles", ""], list(SUMMARIES)),
    ],
)
def test_what_may_follow(words: list[str], found: list[str]) -> None:
    """Verbs, options, their values, runs by id and name, jobs of the run that is meant."""
    assert [word for word, _ in candidates(words)] == found


def test_a_name_that_a_shell_would_obey_is_not_offered(here: Path) -> None:
    """Somebody may have made such a folder."""
    for name in ("$(reboot)", "a b", "-x"):
        (here / "runs" / NEW / "jobs" / name).mkdir()
    assert [word for word, _ in candidates(["stop", "--job", ""])] == ["b1", "b2"]


def test_the_hidden_verb_prints_words_and_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """It is in no help."""
    assert main(["__complete", "--", "li"]) == 0
    assert capsys.readouterr().out == f"list\t{SUMMARIES['list']}\n"
    assert main(["--help"]) == 0
    assert "__complete" not in capsys.readouterr().out


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_a_script_asks_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each one."""
    assert main(["completion", shell]) == 0
    shown = capsys.readouterr().out
    assert "__complete --" in shown
    assert shown.startswith("#")


@pytest.mark.process
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("parallel-ml st", "status stop"),
        ("parallel-ml stop --job ", "b1 b2"),
        ("parallel-ml status nig", "night"),
        ("parallel-ml run ", "default"),
        ("parallel-ml --runs-dir ", "dirnames"),
        ("parallel-ml status --jso", "--json"),
    ],
)
def test_bash_completes(line: str, found: str, here: Path) -> None:
    """The real script in a real bash, with the program of this test's interpreter."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    program = here / "bin" / "parallel-ml"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m parallel_ml "$@"\n'
    )
    program.chmod(0o755)
    words = " ".join(f"'{word}'" for word in line.split(" "))
    script = f"""
        PATH={program.parent}:$PATH
        eval "$(parallel-ml completion bash)"
        compopt() {{ echo "$2"; }}
        COMP_WORDS=({words}) COMP_CWORD={len(line.split(" ")) - 1}
        _parallel_ml
        echo "${{COMPREPLY[*]}}"
    """
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == found
    assert done.stderr == ""
