"""The channels of `notifications:`: which are switched on, of what type, and whether they have what they need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import urlsplit

from parallel_ml.config import fields
from parallel_ml.config import notification_schema as schema
from parallel_ml.config.environment import is_expanded
from parallel_ml.config.notification_files import SECRET_VARIABLE, WEBHOOK_VARIABLE
from parallel_ml.config.section_reader import SectionReader, unknown_keys
from parallel_ml.config.tree import Node, Path, plain
from parallel_ml.errors import ConfigProblem
from parallel_ml.notify.channels.apprise import refuse, scheme_of
from parallel_ml.notify.channels.email import is_address
from parallel_ml.notify.channels.email_presets import preset_of
from parallel_ml.notify.http import is_loopback
from parallel_ml.notify.message import Level
from parallel_ml.notify.registry import channel_types
from parallel_ml.notify.secret import Secret
from parallel_ml.notify.settings import ChannelSettings

_MODELS: dict[str, type[schema.ChannelSection]] = {
    "apprise": schema.AppriseSection,
    "console": schema.ConsoleSection,
    "email": schema.EmailSection,
    "phone": schema.PhoneSection,
    "webhook": schema.WebhookSection,
    "wechat": schema.WechatSection,
}
_ALIASES = {
    **{robot: ("wechat", robot) for robot in schema.ROBOTS},
    "wecom_app": ("wechat", "wecom"),
    "sms": ("phone", None),
    **{f"sms_{provider}": ("phone", provider) for provider in schema.SMS_PROVIDERS},
}
"""Types that are written and read as another one, and the provider that they mean."""

_HOSTS = {
    "dingtalk.com": "dingtalk",
    "qyapi.weixin.qq.com": "wecom",
    "feishu.cn": "feishu",
    "larksuite.com": "feishu",
}
_FITTING = {
    "dingtalk": ("secret", "keyword", "at_mobiles", "at_user_ids", "at_all", "base_url"),
    "wecom": ("secret", "keyword", "at_mobiles", "at_user_ids", "at_all", "base_url"),
    "feishu": ("secret", "keyword", "at_user_ids", "at_all", "base_url"),
    "wecom_app": ("corp_id", "agent_id", "secret", "to_user", "access_token", "keyword", "base_url"),
}
_COMMON = frozenset(schema.ChannelSection.model_fields)


def is_switched_on(section: Node | None, switch: bool | None) -> bool:  # noqa: FBT001 - three values
    """Whether a section counts: its switch says so, or it is there and has none."""
    return switch if switch is not None else section is not None


def provider_of(url: Secret) -> str | None:
    """Return whose robot a URL leads to, told by its host, or None."""
    host = urlsplit(url.reveal()).hostname or ""
    return next((robot for known, robot in _HOSTS.items() if host == known or host.endswith(f".{known}")), None)


class ChannelReader:
    """Reads channels, and gathers what is wrong with them in `problems`."""

    def __init__(self, reader: SectionReader, general: schema.GeneralSection) -> None:
        """Take the reader of sections and what holds for all channels."""
        self._reader, self._general = reader, general
        self.problems: list[ConfigProblem] = []

    def section(self, key: str, section: Node | None, parent: Node, path: Path) -> ChannelSettings | None:
        """Return the channel of `email`, `wechat` or `phone`, which is switched on."""
        hint = f"or set {key}_enabled: false"
        if section is None or section.value is None:
            node = section or parent.child(f"{key}_enabled") or parent
            if key != "wechat" or WEBHOOK_VARIABLE not in self._reader.variables:
                self.problems.append(node.problem((*path, key), "is switched on, but has no settings", hint))
            return None  # the robot of the environment is added at the end
        return self._channel(key, section, (*path, key), None, hint)

    def check_keys(self, key: str, section: Node, path: Path) -> None:
        """Look for misspelt keys in a section that is switched off; of its values only where its secrets are counts."""
        self.problems += unknown_keys(_MODELS[key], section, (*path, key))
        self._reader.note_idle_files(section)

    def further(self, node: Node, path: Path) -> list[ChannelSettings | None]:
        """Return the channels of the list `channels`."""
        if not isinstance(node.value, list):
            self.problems.append(node.problem(path, "must be a list of channels, such as [{type: console}]"))
            return []
        return [self._entry(entry, (*path, place)) for place, entry in enumerate(node.value)]

    def from_environment(self, found: Iterable[ChannelSettings | None]) -> list[ChannelSettings | None]:
        """Return the robot that the environment asks for; none where there is one of DingTalk already."""
        variables = self._reader.variables
        if not variables.get(WEBHOOK_VARIABLE) or any(channel and channel.type == "dingtalk" for channel in found):
            return []
        written = {"webhook_url": Node(variables[WEBHOOK_VARIABLE], WEBHOOK_VARIABLE, 1)}
        section, problems = self._reader.read(schema.WechatSection, Node(written, WEBHOOK_VARIABLE, 1), ())
        if section is None or section.webhook_url is None:
            self.problems += [ConfigProblem(None, None, WEBHOOK_VARIABLE, found.message) for found in problems]
            return []
        secret = variables.get(SECRET_VARIABLE)
        options = {"webhook": section.webhook_url, **({"secret": Secret(secret)} if secret else {})}
        return [self._settings("dingtalk", "dingtalk", options, section)]

    def _entry(self, entry: Node, path: Path) -> ChannelSettings | None:
        if isinstance(entry.value, str):
            return self._short(entry, path)
        kind = plain(entry).get("type") if isinstance(entry.value, dict) else None
        known = sorted({*channel_types(), *_MODELS, *_ALIASES})
        if not isinstance(kind, str) or kind not in known:
            guess = fields.nearest(kind, known) if isinstance(kind, str) else None
            hint = f"did you mean {guess}?" if guess else f"the types are {', '.join(known)}"
            what = "must have a type" if kind is None else f"there is no type of channels called {fields.shown(kind)}"
            self.problems.append((entry.child("type") or entry).problem((*path, "type"), what, hint))
            return None
        settings = {key: child for key, child in entry.value.items() if key != "type"}
        model, provider = _ALIASES.get(kind, (kind, None))
        node = Node(settings, entry.file, entry.line)
        if model in _MODELS:
            return self._channel(model, node, path, provider, "")
        return self._foreign(kind, node, path)

    def _short(self, entry: Node, path: Path) -> ChannelSettings | None:
        """Return the channel that is written as one text: a URL, or a type that needs nothing else."""
        expanded, problems = self._reader.expanded(entry, path)
        self.problems += problems
        if problems:
            return None
        if "://" not in expanded.value:
            if is_expanded(entry.value):
                self.problems.append(
                    entry.problem(path, "is a variable that holds no URL", "it must be one of Apprise's")
                )
                return None
            return self._entry(Node({"type": expanded}, entry.file, entry.line), path)
        robot = provider_of(Secret(expanded.value)) is not None
        kind, key = ("wechat", "webhook_url") if robot else ("apprise", "url")
        return self._channel(kind, Node({key: entry}, entry.file, entry.line), path, None, "")

    def _channel(self, kind: str, node: Node, path: Path, provider: str | None, hint: str) -> ChannelSettings | None:
        """Return a channel of a kind that is ours."""
        section, problems = self._reader.read(_MODELS[kind], node, path)
        self.problems += problems
        if section is None:
            return None
        made = _MAKERS[kind](section, provider, self._reader.variables)
        if isinstance(made, _Lack):
            said = "; ".join(part for part in (made.hint, hint) if part)
            self.problems.append(node.problem(path, made.message, said))
            return None
        channel_type, name, options = made
        return self._settings(channel_type, name, options, section)

    def _foreign(self, kind: str, node: Node, path: Path) -> ChannelSettings | None:
        """Return a channel of another package: its options as they are written, those with telling names as secrets."""
        common = {key: child for key, child in node.value.items() if key in _COMMON}
        section, problems = self._reader.read(schema.ChannelSection, Node(common, node.file, node.line), path)
        expanded, unset = self._reader.expanded(node, path)
        options: dict[str, Any] = {}
        for key, child in expanded.value.items() if not unset else ():
            if key in _COMMON:
                continue
            try:
                hidden = schema.is_secret_key(key) and isinstance(child.value, str)
                options[key] = schema.secret_text(child.value, self._reader.places) if hidden else plain(child)
            except ValueError as error:
                problems.append(child.problem((*path, key), str(error)))
        self.problems += [*problems, *unset]
        self._reader.note_secrets(node)
        return None if section is None or problems or unset else self._settings(kind, kind, options, section)

    def _settings(
        self, kind: str, name: str, options: dict[str, Any], section: schema.ChannelSection
    ) -> ChannelSettings:
        least = Level.CRITICAL if kind.startswith("sms_") else self._general.min_severity or Level.INFO
        return ChannelSettings(
            name=section.name or name,
            type=kind,
            options=options,
            min_severity=section.min_severity or least,
            quiet_hours=section.quiet_hours or self._general.quiet_hours,
            language=section.language or self._general.language,
        )


class _Lack:
    """Why a section makes no channel."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint


