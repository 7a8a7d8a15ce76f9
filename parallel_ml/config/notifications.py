"""`notifications:` of a configuration, or a file of its own, to checked `NotificationSettings`.

Only what is switched on is expanded and checked in full: a variable of a channel that is off need not be set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from parallel_ml.config.channels import ChannelReader, is_switched_on
from parallel_ml.config.env_files import Variables, readable_by_others
from parallel_ml.config.loading import Source, load
from parallel_ml.config.notification_files import FILE_NAME, KEY
from parallel_ml.config.notification_schema import GeneralSection, Places
from parallel_ml.config.schema import NOT_YET, Config
from parallel_ml.config.section_reader import Found, SectionReader
from parallel_ml.config.tree import Node, in_order
from parallel_ml.config.tree import Path as KeyPath
from parallel_ml.errors import ConfigError, ConfigProblem
from parallel_ml.notify.settings import ChannelSettings, NotificationSettings, with_unique_names

__all__ = ["FILE_NAME", "KEY", "from_environment", "load_notifications", "read_section", "template"]

_SECTIONS = ("email", "wechat", "phone")


def load_notifications(named: str | Path | None, *, cwd: Path, environ: Mapping[str, str]) -> NotificationSettings:
    """Return what a file asks for: the one that is named, or `notifier_config.yaml` in `cwd` where it is there.

    The file is a `notifications:` section, with that key at its top or without. Where the environment or a `.env` has
    `DINGTALK_WEBHOOK` and the file no robot, there is a channel for it; without any file that one alone.

    Raises:
        ConfigError: The file is not there or wrong.
    """
    path = cwd / os.path.expanduser(named) if named is not None else cwd / FILE_NAME  # noqa: PTH111
    if named is None and not path.exists():
        return from_environment(cwd=cwd, environ=environ)
    shown = str(named or FILE_NAME)
    if not path.exists():
        raise ConfigError([ConfigProblem(shown, None, "", "there is no such file")])
    tree, problems = load(Source(path, shown), environ)
    settings = None
    if tree is not None and not problems:
        node, key_path, problems = _section_of(tree)
        settings, found = read_section(node, cwd=cwd, folder=path.parent, environ=environ, path=key_path)
        problems += found
    if settings is None or problems:
        raise ConfigError(in_order(problems))
    return settings


def from_environment(*, cwd: Path, environ: Mapping[str, str]) -> NotificationSettings:
    """Return what `DINGTALK_WEBHOOK` and `DINGTALK_SECRET`, of the environment or `.env`, ask for: nothing, or a robot.

    Raises:
        ConfigError: The webhook is no URL that may be used.
    """
    settings, problems = read_section(Node({}, "", 0), cwd=cwd, folder=cwd, environ=environ)
    if settings is None or problems:
        raise ConfigError(problems)
    return settings


def read_section(
    node: Node, *, cwd: Path, folder: Path, environ: Mapping[str, str], path: KeyPath = (KEY,)
) -> tuple[NotificationSettings | None, list[ConfigProblem]]:
    """Return what a `notifications:` section asks for, or what is wrong with it.

    Args:
        node: The section as it is written, its variables not replaced.
        cwd: Where the command was typed: `file:` paths begin there.
        folder: Where the configuration is: its `.env` is looked for there first, then in `cwd`.
        environ: The environment.
        path: Where the section stands in the document, for messages.
    """
    variables = Variables(environ, (folder, cwd))
    reader = SectionReader(variables, Places(cwd, folder))
    node = Node({}, node.file, node.line) if node.value is None else node
    if not isinstance(node.value, dict):
        return None, [node.problem(path, "must be keys with values, such as email_enabled: true")]
    general_keys = {key: child for key, child in node.value.items() if key not in (*_SECTIONS, "channels")}
    more = (*_SECTIONS, "channels")
    general, problems = reader.read(GeneralSection, Node(general_keys, node.file, node.line), path, more_keys=more)
    if general is None:
        return None, problems
    channels = _channels(ChannelReader(reader, general), node, general, path)
    problems = [*problems, *channels.problems]
    if problems:
        return None, in_order(problems)
    return (
        NotificationSettings(
            channels=with_unique_names(channels.value),
            language=general.language,
            links=tuple(general.links.items()),
            templates=general.templates,
            warnings=(*map(str, variables.problems), *_warnings(variables, reader, cwd)),
            secret_files=tuple(map(str, reader.secret_files)),
        ),
        [],
    )


def _channels(
    channels: ChannelReader, node: Node, general: GeneralSection, path: KeyPath
) -> Found[tuple[ChannelSettings, ...]]:
    found = []
    for key in _SECTIONS:
        section = node.child(key)
        switch = getattr(general, f"{key}_enabled")
        if is_switched_on(section, switch):
            found.append(channels.section(key, section, node, path))
        elif section is not None:
            channels.check_keys(key, section, path)
    further = node.child("channels")
    found += channels.further(further, (*path, "channels")) if further is not None and further.value is not None else []
    if general.wechat_enabled is not False:
        found += channels.from_environment(found)
    return Found(tuple(one for one in found if one is not None), tuple(channels.problems))


def _section_of(tree: Node) -> tuple[Node, KeyPath, list[ConfigProblem]]:
    """Return the section of a file, and what else is in it and does not belong there."""
    section = tree.child(KEY)
    if section is None:
        return tree, (), []
    known = {*Config.model_fields, *NOT_YET[()]}  # a whole configuration may be named too
    strange = [
        child.problem((key,), "does not belong here", f"move it into {KEY}")
        for key, child in tree.value.items()
        if key not in known and key != KEY
    ]
    return section, (KEY,), strange


def _warnings(variables: Variables, reader: SectionReader, cwd: Path) -> list[str]:
    """Return a line for each file that holds a secret and that others can read."""
    files = dict.fromkeys(
        [*reader.plain_secrets, *map(str, reader.places.secret_files), *map(str, sorted(variables.used))]
    )
    found = []
    for file in files:
        if readable_by_others(cwd / os.path.expanduser(file)):  # noqa: PTH111
            hint = " (or write ${NAME} in it and set the variable)" if file in reader.plain_secrets else ""
            found.append(f"{file}: holds a secret that others on this machine can read; run: chmod 600 {file}{hint}")
    return found


def template() -> str:
    """Return a commented `notifier_config.yaml` in which nothing is switched on yet."""
    return Path(__file__).with_name(FILE_NAME).read_text(encoding="utf-8")
