"""The `alerts:` of a configuration, and files of alert rules: lists of rules, with file, line and key of what is wrong.

Both are a list of rules, or a mapping with `rules` and `builtin` (true, false, or which: nan, hang, disk). A file may
also have `alerts:` above that, as a configuration does, or Prometheus' `groups:`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from parallel_ml.config.environment import expand
from parallel_ml.config.fields import nearest, shown
from parallel_ml.config.loading import find_sources, read_text
from parallel_ml.config.tree import Node, find, in_order, plain
from parallel_ml.config.tree import Path as Place
from parallel_ml.config.yaml_text import parse
from parallel_ml.core.alert_rules import BUILTIN, MOST_RULES, AlertAction, AlertRule, read_rule, with_builtin
from parallel_ml.errors import AlertRuleError, ConfigError, ConfigProblem

_MOST_NAMED = 6
_LIST_HINT = "write a list of rules, such as - val_loss > 2 for 3 epochs"


@dataclass(frozen=True)
class AlertSettings:
    """Rules that somebody wrote, and which built-in ones are wanted beside them; None is "not said", which is all.

    `places` has the file and the line of each rule, by its name.
    """

    rules: tuple[AlertRule, ...] = ()
    builtin: tuple[str, ...] | None = None
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict, compare=False, repr=False)

    def over(self, base: AlertSettings) -> AlertSettings:
        """Return the rules of both; under one name, and where both say what is built in, these ones count."""
        names = {rule.name for rule in self.rules}
        kept = tuple(rule for rule in base.rules if rule.name not in names)
        return AlertSettings((*kept, *self.rules), base.builtin if self.builtin is None else self.builtin)

    def effective(self) -> tuple[AlertRule, ...]:
        """Return every rule that is watched."""
        return with_builtin(self.rules, BUILTIN if self.builtin is None else self.builtin)


def load_alerts(
    path: Path | str, environ: Mapping[str, str] | None = None, *, cwd: Path | None = None
) -> AlertSettings:
    """Return the rules of a file, or of the `alerts:` of a configuration.

    Args:
        path: The file, as the user named it.
        environ: What `${VARIABLE}` is replaced from; None is the environment of this process.
        cwd: What a relative path is relative to.

    Raises:
        ConfigError: Everything that is wrong with it.
    """
    source, *others = find_sources([path], cwd or Path.cwd())
    if isinstance(source, ConfigProblem):
        raise ConfigError([source])
    if others:
        count = len(others) + 1
        raise ConfigError(
            [ConfigProblem(str(path), None, "", f"means {count} files", f"name one, such as {source.shown}")]
        )
    text, problem = read_text(source)
    if text is None:
        raise ConfigError([problem] if problem else [])
    root, problems = parse(text, source.shown)
    if root is None or problems:
        raise ConfigError(problems)
    root, problems = expand(root, os.environ if environ is None else environ)
    settings, wrong = _read_file(root)
    if settings is None or problems or wrong:
        raise ConfigError(in_order([*problems, *wrong]))
    return settings


def check_for_jobs(settings: AlertSettings, jobs: Mapping[str, bool]) -> tuple[str, ...]:
    """Return a note where an action of a file for a whole run can be taken for some of its jobs alone.

    Args:
        settings: The rules.
        jobs: The run's jobs by name, and whether each is the built-in training.

    Raises:
        ConfigError: There is no job for which it could.
    """
    names = [rule.name for rule in settings.rules if rule.action is AlertAction.REDUCE_LR]
    own = [name for name, built_in in jobs.items() if not built_in]
    if not names or not own:
        return ()
    if len(own) == len(jobs):
        hint = "an own program sets its learning rate itself; use stop, pause or notify"
        message = "reduce_lr is for the built-in training, and every job of this run is an own program"
        places = [settings.places.get(name, (None, None)) for name in names]
        raise ConfigError(
            ConfigProblem(file, line, name, message, hint) for name, (file, line) in zip(names, places, strict=True)
        )
    some = ", ".join(own[:_MOST_NAMED]) + (f" and {len(own) - _MOST_NAMED} more" if len(own) > _MOST_NAMED else "")
    told = "which set their learning rates themselves" if len(own) > 1 else "which sets its learning rate itself"
    return (f"alert rule {', '.join(names)}: reduce_lr does nothing for {some}, {told}",)


def read_alerts(node: Node, path: Place = ("alerts",)) -> tuple[AlertSettings | None, list[ConfigProblem]]:
    """Return what an `alerts:` says, or everything that is wrong with it.

    Args:
        node: Its value, variables replaced.
        path: Where it stands, for messages.
    """
    return _Reader().settings(node, path)


def _read_file(root: Node) -> tuple[AlertSettings | None, list[ConfigProblem]]:
    if root.value is None or root.value in ({}, []):
        return None, [ConfigProblem(root.file, None, "", "is empty", _LIST_HINT)]
    if isinstance(root.value, dict):
        if (alerts := root.child("alerts")) is not None:
            return read_alerts(alerts)
        if (groups := root.child("groups")) is not None:
            return _Reader().groups(root, groups)
        if not root.value.keys() & {"rules", "builtin"}:
            return None, [ConfigProblem(root.file, None, "", "has no alerts", _LIST_HINT)]
    return read_alerts(root, ())


class _Reader:
    """Gathers the rules of one document and what is wrong with them."""

    def __init__(self) -> None:
        self._rules: list[AlertRule] = []
        self._places: dict[str, tuple[str, int]] = {}
        self._problems: list[ConfigProblem] = []

    def settings(self, node: Node, path: Place) -> tuple[AlertSettings | None, list[ConfigProblem]]:
        if not isinstance(node.value, dict):
            self._list(node, path)
            return self._found(None)
        self._known_keys(node, path, ("builtin", "rules"))
        rules, builtin = node.child("rules"), node.child("builtin")
        if rules is not None:
            self._list(rules, (*path, "rules"))
        return self._found(None if builtin is None else self._builtin(builtin, (*path, "builtin")))

    def groups(self, root: Node, groups: Node) -> tuple[AlertSettings | None, list[ConfigProblem]]:
        self._known_keys(root, (), ("groups",))
        if not isinstance(groups.value, list):
            self._problems.append(groups.problem(("groups",), "must be a list of groups, each with rules"))
            return self._found(None)
        for place, group in enumerate(groups.value):
            path: Place = ("groups", place)
            if not isinstance(group.value, dict):
                self._problems.append(group.problem(path, "must have a name and rules"))
                continue
            self._known_keys(group, path, ("name", "rules"))
            self._list(group.child("rules") or group, (*path, "rules"))
        return self._found(None)

    def _found(self, builtin: tuple[str, ...] | None) -> tuple[AlertSettings | None, list[ConfigProblem]]:
        if self._problems:
            return None, in_order(self._problems)
        return AlertSettings(tuple(self._rules), builtin, self._places), []

    def _known_keys(self, node: Node, path: Place, known: tuple[str, ...]) -> None:
        for key, child in node.value.items():
            if key not in known:
                guess = nearest(key, known)
                hint = f"did you mean {guess}?" if guess else f"known here: {', '.join(known)}"
                self._problems.append(child.problem((*path, key), "is not a known key", hint))

    def _list(self, node: Node, path: Place) -> None:
        if node.value is None:
            return
        if not isinstance(node.value, list):
            self._problems.append(node.problem(path, f"must be a list of rules, not {shown(plain(node))}", _LIST_HINT))
            return
        if len(node.value) > MOST_RULES:
            self._problems.append(node.problem(path, f"has {len(node.value)} rules", f"at most {MOST_RULES}"))
            return
        for place, item in enumerate(node.value):
            self._rule(item, (*path, place))

    def _rule(self, node: Node, path: Place) -> None:
        rule, problems = read_rule(plain(node))
        self._problems += [_located(problem, node, path) for problem in problems]
        if rule is None:
            return
        if rule.name in self._places:
            message = f"{shown(rule.name)} is the name of the rule in line {self._places[rule.name][1]} too"
            self._problems.append(node.problem(path, message, "give one of them another name with alert:"))
            return
        self._places[rule.name] = (node.file, node.line)
        self._rules.append(rule)

    def _builtin(self, node: Node, path: Place) -> tuple[str, ...]:
        value = plain(node)
        if isinstance(value, bool):
            return tuple(BUILTIN) if value else ()
        names = value if isinstance(value, list) else [value]
        for name in names:
            if not isinstance(name, str) or name not in BUILTIN:
                message = f"must be true, false or a list of {', '.join(BUILTIN)}, not {shown(name)}"
                self._problems.append(node.problem(path, message))
        return tuple(name for name in BUILTIN if name in names)


def _located(problem: AlertRuleError, node: Node, path: Place) -> ConfigProblem:
    """Return what is wrong with a rule at the line of its key."""
    if not isinstance(node.value, dict) or not problem.key:
        return node.problem(path, problem.message, problem.hint)
    keys = (problem.key,) if problem.key in node.value else tuple(problem.key.split("."))
    return find(node, keys).problem((*path, *keys), problem.message, problem.hint)
