"""From settings to channels, with those of other packages."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from parallel_ml.errors import UsageError
from parallel_ml.notify import registry
from parallel_ml.notify.channel import Fate, Limits, Reply
from parallel_ml.notify.channels.console import ConsoleNotifier
from parallel_ml.notify.message import Message
from parallel_ml.notify.secret import Secret
from parallel_ml.notify.settings import ChannelSettings, NotificationSettings

TOKEN = "T0K3N-0123456789"  # noqa: S105 - of no account


class Pager:
    """A channel of another package."""

    limits = Limits()

    def __init__(self, *, name: str, token: Secret, number: int = 1) -> None:
        """Take what the settings say."""
        self.name, self.token, self.number = name, token, number

    def send(self, title: str, content: str, level: str = "info") -> Reply:  # noqa: ARG002
        """Say that it is sent."""
        return Reply(Fate.SENT)

    def deliver(self, message: Message) -> Reply:  # noqa: ARG002
        """Say that it is sent."""
        return Reply(Fate.SENT)

    def preview(self, message: Message) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""


def broken(**options: Any) -> Pager:
    """Fail, and say too much."""
    raise RuntimeError(f"no pager for {options['token'].reveal()}")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install some packages with channels, one of them half."""
    points = [
        EntryPoint(name, value, registry.GROUP)
        for name, value in [
            ("pager", f"{__name__}:Pager"),
            ("broken", f"{__name__}:broken"),
            ("half", "no_such_package_here:Channel"),
        ]
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])


def settings(*channels: ChannelSettings) -> NotificationSettings:
    """Return settings with some channels."""
    return NotificationSettings(channels)


def test_the_channels_come_in_the_order_of_the_settings() -> None:
    """Each with its name."""
    asked = [
        ChannelSettings("screen", "console"),
        ChannelSettings(
            "robot", "dingtalk", {"webhook": Secret("https://oapi.dingtalk.com/robot/send?access_token=1")}
        ),
        ChannelSettings("night", "pager", {"token": Secret(TOKEN), "number": 7}),
    ]
    found = registry.build_channels(settings(*asked))
    assert [channel.name for channel in found] == ["screen", "robot", "night"]
    assert isinstance(found[0], ConsoleNotifier)
    assert isinstance(found[2], Pager)
    assert (found[2].token.reveal(), found[2].number) == (TOKEN, 7)


def test_a_package_that_is_broken_is_left_out_with_a_warning() -> None:
    """The others are made; the warning holds no secret."""
    told: list[str] = []
    asked = [
        ChannelSettings("a", "half"),
        ChannelSettings("b", "broken", {"token": Secret(TOKEN)}),
        ChannelSettings("c", "console"),
    ]
    found = registry.build_channels(settings(*asked), told.append)
    assert [channel.name for channel in found] == ["c"]
    assert "no_such_package_here:Channel" in told[0]
    assert "RuntimeError: no pager for ***" in told[1]
    assert TOKEN not in told[1]


def test_a_type_that_is_not_there_names_the_nearest() -> None:
    """Those of other packages among them."""
    with pytest.raises(UsageError, match="did you mean pager"):
        registry.build_channels(settings(ChannelSettings("a", "pagre")))
    assert {"pager", "email", "sms_tencent"} <= set(registry.channel_types())


def test_settings_that_make_no_channel_are_the_users_mistake() -> None:
    """Told with the channel's name."""
    with pytest.raises(UsageError, match="the channel mine cannot be made: 'nobody' is no e-mail address"):
        registry.build_channels(
            settings(ChannelSettings("mine", "email", {"from_email": "nobody", "to_emails": ("a@b.example",)}))
        )
