"""One configuration that was read and found right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from parallel_ml.config.alerts import AlertSettings, read_alerts
from parallel_ml.config.environment import expand
from parallel_ml.config.fields import located, shell_operator
from parallel_ml.config.loading import Source, load, shape_problem
from parallel_ml.config.notification_files import KEY
from parallel_ml.config.placeholders import misspelt
from parallel_ml.config.schema import LONGEST_NAME, Config
from parallel_ml.config.tree import Node, find, in_order, plain
from parallel_ml.config.validation import validate
from parallel_ml.config.yaml_text import dump, parse
from parallel_ml.core.alert_rules import AlertAction
from parallel_ml.core.model import JobSpec, Resources
from parallel_ml.core.seeds import derive_seed
from parallel_ml.errors import ConfigError, ConfigProblem

DEFAULT_SEED = 42
NO_SHELL = 'no shell is used; write [bash, -c, "..."]'


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration of a run.

    Attributes:
        source: The file as the user named it.
        name: The job's name.
        config: What is asked for, checked, with its variables replaced.
        raw: What is written, laid on what it extends; its variables are not replaced, so no secret is in it.
        warnings: What is allowed and probably not meant, one line each.
        values: `raw` with its variables replaced.
        cwd: What relative paths in it are relative to: the folder where the run was started.
        tree: The document, to name lines in messages.
        alerts: The rules that are watched while it runs.
        notifies: Whether it has a `notifications:` of its own, which is in neither `raw` nor `values`.
    """

    source: str
    name: str
    config: Config
    raw: dict[str, Any]
    warnings: tuple[str, ...]
    values: dict[str, Any] = field(repr=False)
    cwd: Path
    tree: Node = field(repr=False, compare=False)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    notifies: bool = False

    def spec(self, position: int) -> JobSpec:
        """Return what the job is, at a 0-based position of the run."""
        config, wanted = self.config, self.config.resources
        training = config.model_training
        return JobSpec(
            position=position,
            name=self.name,
            source=self.source,
            kind="training" if config.built_in else "command",
            seed=derive_seed(self.user_seed, position),
            resources=Resources(
                gpus=wanted.gpus,
                jobs_per_gpu=wanted.jobs_per_gpu,
                gpu_memory_bytes=wanted.gpu_memory.size_bytes,
                gpu_memory_fraction=wanted.gpu_memory.fraction,
                exclusive=wanted.exclusive,
                cpus=wanted.cpus,
                memory_bytes=wanted.memory,
                allow_cpu=wanted.allow_cpu,
                min_batch_size=wanted.min_batch_size,
            ),
            batch_size=self.batch_size,
            accumulation=training.gradient_accumulation if training else 1,
            epochs=training.epochs if training else None,
            priority=config.priority,
            depends_on=tuple(config.depends_on or ()),
            max_attempts=config.retry.max_attempts if config.retry else 1,
            backoff_s=config.retry.backoff if config.retry else 10.0,
            timeout_s=config.timeout,
            grace_s=config.grace,
            log_max_bytes=config.log.max_size,
        )

    @property
    def user_seed(self) -> int:
        """The seed that the user gave, or the default."""
        data = self.config.data_preprocessing
        return data.random_state if data else DEFAULT_SEED

    @property
    def batch_size(self) -> int | None:
        """The samples of a batch that were asked for; None for an own program that names none."""
        data = self.config.data_preprocessing
        if data is None or not (self.config.built_in or "batch_size" in data.model_fields_set):
            return None
        return data.batch_size

    def snapshot(self) -> str:
        """Return the YAML that `load_snapshot` reads: `raw` with the job's name."""
        return dump(self.raw)

    def problem(self, path: tuple[str | int, ...], message: str, hint: str = "") -> ConfigProblem:
        """Return a problem at a key of this configuration."""
        return find(self.tree, path).problem(path, message, hint)

    def renamed(self, name: str) -> LoadedConfig:
        """Return the same configuration under another name."""
        return replace(self, name=name, raw={**self.raw, "name": name}, values={**self.values, "name": name})


def load_config(
    source: Source, cwd: Path, environ: Mapping[str, str]
) -> tuple[LoadedConfig | None, list[ConfigProblem]]:
    """Return a file's configuration, or everything that is wrong with it and with what it extends."""
    tree, problems = load(source, environ)
    if tree is None:
        return None, problems
    loaded, found = _checked(tree, source.shown, cwd, environ)
    problems = in_order([*problems, *found])
    return (None if problems else loaded), problems


def load_snapshot(text: str, *, source: str, cwd: Path, environ: Mapping[str, str]) -> LoadedConfig:
    """Return the configuration of a snapshot, its variables replaced from the environment of now.

    Args:
        text: What `LoadedConfig.snapshot` returned.
        source: The user's file, for messages.
        cwd: What relative paths are relative to.
        environ: The environment.

    Raises:
        ConfigError: The text is no valid configuration, or a variable is no longer set.
    """
    tree, problems = parse(text, source, dumped=True)
    if tree is not None and (shape := shape_problem(tree)) is not None:
        problems.append(shape)
    loaded = None
    if tree is not None and not problems:
        loaded, problems = _checked(tree, source, cwd, environ)
    if loaded is None:
        # The lines are those of the snapshot, not of the user's file.
        raise ConfigError(replace(problem, line=None) for problem in problems)
    return loaded


