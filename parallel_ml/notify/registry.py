"""Which types of channels there are, and how settings become channels.

Third parties add a type by the entry point group `parallel_ml.channels`: its name is the type, and it leads to a class
or a function that takes the settings' options and `name` as keyword arguments and returns a `Channel`.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from parallel_ml.errors import MissingPackage, UsageError
from parallel_ml.notify.channel import Channel
from parallel_ml.notify.secret import Secret, mask
from parallel_ml.notify.settings import ChannelSettings, NotificationSettings

GROUP = "parallel_ml.channels"

_CHANNELS = "parallel_ml.notify.channels"
BUILT_IN: Mapping[str, tuple[str, str]] = {
    "apprise": ("apprise", "AppriseNotifier"),
    "console": ("console", "ConsoleNotifier"),
    "dingtalk": ("dingtalk", "DingTalkNotifier"),
    "email": ("email", "EmailNotifier"),
    "feishu": ("feishu", "FeishuNotifier"),
    "sms_aliyun": ("sms_aliyun", "AliyunSms"),
    "sms_tencent": ("sms_tencent", "TencentSms"),
    "webhook": ("webhook", "WebhookNotifier"),
    "wecom": ("wecom_robot", "WeComRobotNotifier"),
    "wecom_app": ("wecom_app", "WeComAppNotifier"),
}
"""Module and class of each type; a module is loaded when its first channel is made."""

Warn = Callable[[str], object]


def channel_types() -> tuple[str, ...]:
    """Return the types of channels that there are, ours and those of installed packages."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def build_channels(settings: NotificationSettings, warn: Warn = warnings.warn) -> list[Channel]:
    """Return the channels that settings ask for, in their order.

    A type of another package that cannot be loaded or made is told to `warn` and left out: nobody's training waits for
    a stranger's bug.

    Raises:
        UsageError: There is no such type, or its settings are not enough.
        MissingPackage: A channel's package is not installed.
    """
    channels = (_build(entry, warn) for entry in settings.channels)
    return [channel for channel in channels if channel is not None]


def _build(entry: ChannelSettings, warn: Warn) -> Channel | None:
    if entry.type not in BUILT_IN:
        return _build_foreign(entry, warn)
    module, name = BUILT_IN[entry.type]
    maker = getattr(importlib.import_module(f"{_CHANNELS}.{module}"), name)
    options = dict(entry.options)
    if entry.type.startswith("sms_"):
        options["language"] = entry.language
    try:
        return cast("Channel", maker(**options, name=entry.name))
    except ValueError as error:
        raise UsageError(f"the channel {entry.name} cannot be made: {error}", "mend its settings") from None


def _build_foreign(entry: ChannelSettings, warn: Warn) -> Channel | None:
    point = _entry_point(entry.type)
    try:
        return cast("Channel", point.load()(**entry.options, name=entry.name))
    except MissingPackage:
        raise
    except Exception as error:  # noqa: BLE001 - another package's code may fail in any way
        reason = mask(f"{type(error).__name__}: {error}", _secrets(entry.options))
        warn(f"the channel {entry.name} is left out: {point.value} of the entry point {entry.type} fails ({reason})")
        return None


def _entry_point(wanted: str) -> EntryPoint:
    found = [point for point in entry_points(group=GROUP) if point.name == wanted]
    if found:
        return found[0]
    known = channel_types()
    near = difflib.get_close_matches(wanted, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the types are {', '.join(known)}"
    raise UsageError(f"there is no type of channels called {wanted}", hint)


def _secrets(value: object) -> list[Secret]:
    if isinstance(value, Secret):
        return [value]
    if isinstance(value, Mapping):
        return [secret for item in value.values() for secret in _secrets(item)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [secret for item in value for secret in _secrets(item)]
    return []
