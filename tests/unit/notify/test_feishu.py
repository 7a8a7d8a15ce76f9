"""The Feishu channel, against a robot that refuses what Feishu's refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from parallel_ml.errors import UsageError
from parallel_ml.notify import FeishuNotifier
from parallel_ml.notify.channel import Fate
from parallel_ml.notify.channels.feishu import feishu_sign
from parallel_ml.notify.message import Kind, Level, Message
from tests.unit.notify.messages import hostile, huge, own
from tests.unit.notify.robots import Clock, Feishu

SECRET = "feishu-secret-0123456789"  # noqa: S105 - of no account


@pytest.fixture
def robot() -> Iterator[Feishu]:
    """Return a robot that signs."""
    with Feishu(secret=SECRET) as server:
        yield server


def channel(robot: Feishu, **settings: Any) -> FeishuNotifier:
    """Return a channel to a robot, as its owner set it up."""
    plain = {"secret": robot.secret, "keyword": robot.keyword, "clock": robot.clock, "base_url": robot.url}
    return FeishuNotifier(robot.webhook, **{**plain, **settings})


def text_of(taken: Any) -> str:
    """Return the Markdown of a card."""
    return str(taken["card"]["elements"][0]["content"])


def test_the_signature_is_that_of_the_documentation() -> None:
    """A known text gives a known signature."""
    assert feishu_sign("test", 1700000000) == "eSJQnOl8XqPTMPHWz9e5IzeHS/tqoc68g2967ekIPmg="


def test_a_signed_card_is_taken(robot: Feishu) -> None:
    """The title is in its head, the text below."""
    reply = channel(robot).send("Backup", "The data set is copied.")
    assert (reply.fate, reply.text) == (Fate.SENT, "0: Feishu took the message")
    assert robot.taken[0]["card"]["header"]["title"]["content"] == "Backup"
    assert text_of(robot.taken[0]) == "The data set is copied."


def test_a_robot_without_a_signature_gets_none() -> None:
    """Its URL is all."""
    with Feishu() as robot:
        assert channel(robot).deliver(own()).fate is Fate.SENT
    assert not {"timestamp", "sign"} & set(robot.taken[0])


@pytest.mark.parametrize(
    ("message", "colour"),
    [
        (own(), "blue"),
        (own(level=Level.WARNING), "orange"),
        (own(level=Level.CRITICAL), "red"),
        (Message("m", Kind.FINISHED, Level.INFO, "mnist finished"), "green"),
        (Message("m", Kind.RUN_DONE, Level.WARNING, "run done, 1 failed"), "orange"),
    ],
)
def test_the_head_has_the_colour_of_the_level(message: Message, colour: str) -> None:
    """Green is for what went well."""
    with Feishu(keyword="run") as robot:
        assert channel(robot).deliver(message).fate is Fate.SENT
    assert robot.taken[0]["card"]["header"]["template"] == colour


@pytest.mark.parametrize("settings", [{"secret": "other"}, {"secret": None}, {"clock": Clock(1_700_003_601.0)}])
def test_a_wrong_signature_is_explained(robot: Feishu, settings: dict[str, Any]) -> None:
    """Secret or clock: Feishu does not say which."""
    reply = channel(robot, **settings).deliver(own())
    assert reply.fate is Fate.DISABLED
    assert reply.text.startswith("19021: the signature does not match, or this machine's clock is off")


def test_a_missing_keyword_is_explained() -> None:
    """The robot filters, and the settings have no keyword."""
    with Feishu(keyword="[ML]") as robot:
        reply = channel(robot, keyword=None).deliver(own())
    assert reply.fate is Fate.DISABLED
    assert reply.text.startswith("19024: the message has none of the robot's keywords; set `keyword`")


@pytest.mark.parametrize("message", [own(), huge(), hostile(), own("Title alone", "")])
def test_the_keyword_is_in_every_message(message: Message) -> None:
    """As it is, however it looks in Markdown, and also where the message had to be cut."""
    with Feishu(keyword="[my_run*]") as robot:
        assert channel(robot).deliver(message).fate is Fate.SENT


def test_an_address_that_the_robot_does_not_know_is_explained(robot: Feishu) -> None:
    """19022."""
    robot.known_address = False
    reply = channel(robot).deliver(own())
    assert (reply.fate, reply.text[:5]) == (Fate.DISABLED, "19022")
    assert "list of addresses" in reply.text


def test_a_wrong_url_is_explained_although_feishu_answers_400(robot: Feishu) -> None:
    """The code in the body counts."""
    gone = FeishuNotifier("https://open.feishu.cn/open-apis/bot/v2/hook/gone-token", base_url=robot.url)
    reply = gone.deliver(own())
    assert reply.fate is Fate.DISABLED
    assert reply.text.startswith("19001: there is no robot at this URL")


def test_members_are_mentioned(robot: Feishu) -> None:
    """Also where the message had to be cut."""
    assert channel(robot, at_user_ids="ou_1", at_all=True).deliver(huge()).fate is Fate.SENT
    assert text_of(robot.taken[0]).endswith("<at id=ou_1></at> <at id=all></at>")


def test_a_job_mentions_nobody(robot: Feishu) -> None:
    """What it printed is shown as it is."""
    assert channel(robot).deliver(hostile()).fate is Fate.SENT
    assert "<at" not in text_of(robot.taken[0])


def test_the_robot_takes_five_messages_a_second(robot: Feishu) -> None:
    """The sixth comes back a minute later."""
    sender = channel(robot)
    assert {sender.deliver(own()).fate for _ in range(5)} == {Fate.SENT}
    reply = sender.deliver(own())
    assert (reply.fate, reply.retry_after_s) == (Fate.RETRY, 60.0)
    assert reply.text.startswith("11232: ")
    robot.clock.forward(60)
    assert sender.deliver(own()).fate is Fate.SENT
    assert (sender.limits.per_minute, sender.limits.per_second) == tuple(rate.most for rate in robot.rates)


@pytest.mark.parametrize(
    "message", [huge(), huge("\n"), huge('"'), huge("<"), huge("😀"), huge("\udc80"), hostile(), own("", "")]
)
def test_any_message_is_made_to_fit(robot: Feishu, message: Message) -> None:
    """The limit is for the whole body."""
    assert channel(robot).deliver(message).fate is Fate.SENT
    assert len(robot.asked[0].body) <= 20 * 1024


@pytest.mark.parametrize("message", [huge(), huge('"')])
def test_a_long_message_uses_most_of_the_room(robot: Feishu, message: Message) -> None:
    """Cutting is for what does not fit."""
    channel(robot).deliver(message)
    assert len(robot.asked[0].body) > 18_000


@pytest.mark.parametrize(
    ("status", "body", "fate", "words"),
    [
        (200, {"code": 9499, "msg": "too many request"}, Fate.RETRY, "9499: more than 100 messages"),
        (400, {"code": 9499, "msg": "Bad Request"}, Fate.FAILED, "9499: Feishu takes the message for malformed"),
        (200, {"code": 19007, "msg": "Bot Not Enabled"}, Fate.DISABLED, "19007: the robot is switched off"),
        (200, {"code": 12345, "msg": "odd"}, Fate.FAILED, "12345: Feishu refused the message: odd"),
        (200, {"StatusCode": 0, "StatusMessage": "success"}, Fate.FAILED, "no code"),
        (200, b"<html>", Fate.RETRY, "a log-in page"),
        (503, b"", Fate.RETRY, "(HTTP 503)"),
    ],
)
def test_only_a_code_of_zero_is_success(robot: Feishu, status: int, body: object, fate: Fate, words: str) -> None:
    """Whatever else comes back has its sentence."""
    robot.instead.append((status, body))
    reply = channel(robot).deliver(own())
    assert reply.fate is fate
    assert words in reply.text


def test_a_provider_that_repeats_the_token_is_not_repeated(robot: Feishu) -> None:
    """What it says goes into logs."""
    robot.instead.append((400, {"code": 7, "msg": f"bad hook {robot.token}"}))
    assert channel(robot).deliver(own()).text == "7: Feishu refused the message: bad hook ***"


def test_lark_is_the_same_elsewhere(robot: Feishu) -> None:
    """Its robots have another host."""
    webhook = robot.webhook.replace("feishu.cn", "larksuite.com")
    sender = FeishuNotifier(webhook, SECRET, base_url=robot.url, clock=robot.clock)
    assert sender.deliver(own()).fate is Fate.SENT
    assert FeishuNotifier(webhook).preview(own()).startswith("POST https://open.larksuite.com/***\n")


def test_the_preview_shows_the_payload_and_no_secret(robot: Feishu) -> None:
    """The signature is masked too."""
    shown = channel(robot).preview(own())
    assert "The data set is copied." in shown
    assert '"sign": "***"' in shown
    assert SECRET not in shown
    assert robot.token not in shown


def test_a_webhook_that_cannot_be_used_is_refused_at_once() -> None:
    """Without repeating it."""
    with pytest.raises(UsageError, match=r"^webhook must begin with https://") as caught:
        FeishuNotifier("http://open.feishu.cn/open-apis/bot/v2/hook/abc")
    assert "abc" not in str(caught.value)
