"""`report`: which runs, which files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallel_ml.adapters.cli.main import main
from parallel_ml.core import events as ev
from parallel_ml.core.model import JobSpec
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import create_run

OLD, NEW = "20260101-120000-aaaa", "20260102-120000-bbbb"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with two runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for run, name in ((OLD, "monday"), (NEW, "tuesday")):
        created = ev.RunCreated(run, name, (JobSpec(0, "one", "one.yaml", "training", seed=1),))
        create_run(RunLayout(tmp_path / "runs" / run), created, {"run": run, "name": name}, {"one": "x: 1"}, 0.0)
    return tmp_path


def test_the_newest_run_is_reported_in_its_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In all forms, and it says where."""
    assert main(["report"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"runs/{NEW}/report.{form}" for form in ("html", "md", "json")]
    assert (here / "runs" / NEW / "report.html").exists()


def test_several_runs_are_compared_here(here: Path) -> None:
    """In no run's folder, since the report is of none."""
    assert main(["report", "monday", "tuesday", "--format", "json"]) == 0
    told = json.loads((here / "parallel-ml-report.json").read_text(encoding="utf-8"))
    assert [run["name"] for run in told["runs"]] == ["monday", "tuesday"]
    assert not (here / "parallel-ml-report.html").exists()


def test_all_runs_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first, on stdout."""
    assert main(["report", "--all", "--json"]) == 0
    assert [run["run"] for run in json.loads(capsys.readouterr().out)["runs"]] == [NEW, OLD]


def test_a_run_that_is_named_twice_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """By its name and by its id."""
    assert main(["report", "monday", OLD, "--output", "-"]) == 0
    assert capsys.readouterr().out.startswith("# Run monday\n")


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["--output", "deep/er/a.html"], ["deep/er/a.html"]),
        (["--output", "folder"], ["folder/report.html", "folder/report.json", "folder/report.md"]),
        (["--output", "folder", "--format", "md"], ["folder/report.md"]),
    ],
)
def test_the_output_is_a_file_or_a_folder(here: Path, words: list[str], files: list[str]) -> None:
    """By its ending."""
    assert main(["report", "monday", *words]) == 0
    found = [path for path in here.rglob("*") if path.suffix in (".html", ".md") or path.name == "report.json"]
    assert sorted(str(path.relative_to(here)) for path in found) == files


def test_the_language_is_that_of_the_messages(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless another is asked for."""
    settings = here / "messages.yaml"
    settings.write_text("notifications: {language: zh, channels: [{type: console}]}\n", encoding="utf-8")
    plan = here / "runs" / NEW / "run.json"
    plan.write_text(json.dumps({"name": "tuesday", "notify": {"file": str(settings)}, "cwd": str(here)}))
    assert main(["report", "--output", "-"]) == 0
    assert capsys.readouterr().out.startswith("# 运行 tuesday\n")
    assert main(["report", "--output", "-", "--language", "en"]) == 0
    assert capsys.readouterr().out.startswith("# Run tuesday\n")


@pytest.mark.parametrize("words", [["--json"], ["--output", "-"], ["--output", "a.html"]])
def test_the_secrets_of_the_runs_channels_are_in_no_report(
    here: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Here one that was typed; what is known of the settings is masked everywhere."""
    settings = here / "messages.yaml"
    hook = "{type: webhook, url: 'https://h.example/', secret: purple-armchair}"
    settings.write_text(f"notifications: {{channels: [{hook}]}}\n", encoding="utf-8")
    plan = here / "runs" / NEW / "run.json"
    told = {"name": "tuesday", "argv": ["run", "purple-armchair"], "cwd": str(here)}
    for more, shown in (({}, True), ({"notify": {"file": str(settings)}}, False)):
        plan.write_text(json.dumps({**told, **more}))
        assert main(["report", *words]) == 0
        text = (
            capsys.readouterr().out + (here / "a.html").read_text()
            if words[-1] == "a.html"
            else capsys.readouterr().out
        )
        assert ("purple-armchair" in text) is shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "no run nobody"),
        (["--all", "monday"], "--all are all runs already"),
        (["--format", "pdf"], "must be some of html,md,json, not 'pdf'"),
        (["--output", "a.html", "--format", "md"], "--format md does not fit the name a.html"),
        (["--output", "-", "--format", "md,html"], "one format alone can go to stdout"),
        (["--json", "--format", "md"], "--json prints the report"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2."""
    assert main(["report", *words]) == 2
    assert said in capsys.readouterr().err
