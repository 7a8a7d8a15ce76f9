"""Files of alert rules, and the `alerts:` of a configuration: what they say, and where a mistake stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from parallel_ml.config.alerts import AlertSettings, check_for_jobs, load_alerts, read_alerts
from parallel_ml.config.yaml_text import parse
from parallel_ml.core.alert_rules import BUILTIN, Span
from parallel_ml.errors import ConfigError

RULE = "  - alert: too_high\n    expr: val_loss > 2\n    for: 3 epochs\n"


def load(folder: Path, text: str, **environ: str) -> AlertSettings:
    """Write a file and load it."""
    (folder / "alerts.yaml").write_text(text, encoding="utf-8")
    return load_alerts("alerts.yaml", environ, cwd=folder)


def problems(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "head", ["", "alerts:\n", "rules:\n", "alerts:\n  rules:\n", "groups:\n- name: g\n  rules:\n", "name: a\nalerts:\n"]
)
def test_rules_stand_in_lists_of_several_kinds(tmp_path: Path, head: str) -> None:
    """A bare list, those of a configuration, and Prometheus' groups."""
    found = load(tmp_path, head + RULE)
    assert [(rule.name, rule.hold) for rule in found.rules] == [("too_high", Span(epochs=3))]
    assert [rule.name for rule in found.effective()] == [*BUILTIN, "too_high"]


@pytest.mark.parametrize(
    ("value", "left"), [("true", list(BUILTIN)), ("false", []), ("disk", ["disk"]), ("[nan, hang]", ["nan", "hang"])]
)
def test_the_built_in_rules_are_chosen(tmp_path: Path, value: str, left: list[str]) -> None:
    """All, none, or some of them."""
    assert [rule.name for rule in load(tmp_path, f"alerts: {{builtin: {value}}}\n").effective()] == left


def test_a_variable_of_the_environment_is_filled_in(tmp_path: Path) -> None:
    """As everywhere in a configuration."""
    assert load(tmp_path, "- val_loss > ${LIMIT}\n", LIMIT="3").rules[0].name == "val_loss > 3"


def test_every_mistake_has_its_line_and_its_key(tmp_path: Path) -> None:
    """All of them at once, in the order of the lines."""
    text = (
        "alerts:\n"
        "  - alert: a\n"
        "    expr: risng(x)\n"
        "    for: 3\n"
        "    labels:\n"
        "      severity: crit\n"
        "  - x > 1\n"
        "  - x > 1\n"
        "  - a.b > 1\n"
        "  - {expr: x > 2, colour: red}\n"
    )
    told = problems(tmp_path, text)
    assert [line.partition(": ")[0] for line in told] == [f"alerts.yaml:{line}" for line in (3, 4, 6, 8, 9, 10)]
    keys = [line.split(": ")[1] for line in told]
    assert keys == [
        *("alerts[0].expr", "alerts[0].for", "alerts[0].labels.severity"),
        *("alerts[2]", "alerts[3]", "alerts[4].colour"),
    ]
    assert "column 1 calls risng, which is not known; did you mean rising?" in told[0]
    assert "line 7" in told[3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("alerts: {rule: []}\n", "did you mean rules?"),
        ("alerts: 3\n", "must be a list of rules"),
        ("alerts: {builtin: [nann]}\n", "must be true, false or a list"),
        ("alerts: {builtin: [[nan]]}\n", "must be true, false or a list"),
        ("alerts: {builtin: {nan: true}}\n", "must be true, false or a list"),
        ("model_training: {epochs: 3}\n", "has no alerts"),
        ("groups: 3\n", "a list of groups"),
        ("groups: [3]\n", "a name and rules"),
        ("- x > ${NOT_THERE}\n", "NOT_THERE is not set"),
        ("- a: [\n", "alerts.yaml:2"),
        ("- x > 1\n" * 201, "at most 200"),
    ],
)
def test_what_is_no_list_of_rules_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """One line each, with what to do."""
    assert words in problems(tmp_path, text)[0]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As the user wrote it."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such file"):
        load_alerts("nowhere.yaml", cwd=tmp_path)


def test_one_file_is_read_and_no_other_passed_over(tmp_path: Path) -> None:
    """A folder with two files is not taken for its first one."""
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("- x > 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"means 2 files; name one, such as .*a\.yaml"):
        load_alerts(".", cwd=tmp_path)


def test_the_rules_of_a_job_count_before_those_of_the_run() -> None:
    """A file for the whole run gives what the job's own configuration does not."""

    def settings(text: str) -> AlertSettings:
        node, _ = parse(text, "f.yaml")
        assert node is not None
        found, wrong = read_alerts(node)
        assert not wrong
        assert found is not None
        return found

    run = settings("{builtin: false, rules: [{alert: a, expr: x > 1}, y > 1]}")
    both = settings("[{alert: a, expr: x > 5}]").over(run)
    assert [(rule.name, rule.expr) for rule in both.effective()] == [("y > 1", "y > 1"), ("a", "x > 5")]


REDUCING = "- val_loss > 2\n- alert: slower\n  expr: plateau(val_loss)\n  action: reduce_lr\n"


def test_a_rate_that_no_job_lets_us_set_is_refused(tmp_path: Path) -> None:
    """With the file and the line of the rule, as in a configuration of an own program."""
    with pytest.raises(ConfigError) as caught:
        check_for_jobs(load(tmp_path, REDUCING), {"a": False, "b": False})
    assert str(caught.value).startswith("alerts.yaml:2: slower: reduce_lr is for the built-in training")


def test_jobs_whose_rate_cannot_be_set_are_named(tmp_path: Path) -> None:
    """Where others let us; nothing is said where all do, or where nothing is to be reduced."""
    [note] = check_for_jobs(load(tmp_path, REDUCING), {"a": False, "b": True, "c": False})
    assert note == "alert rule slower: reduce_lr does nothing for a, c, which set their learning rates themselves"
    assert check_for_jobs(load(tmp_path, REDUCING), {"b": True}) == ()
    assert check_for_jobs(load(tmp_path, "- val_loss > 2 -> stop\n"), {"a": False}) == ()