_Made = tuple[str, str, dict[str, Any]] | _Lack


def _missing(section: schema.ChannelSection, keys: Iterable[str]) -> _Lack | None:
    lacking = [key for key in keys if getattr(section, key) is None]
    if not lacking:
        return None
    *first, last = lacking
    told = f"{', '.join(first)} and {last}" if first else last
    return _Lack(f"is switched on, but {told} {'are' if first else 'is'} missing")


def _given(section: schema.ChannelSection, keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key in keys if (value := getattr(section, key, None)) is not None}


def _email(found: schema.ChannelSection, _provider: str | None, _variables: object) -> _Made:
    section = cast("schema.EmailSection", found)
    user = section.username
    sender = section.from_email or (user if user and is_address(user) else None)
    options = _given(section, [key for key in schema.EmailSection.model_fields if key not in _COMMON])
    if sender is None:
        return _missing(section, ["from_email", "to_emails"]) or _Lack("from_email is missing")
    preset = section.provider or preset_of(sender)
    server = section.smtp_server
    needed = ["to_emails", *(() if server or preset else ("smtp_server",))]
    if (user or not server) and not (server and is_loopback(server)):
        needed.append("password")
    lack = _missing(section, needed)
    if lack is not None:
        return lack
    if section.security == "plain" and not (server and is_loopback(server)):
        return _Lack("security: plain would show the password to the network", "leave security out")
    return "email", "email", {**options, "from_email": sender}