def name_of_file(path: str) -> str:
    """Return the name that a file gives its job: its stem, with '-' for every character that no name has.

    >>> name_of_file("configs/my model (2).yaml"), name_of_file("训练.yaml")
    ('my-model-2', 'job')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem).strip("-")[:LONGEST_NAME]
    return name if name.strip(".") else "job"


def _checked(
    tree: Node, source: str, cwd: Path, environ: Mapping[str, str]
) -> tuple[LoadedConfig | None, list[ConfigProblem]]:
    written, notifications = _without(tree, KEY)
    expanded, unset = expand(written, environ)
    config, invalid = validate(expanded, written)
    rules = expanded.child("alerts")
    alerts, wrong = (AlertSettings(), []) if rules is None else read_alerts(rules)
    if notifications is not None:
        from parallel_ml.config.notifications import read_section  # noqa: PLC0415 - few have any, and it is slow to load

        folder = located(source, cwd).parent
        _, found = read_section(notifications, cwd=cwd, folder=folder, environ=environ)
        wrong = [*wrong, *found]
    if config is not None and alerts is not None and rules is not None and not config.built_in:
        wrong = [*wrong, *_not_for_programs(alerts, rules)]
    invalid = [*invalid, *wrong]
    problems = unset + [found for found in invalid if not any(_within(problem.key, found.key) for problem in unset)]
    if config is None or problems:
        return None, problems
    name = config.name or name_of_file(source)
    doubtful = _doubtful(config, expanded)
    if not config.name and not Path(source).stem.isascii():
        doubtful = chain([_shortened(source, name)], doubtful)
    warnings = tuple(str(found) for found in doubtful)
    loaded = LoadedConfig(
        source,
        name,
        config,
        plain(written),
        warnings,
        plain(expanded),
        cwd,
        tree,
        alerts or AlertSettings(),
        notifications is not None,
    )
    return loaded.renamed(name), []


def _not_for_programs(alerts: AlertSettings, rules: Node) -> Iterator[ConfigProblem]:
    names = [rule.name for rule in alerts.rules if rule.action is AlertAction.REDUCE_LR]
    if names:
        hint = "an own program sets its learning rate itself; use stop, pause or notify"
        yield rules.problem(("alerts",), f"reduce_lr ({', '.join(names)}) is for the built-in training", hint)


def _without(tree: Node, key: str) -> tuple[Node, Node | None]:
    """Return a document without one of its keys, and what stands there."""
    found = tree.child(key)
    if found is None:
        return tree, None
    return replace(tree, value={name: child for name, child in tree.value.items() if name != key}), found


def _within(key: str, other: str) -> bool:
    """Whether a dotted key is another or lies below it: what an unset variable left there is no second finding."""
    return key == other or key.startswith((f"{other}.", f"{other}["))


def _shortened(source: str, name: str) -> ConfigProblem:
    message = f"the job is called {name}: only A-Z, a-z, 0-9, '.', '_' and '-' of a file's name are kept"
    return ConfigProblem(source, None, "", message, "name: gives it another name")


def _doubtful(config: Config, tree: Node) -> Iterator[ConfigProblem]:
    """Yield what is allowed and probably not meant."""
    if config.built_in:
        yield from _missing_splits(config, tree)
        if config.params:
            message = "are for an own program; the built-in training does not read them"
            yield find(tree, ("params",)).problem(("params",), message)
    else:
        written = find(tree, ("command",))
        if isinstance(written.value, str) and (operator := shell_operator(written.value)):
            yield written.problem(("command",), f"holds {operator!r}, which goes to the program as text", NO_SHELL)
        if found := misspelt(config.command or ()):
            message = f"{{{found[0]}}} is no placeholder and goes to the program as text"
            yield written.problem(("command",), message, f"did you mean {{{found[1]}}}?")
    training, analysis = config.model_training, config.result_analysis
    if training and analysis and analysis.model_path not in {None, training.checkpoint.filepath}:
        path = ("result_analysis", "model_path")
        message = f"is not the checkpoint's path; the model of {training.checkpoint.filepath} is analysed"
        yield find(tree, path).problem(path, message)


def _missing_splits(config: Config, tree: Node) -> Iterator[ConfigProblem]:
    data, path = config.data_preprocessing, ("data_preprocessing", "split_ratios")
    if data and not data.split_ratios.validation:
        message = "no validation split: no validation accuracy, and the training loss says which epoch is the best"
        yield find(tree, path).problem(path, message)
    if data and not data.split_ratios.test and not data.test_data_path:
        yield find(tree, path).problem(path, "no test split: no test accuracy at the end")
