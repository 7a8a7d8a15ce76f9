"""`alerts check`: listing rules, and replaying them over a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.adapters.cli.main import main
from parallel_ml.adapters.cli.text import safe
from parallel_ml.core.alert_rules import read_rule
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
    assert "not replayed, since they look at what is measured of the machine: disk, gpu_idle" in shown


def test_a_replay_of_one_job_as_json(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs."""
    (Path.cwd() / "one.yaml").write_text("- val_loss > 1.05\n", encoding="utf-8")
    assert main(["alerts", "check", "one.yaml", run, "--job", "config1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["run"], told["not_replayed"]) == (True, run, ["disk"])
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


BAD_RULES = (
    "rising(loss, -3)",
    "overfiting",
    "1 < 2",
    "loss.x",
    "loss > 2 for -1 epochs",
    "loss > 2 -> explode",
    "overfitting(99999)",
    "'loss > 1' ''",
    "损失 >",
    "loss > 1e999",
    "{expr: loss > 2, for: 3}",
    "{expr: [loss > 2]}",
    "{expr: loss > 2, colour: red}",
    "{expr: loss > 2, factor: 0.5}",
    "{expr: loss > 2, action: reduce_lr, factor: .nan}",
    "{expr: loss > 2, labels: [a]}",
    "{expr: loss > 2, labels: {severity: {}}}",
    "{alert: 3, expr: loss > 2}",
    "{}",
    "[[]]",
    "3",
    "~",
    "true",
    "2026-01-01",
    "(" * 300 + "x",
    "x" * 5000 + " > 1",
    "*nobody",
    "!!python/object:os.system x > 1",
    "[" * 100,
)
BAD_FILES = (
    b"",
    b"\x00" * 9,
    bytes(range(256)),
    b"[" * 500,
    b"a: &a [*a]\n",
    b"- x > 1\n\t- y > 1\n",
    b"alerts: {builtin: [[nan]]}\n",
    b"groups: [3, {rules: 4}]\n",
    b"? [a]\n: b\n",
    "- 损失 > 1\n".encode("gb18030"),
)


@pytest.mark.parametrize("verb", ["check", "validate"])
@pytest.mark.parametrize("rule", BAD_RULES)
def test_a_malformed_rule_is_one_clear_line(verb: str, rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the file and the line, both alone and in a configuration; the exit code is 2."""
    head = "name: j\ncommand: [sleep, '1']\nalerts:\n" if verb == "validate" else "# rules\n- x > 1\n\n"
    (Path.cwd() / "bad.yaml").write_text(f"{head}- {rule}\n", encoding="utf-8")
    assert main(["validate", "bad.yaml"] if verb == "validate" else ["alerts", "check", "bad.yaml"]) == 2
    [line, *more] = capsys.readouterr().err.splitlines()
    assert line.startswith(("bad.yaml:4: ", "bad.yaml:5: "))
    assert len(line) < 400
    assert not more


@pytest.mark.parametrize("content", BAD_FILES)
def test_a_malformed_file_is_refused_without_a_traceback(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in it; programs get the same as JSON."""
    (Path.cwd() / "bad.yaml").write_bytes(content)
    assert main(["alerts", "check", "bad.yaml"]) == 2
    assert all(line.startswith("bad.yaml") for line in capsys.readouterr().err.splitlines())
    assert main(["alerts", "check", "bad.yaml", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["problems"]


KEYS = ("alert", "expr", "for", "keep_firing_for", "repeat_interval", "labels", "severity", "action", "factor", "min")
PARTS = (
    *"()[]<>=!+-*/.,:'\"\\ \t\n0159",
    *("loss", "x.y", "rising(", "plateau", "and", "not", " for ", "->", "3 epochs", "stop", "1h30m", "8GiB", "1e400"),
    *("损", "\U0001f600", "lambda", "metric(", "==", "hang", "if", "in", "`"),
)
TEXTS = st.text(max_size=40) | st.lists(st.sampled_from(PARTS), max_size=14).map("".join)


def _nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(KEYS) | st.text(max_size=9)
    return st.lists(leaves, max_size=3) | st.dictionaries(keys, leaves, max_size=5)


@given(st.recursive(TEXTS | st.none() | st.booleans() | st.floats() | st.integers(), _nested, max_leaves=6))
def test_whatever_a_rule_is_it_is_read_or_refused_in_plain_lines(value: Any) -> None:
    """No exception, and nothing that a terminal would obey or that fills it."""
    rule, problems = read_rule(value)
    assert (rule is None) == bool(problems)
    for problem in problems:
        assert len(str(problem)) < 500
        assert len(safe(str(problem)).splitlines()) == 1
        assert "\x1b" not in safe(str(problem))
