"""Alert rules as they are written: mappings with Prometheus' keys, and short texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ml.core.alert_rules import BUILTIN, AlertAction, AlertRule, Span, make_rules, read_rule, read_span
from parallel_ml.errors import AlertRuleError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("alert", "expr", "for", "keep_firing_for", "repeat_interval", "labels", "action", "factor", "min", "exprs")


def rule_of(written: Any) -> AlertRule:
    """Return the rule that is written."""
    rule, problems = read_rule(written)
    assert not problems
    assert rule is not None
    return rule


def problems_of(written: Any) -> dict[str, str]:
    """Return what is wrong, by key."""
    rule, problems = read_rule(written)
    assert rule is None
    return {problem.key: f"{problem.message}; {problem.hint}" for problem in problems}


def test_every_key_is_read() -> None:
    """A rule with all keys says all of it again."""
    rule = rule_of(
        {
            "alert": "too_high",
            "expr": "val_loss > 2",
            "for": "3 epochs",
            "keep_firing_for": "2m",
            "repeat_interval": "1h",
            "send_resolved": False,
            "labels": {"severity": "critical", "team": "vision"},
            "annotations": {"summary": "val_loss is {{ $value }}"},
            "action": "reduce_lr",
            "factor": 0.2,
            "min": 1e-6,
        }
    )
    assert (rule.hold, rule.keep, rule.repeat) == (Span(epochs=3), Span(seconds=120.0), Span(seconds=3600.0))
    assert (rule.severity, rule.labels, rule.send_resolved) == ("critical", {"team": "vision"}, False)
    assert (rule.action, rule.factor, rule.minimum) == (AlertAction.REDUCE_LR, 0.2, 1e-6)


@pytest.mark.parametrize(
    ("text", "name", "hold", "action"),
    [
        ("val_loss > 2 for 3 epochs", "val_loss > 2", Span(epochs=3), "notify"),
        ("val_loss > 2", "val_loss > 2", Span(), "notify"),
        ("plateau(val_loss) -> reduce_lr", "plateau(val_loss)", Span(), "reduce_lr"),
        ("overfitting", "overfitting", Span(), "notify"),
        ("gpu_idle", "gpu_idle", Span(seconds=600.0), "notify"),
        ("gpu_idle for 1m -> pause", "gpu_idle", Span(seconds=60.0), "pause"),
        ("nan -> stop", "nan", Span(), "stop"),
        ("total_time(8h)", "total_time(8h)", Span(), "notify"),
    ],
)
def test_a_text_is_a_rule(text: str, name: str, hold: Span, action: str) -> None:
    """The condition, then how long, then what is done; the name is the condition."""
    rule = rule_of(text)
    assert (rule.name, rule.hold, rule.action.value) == (name, hold, action)


def test_the_built_in_rules_are_on_and_can_be_replaced() -> None:
    """A rule of the same name takes the place of one; a list chooses some; false is none."""
    assert [rule.name for rule in make_rules([])] == list(BUILTIN)
    assert [rule.builtin for rule in make_rules(["nan -> stop"]) if rule.name == "nan"] == [False]
    assert [rule.name for rule in make_rules(["x > 1"], builtin=["disk"])] == ["disk", "x > 1"]
    assert make_rules([], builtin=False) == ()


def test_two_rules_of_one_name_are_refused() -> None:
    """Their states would be one."""
    with pytest.raises(AlertRuleError, match="two rules"):
        make_rules(["x > 1", {"alert": "x > 1", "expr": "y > 1"}])


def test_everything_wrong_with_a_rule_is_said_at_once() -> None:
    """Each key with what is wrong with it, and what was probably meant."""
    told = problems_of(
        {
            "alert": "a\nb",
            "expr": "risng(x)",
            "for": 3,
            "keep_fireing_for": "1m",
            "labels": {"severity": "critcal"},
            "action": "stopp",
            "factor": 2,
            "send_resolved": "yes",
        }
    )
    assert "did you mean rising?" in told["expr"]
    assert "3 epochs" in told["for"]
    assert "did you mean keep_firing_for?" in told["keep_fireing_for"]
    assert "did you mean critical?" in told["labels.severity"]
    assert "did you mean stop?" in told["action"]
    assert {"alert", "factor", "send_resolved"} <= told.keys()


@pytest.mark.parametrize("value", [None, 3, [], {}, {"alert": "x"}, "", " for 3 epochs", "x > 1 for", "x" * 5000])
def test_what_is_no_rule_is_refused(value: Any) -> None:
    """There is one problem at least, and no rule."""
    assert problems_of(value)


def test_the_learning_rate_keys_belong_to_one_action() -> None:
    """A factor beside another action is a mistake, not something to pass over."""
    assert "reduce_lr" in problems_of({"expr": "x > 1", "action": "stop", "factor": 0.5})["factor"]


@pytest.mark.parametrize("value", ["3", 3, True, "0 epochs", "epochs", "-1m", "500d", "1e9h", [], "9" * 50, 0.5])
def test_what_is_no_span_is_refused(value: Any) -> None:
    """A bare number says neither epochs nor seconds."""
    with pytest.raises(ValueError, match="must be"):
        read_span(value)


@settings(max_examples=200, deadline=1000)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES | st.just("x > 1"), max_size=6) | VALUES)
def test_no_mapping_raises_anything(written: Any) -> None:
    """Whatever stands there is a rule or a list of problems."""
    rule, problems = read_rule(written)
    assert (rule is None) == bool(problems)