def _wechat(found: schema.ChannelSection, provider: str | None, variables: Any) -> _Made:
    section = cast("schema.WechatSection", found)
    if section.webhook_url is None and (section.corp_id or section.access_token or section.agent_id):
        needed = ["agent_id"] if section.access_token else ["corp_id", "agent_id", "secret"]
        lack = _missing(section, needed)
        return lack or ("wecom_app", "wecom", _given(section, _FITTING["wecom_app"]))
    url = section.webhook_url
    wanted = section.provider or provider
    if url is None and wanted in (None, "dingtalk") and variables.get(WEBHOOK_VARIABLE):
        url, wanted = Secret(variables[WEBHOOK_VARIABLE]), "dingtalk"
    if url is None:
        return _Lack("is switched on, but webhook_url is missing", "copy it from the robot's settings")
    robot = wanted or provider_of(url)
    if robot is None:
        host = urlsplit(url.reveal()).hostname
        return _Lack(f"whose robot is at {host} cannot be told", f"set provider to one of {', '.join(schema.ROBOTS)}")
    options = {"webhook": url, **_given(section, _FITTING[robot])}
    if (
        robot == "dingtalk"
        and "secret" not in options
        and variables.get(SECRET_VARIABLE)
        and section.webhook_url is None
    ):
        options["secret"] = Secret(variables[SECRET_VARIABLE])
    return robot, robot, options


def _phone(found: schema.ChannelSection, provider: str | None, _variables: object) -> _Made:
    section = cast("schema.PhoneSection", found)
    wanted = section.provider or provider
    if wanted is None:
        return _Lack("provider is missing", f"it is one of {', '.join(schema.SMS_PROVIDERS)}")
    own = {"aliyun": ("template_code",), "tencent": ("sdk_app_id", "template_id")}[wanted]
    needed = ("api_key", "api_secret", "phone_numbers", "sign_name", *own)
    lack = _missing(section, needed)
    if lack is not None:
        return lack
    shape = dict if wanted == "aliyun" else tuple
    if section.template_params is not None and not isinstance(section.template_params, shape):
        return _Lack(f"template_params must be {'keys with values' if wanted == 'aliyun' else 'a list'} for {wanted}")
    return f"sms_{wanted}", "phone", _given(section, (*needed, "template_params", "daily_cap", "base_url"))


def _webhook(found: schema.ChannelSection, _provider: str | None, _variables: object) -> _Made:
    return _missing(found, ["url"]) or ("webhook", "webhook", _given(found, ("url", "secret", "headers")))


def _apprise(found: schema.ChannelSection, _provider: str | None, _variables: object) -> _Made:
    section = cast("schema.AppriseSection", found)
    if section.url is None:
        return _Lack("is switched on, but url is missing")
    try:
        refuse(section.url)
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        return _Lack(message, hint)
    return "apprise", scheme_of(section.url), {"urls": section.url}


def _console(_found: schema.ChannelSection, _provider: str | None, _variables: object) -> _Made:
    return "console", "console", {}


_MAKERS = {
    "apprise": _apprise,
    "console": _console,
    "email": _email,
    "phone": _phone,
    "webhook": _webhook,
    "wechat": _wechat,
}
