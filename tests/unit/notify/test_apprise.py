"""Apprise: which of its services are used, and how its yes or no becomes a reply."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from parallel_ml.errors import MissingPackage
from parallel_ml.notify.channel import Fate
from parallel_ml.notify.channels.apprise import REFUSED, AppriseNotifier, refuse
from tests.unit.notify.messages import own
from tests.unit.notify.robots import Answer, Asked, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise, before 3.13


class Json(Server):
    """A receiver of Apprise's `json://`."""

    held: threading.Event | None = None

    def answer(self, asked: Asked) -> Answer:
        """Take everything, at once or when it may."""
        if self.held is not None:
            self.held.wait(5)
        self.taken.append(asked.json())
        return 200, b"ok"


@pytest.fixture
def service() -> Iterator[Json]:
    """Return a service."""
    pytest.importorskip("apprise")
    with Json() as server:
        yield server


def test_a_message_goes_to_the_service(service: Json) -> None:
    """Title, text and level, as Apprise has them."""
    reply = AppriseNotifier(service.url.replace("http", "json") + "/T0K3N").send("Backup", "Copied.", "critical")
    assert (reply.fate, reply.text) == (Fate.SENT, "json://*** took the message")
    assert {key: service.taken[0][key] for key in ("title", "message", "type")} == {
        "title": "Backup",
        "message": "Copied.",
        "type": "failure",
    }


@pytest.mark.parametrize(("status", "fate"), [(401, Fate.DISABLED), (400, Fate.FAILED), (500, Fate.RETRY)])
def test_the_status_is_read_from_what_apprise_logs(service: Json, status: int, fate: Fate) -> None:
    """Its answer alone is no."""
    service.instead.append((status, b"no"))
    reply = AppriseNotifier(service.url.replace("http", "json") + "/T0K3N").deliver(own())
    assert (reply.fate, f"error={status}" in reply.text, "T0K3N" in reply.text) == (fate, True, False)


def test_a_second_message_does_not_pile_up_behind_a_first_that_hangs(service: Json) -> None:
    """It is tried again later, and the first one's thread ends when the service answers."""
    service.held = threading.Event()
    channel = AppriseNotifier(service.url.replace("http", "json"), timeout_s=0.05)
    assert "did not answer" in channel.deliver(own()).text
    assert "still busy" in channel.deliver(own()).text
    service.held.set()


@pytest.mark.parametrize("scheme", REFUSED)
def test_a_plugin_that_loses_messages_is_refused(scheme: str) -> None:
    """With the channel that is used instead; Apprise need not be installed to say so."""
    with pytest.raises(ValueError, match=f"type: {REFUSED[scheme]}") as caught:
        refuse(f"{scheme}://T0K3N@host")
    assert "T0K3N" not in str(caught.value)


def test_a_robots_own_url_does_not_get_in_by_the_back_door() -> None:
    """Apprise makes a plugin of its own from such a URL."""
    pytest.importorskip("apprise")
    with pytest.raises(ValueError, match="type: wecom"):
        AppriseNotifier("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa")


@pytest.mark.parametrize("url", ["nonsense://T0K3N", "T0K3N", "https://host.example/T0K3N"])
def test_what_apprise_does_not_know_is_refused(url: str) -> None:
    """Without the token."""
    pytest.importorskip("apprise")
    with pytest.raises(ValueError, match="no URL that Apprise knows") as caught:
        AppriseNotifier(url)
    assert "T0K3N" not in str(caught.value)


def test_without_apprise_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(MissingPackage, match=r"pip install 'parallel-ml\[apprise\]'"):
        AppriseNotifier("tgram://TOKEN/CHAT")
