"""The keys of `notifications:` and of the channels in it. No message here ever shows the value of a secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo

from parallel_ml.config import fields
from parallel_ml.config.section import Section
from parallel_ml.notify.channels.email import SECURITIES, is_address
from parallel_ml.notify.channels.email_presets import PRESETS
from parallel_ml.notify.channels.webhook import is_header
from parallel_ml.notify.http import check_url
from parallel_ml.notify.message import Kind, Level
from parallel_ml.notify.secret import Secret
from parallel_ml.notify.settings import LANGUAGES, QuietHours
from parallel_ml.notify.templates import problem_of

FILE_PREFIX = "file:"
ROBOTS = ("dingtalk", "wecom", "feishu")
SMS_PROVIDERS = ("aliyun", "tencent")
_LONGEST_SECRET = 64 * 1024
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_PHONE = re.compile(r"\+?[0-9]{5,15}")
_SECRET_KEY = re.compile(r"pass|secret|token|key|url|credential|auth", re.IGNORECASE)


@dataclass(frozen=True)
class Places:
    """Where `file:` paths begin: at the folder where the command was typed, else beside the configuration.

    Attributes:
        secret_files: The paths behind `file:` in which a secret was looked for.
    """

    cwd: Path
    folder: Path
    secret_files: list[Path] = field(default_factory=list, compare=False)

    def find(self, named: str) -> Path:
        """Return where a path leads."""
        path = fields.located(named, self.cwd)
        return path if path.exists() else fields.located(named, self.folder)


def is_secret_key(key: str) -> bool:
    """Whether the value of a key is to be hidden: in sections of ours, and by its name in those of other packages."""
    return key == "headers" or _SECRET_KEY.search(key) is not None


def secret_text(value: Any, places: Places) -> Secret:
    """Read a secret: the text itself, or `file:PATH`, whose first and only line it is.

    Raises:
        ValueError: It is empty, no text, or the file cannot be read.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return Secret(str(value))
    if not isinstance(value, str):
        raise ValueError("must be text; put it into quotes")  # noqa: TRY004 - pydantic wants ValueError
    text = value
    if value.startswith(FILE_PREFIX):
        named = value.removeprefix(FILE_PREFIX).strip()
        text = _from_file(named, places)
        places.secret_files.append(places.find(named))
    if not text.strip():
        raise ValueError("must not be empty")
    if not text.isprintable():
        raise ValueError("must be one line of text without control characters")
    return Secret(text.strip())


def _from_file(named: str, places: Places) -> str:
    try:
        data = places.find(named).read_bytes() if named else b""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path"
        raise ValueError(f"the file {named} cannot be read: {reason}") from None
    try:
        return data[:_LONGEST_SECRET].decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the file {named} is not UTF-8 text") from None


def _secret(value: Any, info: ValidationInfo) -> Secret:
    return secret_text(value, _places(info))


def _secret_url(value: Any, info: ValidationInfo) -> Secret:
    found = secret_text(value, _places(info))
    wrong = check_url(found.reveal())
    if wrong is not None:
        raise ValueError(wrong)
    return found


def _places(info: ValidationInfo) -> Places:
    places: Places = (info.context or {})["places"]
    return places


def _headers(value: Any, info: ValidationInfo) -> dict[str, Secret]:
    if not isinstance(value, dict):
        raise ValueError("must be keys with values, such as Authorization: Bearer ...")  # noqa: TRY004
    found = {name: secret_text(text, _places(info)) for name, text in value.items()}
    wrong = next((name for name, text in found.items() if not is_header(name, text.reveal())), None)
    if wrong is not None:
        raise ValueError(f"the header {fields.shown(wrong)} cannot be sent; it must be ASCII text in one line")
    return found


def _address(value: Any) -> str:
    text = fields.text(value).strip()
    if not is_address(text):
        raise ValueError(f"must be a bare e-mail address such as name@example.com, not {fields.shown(text)}")
    return text


def _phone(value: Any) -> str:
    text = re.sub(r"[ ()-]", "", str(value)) if isinstance(value, (str, int)) else ""
    if not _PHONE.fullmatch(text):
        raise ValueError("must be a telephone number such as '13800138000' or '+4915112345678'")
    return text


def _url(value: Any) -> str:
    text = fields.text(value)
    wrong = check_url(text)
    if wrong is not None:
        raise ValueError(wrong)
    return text


def _level(value: Any) -> Level:
    return Level(fields.one_of(value, [str(level) for level in Level]))


def _minute(value: Any) -> int:
    match = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be a time of the day such as 22:00, not {fields.shown(value)}")
    return int(match[1]) * 60 + int(match[2])


def _quiet_hours(value: Any) -> QuietHours:
    """Read `22:00-07:00`, or a mapping with `from`, `to` and `except` (a level, or `none`)."""
    if isinstance(value, str):
        start, dash, end = value.partition("-")
        if not dash:
            raise ValueError(f"must be such as 22:00-07:00, not {fields.shown(value)}")
        value = {"from": start, "to": end}
    if not isinstance(value, dict) or not {"from", "to"} <= set(value) <= {"from", "to", "except"}:
        raise ValueError("must be such as 22:00-07:00, or have the keys from, to and except")
    start_minute, end_minute = _minute(value["from"]), _minute(value["to"])
    if start_minute == end_minute:
        raise ValueError("must not end at the minute in which it begins")
    through = value.get("except", "critical")
    return QuietHours(start_minute, end_minute, None if through in (None, "none") else _level(through))


