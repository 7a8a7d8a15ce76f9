"""Verbs, options, errors and exit codes, without a run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from parallel_ml import __version__
from parallel_ml.adapters.cli import failures, verbs
from parallel_ml.adapters.cli.main import main
from parallel_ml.adapters.cli.text import safe
from parallel_ml.errors import ConfigError, ConfigProblem, InvalidTransition, StoreError, UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb with its line, and examples."""
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name:<10} {summary}\n" in shown for name, summary in verbs.SUMMARIES.items())
    assert "examples:" in shown


@pytest.mark.parametrize("verb", verbs.SUMMARIES)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`VERB --help` says what it takes, the global option among it."""
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--runs-dir DIR" in shown
    assert verb in {"completion", "mcp", "metrics", "serve"} or "--json" in shown
    assert f"python -m parallel_ml {verb}" in shown.partition("\nexample")[2]


@pytest.mark.parametrize(("words", "begin"), [(["help"], "usage: "), (["help", "logs"], "usage: ")])
def test_help_is_a_verb_as_well(words: list[str], begin: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the program, and of a verb."""
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(begin)
    assert (" logs [-h]" in shown) == (words == ["help", "logs"])


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints one line."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"parallel_ml {__version__}\n"


def test_no_verb_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The help goes to stderr, where a pipe does not take it for output."""
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "verbs:" in told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], "no verb 'statsu'; did you mean status?"),
        (["retyr"], "no verb 'retyr'; did you mean retry?"),
        (["notify", "sing"], "argument what: invalid choice: 'sing'"),
        (["a.yaml"], "did you mean: python -m parallel_ml run a.yaml?"),
        (["--runs-dri", "x", "status"], "no option --runs-dri before the verb; did you mean --runs-dir?"),
        (["--json", "status"], "no option --json before the verb"),
        (["run", "--max-paralel", "2"], "no option --max-paralel; did you mean --max-parallel?"),
        (["run", "--bogus"], "no option --bogus; see "),
        (["help", "noodles"], "no verb 'noodles'"),
        (["run", ""], "the name of a configuration is empty"),
        (["run", "--name", "--", "a.yaml"], "argument --name: expected one argument"),
        (["status", "--", "one", "--json"], "too many words: --json"),
        (["run", "--max-parallel", "0", "a.yaml"], "must be a whole number from 1 on, not '0'"),
        (["run", "--max-parallel", "two", "a.yaml"], "must be a whole number from 1 on, not 'two'"),
        (["notify", "test", "--notify", "x.yaml"], "x.yaml: there is no such file"),
        (["run", "--name"], "argument --name: expected one argument"),
        (["run", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["run"], "config/config.yaml: there is no such file"),
        (["validate", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["status"], "no runs in "),
        (["status", "one", "two"], "too many words: two"),
        (["status", "\x1b[31mred"], "no run red"),
        (["stop"], "no runs in "),
        (["logs"], "no runs in "),
        (["logs", "-n", "0"], "must be a whole number from 1 on"),
        (["resume"], "no runs in "),
        (["clean"], "say which runs are to go: --older-than, --keep, --max-size or RUN; for example: "),
        (["clean", "--older-than", "soon"], "argument --older-than: 'soon' is not a duration"),
        (["clean", "--keep", "-1"], "--keep"),
        (["clean", "--max-size", "big"], "argument --max-size: 'big' is not a size"),
        (["clean", "no-such-run"], "no run no-such-run"),
        (["gpus", "--gpus", "sim:0x1GiB"], "0 simulated GPUs are not possible"),
        (["completion", "powershell"], "invalid choice: 'powershell'"),
        (["status", "nowhere/run"], "nowhere/run is not a run's directory"),
    ],
)
def test_a_mistake_is_told_in_a_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one line on stderr that says what to do, nothing on stdout."""
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert len(told.err.splitlines()) == 1
    assert "Traceback" not in told.err


