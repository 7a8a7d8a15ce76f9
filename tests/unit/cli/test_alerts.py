"""`alerts check`: listing rules, and replaying them over a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallel_ml.adapters.cli.main import main
from parallel_ml.core.events import RunCreated
from parallel_ml.core.model import JobSpec
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import create_run

RULES = "- alert: val_overfit\n  expr: overfitting\n  action: stop\n- val_los > 2 for 3 epochs\n- gpu_idle\n"
RUN = "20260101-120000-abcd"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a file of rules."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alerts.yaml").write_text(RULES, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(here: Path) -> str:
    """Make a run of two jobs, one of which overfits after epoch 3, and return its id."""
    layout = RunLayout(here / "runs" / RUN)
    losses = {"config1": [1.0, 0.8, 0.7, 0.8, 0.9, 1.0, 1.1], "config2": [1.0, 0.9, 0.8]}
    specs = tuple(
        JobSpec(position=place, name=name, source=f"{name}.yaml", kind="command", seed=place)
        for place, name in enumerate(losses)
    )
    create_run(layout, RunCreated(RUN, "", specs), {}, dict.fromkeys(losses, ""), 0.0)
    for name, told in losses.items():
        points = [{"epoch": epoch, "train_loss": 1 / epoch, "val_loss": loss} for epoch, loss in enumerate(told, 1)]
        layout.job(name).metrics.write_text("".join(f"{json.dumps(point)}\n" for point in points), encoding="utf-8")
    return RUN


def test_the_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, expression, how long, severity and action; the built-in ones too."""
    assert main(["alerts", "check", "alerts.yaml"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == ["rule", "expression", "for", "severity", "action"]
    assert ["nan (built in)", "nonfinite()", "-", "critical", "notify"] in cells
    assert ["val_overfit", "overfitting", "-", "warning", "stop"] in cells
    assert ["gpu_idle", "gpu_idle", "10m00s", "warning", "notify"] in cells


def test_a_replay_says_when_a_rule_would_have_fired(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The epoch, what would have been done, and the job; what cannot fire; what cannot be told afterwards."""
    assert main(["alerts", "check", "alerts.yaml", run]) == 0
    shown = capsys.readouterr().out
    assert "val_overfit would have fired at epoch 6, and stopped it (config1)\n" in shown
    assert "did you mean val_loss?" in shown
    assert "val_overfit would have fired at epoch 6, and stopped it (config2)" not in shown
    assert "not replayed, since they watch the machine and the clock: hang, disk, gpu_idle" in shown


def test_a_replay_of_one_job_as_json(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs."""
    (Path.cwd() / "one.yaml").write_text("- val_loss > 1.05\n", encoding="utf-8")
    assert main(["alerts", "check", "one.yaml", run, "--job", "config1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["run"], told["not_replayed"]) == (True, run, ["hang", "disk"])
    [job] = told["jobs"]
    fired = [(one["rule"], one["news"], one["epoch"]) for one in job["alerts"]]
    assert (job["name"], fired) == ("config1", [("val_loss > 1.05", "firing", 7)])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["chek", "alerts.yaml"], "did you mean check?"),
        (["check", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["check"], "FILE"),
        (["check", "bad.yaml"], "bad.yaml:1: [0]: column 1 calls risng, which is not known; did you mean rising?"),
        (["check", "alerts.yaml", "no-such-run"], "no run no-such-run"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a line on stderr, with exit code 2."""
    (Path.cwd() / "bad.yaml").write_text("- risng(x)\n", encoding="utf-8")
    assert main(["alerts", *words]) == 2
    assert told in capsys.readouterr().err


def test_a_job_that_is_not_there_is_named(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest one."""
    assert main(["alerts", "check", "alerts.yaml", run, "--job", "confg1"]) == 2
    assert "did you mean config1?" in capsys.readouterr().err


def test_problems_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """File, line and key of each."""
    (Path.cwd() / "bad.yaml").write_text("alerts:\n- x > 1\n- {expr: y}\n", encoding="utf-8")
    assert main(["alerts", "check", "bad.yaml", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [(one["line"], one["key"]) for one in told["problems"]] == [(3, "alerts[1].expr")]