def _many(read: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    """Return a reader of one value, of several, or of several in one text with commas."""

    def read_all(value: Any) -> tuple[str, ...]:
        parts = re.split(r"[,;]", value) if isinstance(value, str) else value
        return tuple(read(part) for part in fields.listed(at_most=1000)(parts))

    return read_all


def _templates(value: Any, info: ValidationInfo) -> dict[Kind, str]:
    """Read texts by kinds of messages; `file:PATH` is what a file holds."""
    found = {}
    for kind, text in fields.mapping(value).items():
        known = Kind(fields.one_of(kind, [str(known) for known in Kind]))
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{kind} must be a text, or file: and a path")
        from_file = text.startswith(FILE_PREFIX)
        found[known] = _from_file(text.removeprefix(FILE_PREFIX).strip(), _places(info)) if from_file else text
        wrong = problem_of(found[known])
        if wrong is not None:
            raise ValueError(f"{kind}: {wrong}")
    return found


def _links(value: Any) -> dict[str, str]:
    return {label: fields.text(url) for label, url in fields.mapping(value).items()}


def _patterns(value: Any) -> dict[str, str] | tuple[str, ...]:
    if isinstance(value, dict):
        return {str(key): fields.text(text) for key, text in value.items()}
    return tuple(fields.text(text) for text in fields.listed()(value))


Text = Annotated[str, BeforeValidator(fields.text)]
Flag = Annotated[bool, BeforeValidator(fields.flag)]
SecretText = Annotated[Secret, BeforeValidator(_secret)]
SecretUrl = Annotated[Secret, BeforeValidator(_secret_url)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_many(fields.text))]
Addresses = Annotated[tuple[str, ...], BeforeValidator(_many(_address))]
Phones = Annotated[tuple[str, ...], BeforeValidator(_many(_phone))]
Severity = Annotated[Level, BeforeValidator(_level)]
Language = Annotated[str, BeforeValidator(fields.choice(*LANGUAGES))]
Quiet = Annotated[QuietHours, BeforeValidator(_quiet_hours)]


class GeneralSection(Section):
    """What is not about one channel."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    email_enabled: Flag | None = None
    wechat_enabled: Flag | None = None
    phone_enabled: Flag | None = None
    language: Language = "en"
    links: Annotated[dict[str, str], BeforeValidator(_links)] = Field(default_factory=dict)
    templates: Annotated[dict[Kind, str], BeforeValidator(_templates)] = Field(default_factory=dict)
    min_severity: Severity | None = None
    quiet_hours: Quiet | None = None


class ChannelSection(Section):
    """What every channel has."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: Text | None = None
    min_severity: Severity | None = None
    quiet_hours: Quiet | None = None
    language: Language | None = None


class EmailSection(ChannelSection):
    """A mail account; `smtp_server` and `smtp_port` follow from the address where its service is known."""

    smtp_server: Text | None = None
    smtp_port: Annotated[int, BeforeValidator(fields.whole(1, 65535))] | None = None
    security: Annotated[str, BeforeValidator(fields.choice(*SECURITIES))] | None = None
    provider: Annotated[str, BeforeValidator(fields.choice(*PRESETS))] | None = None
    username: Text | None = None
    password: SecretText | None = None
    from_email: Annotated[str, BeforeValidator(_address)] | None = None
    from_name: Text | None = None
    to_emails: Addresses | None = None


class WechatSection(ChannelSection):
    """A robot of DingTalk, WeCom or Feishu, or an application of WeCom."""

    webhook_url: SecretUrl | None = None
    secret: SecretText | None = None
    provider: Annotated[str, BeforeValidator(fields.choice(*ROBOTS))] | None = None
    keyword: Text | None = None
    corp_id: Text | None = None
    agent_id: Text | None = None
    access_token: SecretText | None = None
    to_user: Text | None = None
    at_mobiles: Phones | None = None
    at_user_ids: Texts | None = None
    at_all: Flag | None = None
    base_url: Annotated[str, BeforeValidator(_url)] | None = None


class PhoneSection(ChannelSection):
    """Text messages; for critical ones alone unless `min_severity` says otherwise."""

    provider: Annotated[str, BeforeValidator(fields.choice(*SMS_PROVIDERS))] | None = None
    api_key: SecretText | None = None
    api_secret: SecretText | None = None
    phone_numbers: Phones | None = None
    sign_name: Text | None = None
    template_code: Text | None = None
    sdk_app_id: Text | None = None
    template_id: Text | None = None
    template_params: Annotated[dict[str, str] | tuple[str, ...], BeforeValidator(_patterns)] | None = None
    daily_cap: Annotated[int, BeforeValidator(fields.whole(1, 1000))] | None = None
    base_url: Annotated[str, BeforeValidator(_url)] | None = None


class WebhookSection(ChannelSection):
    """A program of the user's own."""

    url: SecretUrl | None = None
    secret: SecretText | None = None
    headers: Annotated[dict[str, Secret], BeforeValidator(_headers)] | None = None


class AppriseSection(ChannelSection):
    """A service that Apprise knows."""

    url: SecretText | None = None


class ConsoleSection(ChannelSection):
    """Standard error."""