def test_after_two_dashes_everything_is_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """What looks like an option is a file there."""
    assert main(["run", "--name", "night", "--", "a.yaml", "--gpus", "auto"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told == [f"{name}: there is no such file" for name in ("a.yaml", "--gpus", "auto")]


def test_a_mistake_starts_nothing(here: Path) -> None:
    """A bad configuration beside a good one: nothing is made."""
    (here / "good.yaml").write_text("command: [echo, hello]\n", encoding="utf-8")
    (here / "bad.yaml").write_text("command: [echo]\nnoodles: 1\n", encoding="utf-8")
    assert main(["run", "good.yaml", "bad.yaml"]) == 2
    assert sorted(path.name for path in here.iterdir()) == ["bad.yaml", "good.yaml"]


def test_there_may_be_no_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list is a list."""
    assert main(["list"]) == 0
    assert capsys.readouterr().out.startswith("no runs yet")
    assert main(["list", "--json"]) == 0
    assert capsys.readouterr().out == '{"runs": []}\n'


def test_validate_speaks_of_every_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Good files have their meaning on stdout, bad ones their errors on stderr, and the exit code is 2."""
    (here / "good.yaml").write_text("command: [echo, hello]\nname: hi\n", encoding="utf-8")
    (here / "bad.yaml").write_text("command: [echo]\nnoodles: 1\n", encoding="utf-8")
    assert main(["validate", "."]) == 2
    told = capsys.readouterr()
    assert told.out.startswith("./good.yaml: ok: job hi, runs echo hello, ")
    assert told.err.startswith("./bad.yaml:2: noodles: is not a known key")


def test_validate_says_what_is_meant(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model, the images, the epochs, the batch and where it would run."""
    for name in ("zero", "one"):
        (here / "images" / name).mkdir(parents=True)
        for place in range(10):
            (here / "images" / name / f"{place}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    text = "data_preprocessing: {image_dir: images, batch_size: 16}\nmodel_training: {epochs: 3, model: mlp}\n"
    (here / "a.yaml").write_text(f"{text}resources: {{gpus: 0}}\n", encoding="utf-8")
    assert main(["validate", "a.yaml"]) == 0
    assert capsys.readouterr().out == "a.yaml: ok: job a, mlp on images, 3 epochs, batch 16, on the CPU\n"


def test_many_errors_are_ten_lines() -> None:
    """Ten of them, and how many more there are."""
    problems = [ConfigProblem("a.yaml", line, "key", "is wrong") for line in range(1, 31)]
    lines = failures.lines_of(ConfigError(problems))
    assert len(lines) == 11
    assert lines[0] == "a.yaml:1: key: is wrong"
    assert lines[-1] == "+20 more"


def test_an_error_is_safe_and_not_endless(hostile: str) -> None:
    """What a user's file holds reaches the terminal sanitised and shortened."""
    [line] = failures.lines_of(ConfigError([ConfigProblem("a.yaml", 1, "key", hostile + "x" * 10_000)]))
    assert line == safe(line)
    assert len(line) == failures.LONGEST_LINE


def test_a_file_that_cannot_be_read_is_no_bug() -> None:
    """The system's own errors name the file."""
    assert failures.lines_of(PermissionError(13, "Permission denied", "/x")) == ["parallel-ml: /x: Permission denied"]


@pytest.mark.parametrize("error", [KeyError("x"), InvalidTransition("a", "running", "placed", ["1", "2"])])
def test_a_bug_says_that_it_is_one(error: Exception) -> None:
    """In a line, with the way to the traceback."""
    assert failures.is_bug(error)
    lines = failures.lines_of(error)
    assert lines[0].startswith(f"parallel-ml: this is a bug of parallel_ml: {type(error).__name__}")
    assert "PARALLEL_ML_DEBUG=1" in lines[1]


def test_a_package_that_is_missing_is_no_bug() -> None:
    """One line: which, for which Python, and what to do."""
    error = ModuleNotFoundError("No module named 'structlog.x'", name="structlog.x")
    assert failures.report(error) == 2
    what = f"package structlog is not installed for {sys.executable}"
    told = f"parallel-ml: {what}; run scripts/setup and use .venv/bin/python, or pip install parallel-ml"
    assert failures.lines_of(error) == [told]


@pytest.mark.parametrize("name", ["parallel_ml.nowhere", "json.nowhere"])
def test_a_module_of_ours_that_is_missing_is_a_bug(name: str) -> None:
    """And so is one of the standard library that is not there under this name."""
    assert failures.report(ModuleNotFoundError("no", name=name)) == failures.BUG_EXIT_CODE


def test_a_bug_says_where_it_is() -> None:
    """The file and line of ours that led there."""
    with pytest.raises(TypeError) as caught:
        failures.at_most(None)  # type: ignore[arg-type]  # the bug
    caught.value.__traceback__ = caught.tb
    assert "parallel_ml/adapters/cli/failures.py:" in failures.lines_of(caught.value)[0]


def test_the_traceback_is_for_those_who_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PARALLEL_ML_DEBUG=1 shows it, of any error."""
    monkeypatch.setenv("PARALLEL_ML_DEBUG", "1")
    assert main(["status"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("no"), 2), (StoreError("x", "reading", "no"), 2), (ValueError("no"), 70)]
)
def test_the_exit_code_tells_a_mistake_from_a_bug(error: Exception, code: int) -> None:
    """2 is for users, 70 (EX_SOFTWARE) for us."""
    assert failures.report(error) == code
