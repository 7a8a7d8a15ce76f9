"""`docs/messages.md`: its examples do what it says."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.config.notifications import load_notifications
from parallel_ml.notify.channel import Fate, own_message
from parallel_ml.notify.channels.webhook import WebhookNotifier
from parallel_ml.notify.message import Kind
from parallel_ml.notify.secret import Secret
from parallel_ml.notify.templates import PLACEHOLDERS
from tests.unit.notify.robots import Answer, Asked, Server

TEXT = (Path(__file__).parents[3] / "docs" / "messages.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
VARIABLES = dict.fromkeys(re.findall(r"\$\{(\w+)\}", TEXT), "x" * 8) | {
    "DINGTALK_WEBHOOK": "https://oapi.dingtalk.com/robot/send?access_token=T0K3N",
    "FEISHU_WEBHOOK": "https://open.feishu.cn/open-apis/bot/v2/hook/x",
}


class Taking(Server):
    """Takes everything."""

    def answer(self, asked: Asked) -> Answer:  # noqa: ARG002 - it takes everything
        """Say yes."""
        return 200, {}


def programs(word: str) -> dict[str, Any]:
    """Return the names that the example with a word in it defines."""
    (code,) = [text for form, text in BLOCKS if form == "python" and word in text]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "messages.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own document
    return names


@pytest.mark.parametrize("text", [text for form, text in BLOCKS if form == "yaml"])
def test_every_example_of_settings_is_a_good_one(tmp_path: Path, text: str) -> None:
    """With its variables set."""
    (tmp_path / "n.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "failed.txt").write_text("{job} failed", encoding="utf-8")
    settings = load_notifications("n.yaml", cwd=tmp_path, environ=VARIABLES)
    assert settings.channels or settings.templates


def test_every_placeholder_and_kind_is_told() -> None:
    """And no other."""
    rows = "\n".join(line for line in TEXT.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`\{(\w+)\}`", rows)) == PLACEHOLDERS
    assert {kind.value for kind in Kind} <= set(re.findall(r"`(\w+)`", TEXT))


@pytest.mark.parametrize("secret", ["a plain word", "whsec_c2VjcmV0IGtleQ=="])
def test_the_way_to_verify_a_webhook_verifies_ours(secret: str) -> None:
    """And nothing else: neither another body, nor another key, nor one of yesterday."""
    is_genuine = programs("is_genuine")["is_genuine"]
    with Taking() as server:
        WebhookNotifier(f"{server.url}/hook", secret=secret).deliver(own_message("a", "b"))
        WebhookNotifier(f"{server.url}/hook", secret=secret, clock=lambda: time.time() - 86400).deliver(
            own_message("a", "b")
        )
    now, old = server.asked
    assert is_genuine(secret, now.headers, now.body)
    assert not is_genuine(secret, now.headers, now.body + b" ")
    assert not is_genuine("another word", now.headers, now.body)
    assert not is_genuine(secret, old.headers, old.body)


def test_the_channel_of_another_package_sends() -> None:
    """As it stands; where nobody listens, its message is kept."""
    pager = programs("class Pager")["Pager"]
    with Taking() as server:
        channel = pager(url=Secret(f"{server.url}/page"), name="night")
        assert channel.send("Backup", "The data set is copied.").fate is Fate.SENT
    assert (channel.name, server.asked[0].body) == ("night", b"Backup\n\nThe data set is copied.")
    assert channel.deliver(own_message("a", "b")).fate is Fate.RETRY
