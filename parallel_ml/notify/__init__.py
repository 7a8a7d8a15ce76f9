"""Messages to people: what they say, how each medium shows it, and how they get there without being lost.

Importing this package is light; each public name loads its own module on first use.

    from parallel_ml.notify import DingTalkNotifier

    DingTalkNotifier(webhook, secret).send("Backup", "The data set is copied.")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parallel_ml.notify.channel import Notifier
    from parallel_ml.notify.channels.dingtalk import DingTalkNotifier
    from parallel_ml.notify.channels.feishu import FeishuNotifier
    from parallel_ml.notify.channels.wecom_app import WeComAppNotifier
    from parallel_ml.notify.channels.wecom_robot import WeComRobotNotifier

__all__ = ["DingTalkNotifier", "FeishuNotifier", "Notifier", "WeComAppNotifier", "WeComRobotNotifier"]

_HOMES = {
    "DingTalkNotifier": "parallel_ml.notify.channels.dingtalk",
    "FeishuNotifier": "parallel_ml.notify.channels.feishu",
    "Notifier": "parallel_ml.notify.channel",
    "WeComAppNotifier": "parallel_ml.notify.channels.wecom_app",
    "WeComRobotNotifier": "parallel_ml.notify.channels.wecom_robot",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is public."""
    return sorted(__all__)
