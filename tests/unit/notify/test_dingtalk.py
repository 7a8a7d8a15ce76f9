"""The DingTalk channel, against a robot that refuses what DingTalk's refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from parallel_ml.errors import UsageError
from parallel_ml.notify import DingTalkNotifier
from parallel_ml.notify.channel import Fate
from parallel_ml.notify.channels.dingtalk import ding_sign
from parallel_ml.notify.message import Message
from tests.unit.notify.messages import hostile, huge, own
from tests.unit.notify.robots import Clock, DingTalk

SECRET = "SECtest-0123456789"  # noqa: S105 - of no account
BLOCKED_S = 600


@pytest.fixture
def robot() -> Iterator[DingTalk]:
    """Return a robot that signs."""
    with DingTalk(secret=SECRET) as server:
        yield server


def channel(robot: DingTalk, **settings: Any) -> DingTalkNotifier:
    """Return a channel to a robot, as its owner set it up."""
    plain = {"secret": robot.secret, "keyword": robot.keyword, "clock": robot.clock, "base_url": robot.url}
    return DingTalkNotifier(robot.webhook, **{**plain, **settings})


def test_the_signature_is_that_of_the_documentation() -> None:
    """A known text gives a known signature."""
    assert ding_sign("SECtest", 1700000000000) == "aZLLrriXgn05YbwaGR7knYsLeJADjr9NwLaNNKpxh4g="


def test_a_signed_message_is_taken(robot: DingTalk) -> None:
    """Title and text arrive as Markdown."""
    reply = channel(robot).send("Backup", "The data set is copied.")
    assert (reply.fate, reply.text) == (Fate.SENT, "0: DingTalk took the message")
    assert robot.taken[0]["markdown"]["title"] == "Backup"
    assert "The data set is copied." in robot.taken[0]["markdown"]["text"]


def test_every_signature_passes_whatever_characters_it_holds(robot: DingTalk) -> None:
    """Plus, slash and equals signs are quoted, once."""
    sender = channel(robot)
    for _ in range(40):
        robot.clock.forward(60.001)
        assert sender.deliver(own()).fate is Fate.SENT
    assert any("+" in asked.query["sign"] for asked in robot.asked)
    assert any("/" in asked.query["sign"] for asked in robot.asked)


def test_a_robot_without_a_signature_needs_no_secret() -> None:
    """Its URL is all, and a secret that is empty is none."""
    with DingTalk() as robot:
        assert channel(robot, secret="").deliver(own()).fate is Fate.SENT
        assert set(robot.asked[0].query) == {"access_token"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"secret": "SECother"}, "copy the secret (SEC...)"),
        ({"secret": None}, "clock is off"),
        ({"clock": Clock(1_700_000_000.0 + 3601)}, "clock is off"),
        ({"clock": Clock(1_700_000_000.0 - 3601)}, "clock is off"),
    ],
)
def test_a_wrong_signature_is_explained(robot: DingTalk, settings: dict[str, Any], words: str) -> None:
    """310000 has several causes; each has its cure."""
    reply = channel(robot, **settings).deliver(own())
    assert reply.text.startswith("310000: the robot's keyword or signature setting does not match")
    assert words in reply.text
    assert reply.fate is (Fate.RETRY if "clock" in words else Fate.DISABLED)


def test_a_clock_that_is_off_by_less_than_an_hour_does(robot: DingTalk) -> None:
    """DingTalk allows for it."""
    assert channel(robot, clock=Clock(robot.clock() - 3599)).deliver(own()).fate is Fate.SENT


def test_a_missing_keyword_is_explained() -> None:
    """The robot filters, and the settings have no keyword."""
    with DingTalk(keyword="[ML]") as robot:
        reply = channel(robot, keyword=None).deliver(own())
    assert reply.fate is Fate.DISABLED
    assert "set `keyword` to one that it knows" in reply.text


@pytest.mark.parametrize("message", [own(), huge(), hostile(), own("", "")])
def test_the_keyword_is_in_every_message(message: Message) -> None:
    """As it is, however it looks in Markdown, and also where the message had to be cut."""
    with DingTalk(keyword="[my_run*]") as robot:
        assert channel(robot).deliver(message).fate is Fate.SENT


def test_a_keyword_that_is_there_is_not_put_in_twice() -> None:
    """The message reads as it was written."""
    with DingTalk(keyword="data set") as robot:
        channel(robot).deliver(own())
        assert robot.taken[0]["markdown"]["text"].count("data set") == 1


def test_an_address_that_the_robot_does_not_know_is_explained(robot: DingTalk) -> None:
    """310000 once more."""
    robot.known_address = False
    reply = channel(robot).deliver(own())
    assert reply.fate is Fate.DISABLED
    assert "add it to its list of addresses" in reply.text


def test_members_are_mentioned_in_the_text_too(robot: DingTalk) -> None:
    """Else DingTalk mentions nobody."""
    sender = channel(robot, at_mobiles=[13800138000], at_user_ids=("ann",), at_all=True)
    assert sender.deliver(huge()).fate is Fate.SENT
    assert robot.taken[0]["at"] == {"atMobiles": ["13800138000"], "atUserIds": ["ann"], "isAtAll": True}
    assert "@13800138000 @ann" in robot.taken[0]["markdown"]["text"]


def test_the_robot_blocks_for_ten_minutes_whoever_is_too_fast(robot: DingTalk) -> None:
    """The 21st message of a minute comes back after them."""
    sender = channel(robot)
    assert {sender.deliver(own()).fate for _ in range(20)} == {Fate.SENT}
    reply = sender.deliver(own())
    assert (reply.fate, reply.retry_after_s) == (Fate.RETRY, BLOCKED_S)
    assert reply.text.startswith("130101: more than 20 messages in a minute")
    robot.clock.forward(BLOCKED_S - 1)
    assert sender.deliver(own()).fate is Fate.RETRY
    robot.clock.forward(1)
    assert sender.deliver(own()).fate is Fate.SENT


def test_the_channel_says_what_dingtalk_takes(robot: DingTalk) -> None:
    """The dispatcher keeps to it."""
    assert channel(robot).limits.per_minute == robot.rate.most


@pytest.mark.parametrize(
    "message", [huge(), huge("\n"), huge('"'), huge("\\"), huge("😀"), huge("\udc80"), hostile(), own("", "")]
)
def test_any_message_is_made_to_fit(robot: DingTalk, message: Message) -> None:
    """Also where JSON or Markdown need more bytes than the text has."""
    assert channel(robot).deliver(message).fate is Fate.SENT


@pytest.mark.parametrize("message", [huge(), huge('"')])
def test_a_long_message_uses_most_of_the_room(robot: DingTalk, message: Message) -> None:
    """Cutting is for what does not fit."""
    channel(robot).deliver(message)
    assert len(robot.asked[0].body) > 18_000


def test_a_removed_robot_is_explained(robot: DingTalk) -> None:
    """Its token is unknown."""
    gone = DingTalkNotifier("https://oapi.dingtalk.com/robot/send?access_token=gone-token", base_url=robot.url)
    reply = gone.deliver(own())
    assert reply.fate is Fate.DISABLED
    assert reply.text.startswith("300005: there is no robot with this access_token")


@pytest.mark.parametrize(
    ("status", "body", "fate", "words"),
    [
        (200, {"errcode": -1, "errmsg": "busy"}, Fate.RETRY, "-1: DingTalk is busy"),
        (200, {"errcode": 999, "errmsg": "odd"}, Fate.FAILED, "999: DingTalk refused the message: odd"),
        (200, {"errcode": 310000, "errmsg": "?"}, Fate.DISABLED, "310000: the robot's keyword or signature setting"),
        (200, {"errcode": 310000}, Fate.DISABLED, "310000: the robot's keyword or signature setting"),
        (200, {"errcode": "0"}, Fate.FAILED, "no errcode"),
        (200, {"errcode": False}, Fate.FAILED, "no errcode"),
        (200, {"errmsg": "ok"}, Fate.FAILED, "no errcode"),
        (200, [0], Fate.FAILED, "no errcode"),
        (200, b"<html>log in", Fate.RETRY, "a log-in page"),
        (200, b"", Fate.RETRY, "a log-in page"),
        (302, b"", Fate.RETRY, "a redirect (HTTP 302)"),
        (404, b"<html>", Fate.DISABLED, "(HTTP 404)"),
        (413, b"", Fate.FAILED, "(HTTP 413)"),
        (429, b"", Fate.RETRY, "(HTTP 429)"),
        (502, b"<html>", Fate.RETRY, "(HTTP 502)"),
        (500, {"errcode": 0}, Fate.RETRY, "(HTTP 500)"),
    ],
)
def test_only_a_code_of_zero_is_success(robot: DingTalk, status: int, body: object, fate: Fate, words: str) -> None:
    """Whatever else comes back has its sentence."""
    robot.instead.append((status, body))
    reply = channel(robot).deliver(own())
    assert reply.fate is fate
    assert words in reply.text


def test_a_provider_that_repeats_secrets_is_not_repeated(robot: DingTalk) -> None:
    """What it says goes into logs."""
    robot.instead.append(
        (200, {"errcode": 7, "errmsg": f"bad {SECRET}, {robot.token}, {robot.webhook}\x1b[31m\n" + "x" * 999})
    )
    reply = channel(robot).deliver(own())
    assert SECRET not in reply.text
    assert robot.token not in reply.text
    assert reply.text.isprintable()
    assert len(reply.text) < 300


def test_a_dead_network_is_a_reason_to_try_again() -> None:
    """Nothing is raised, and the token is not told."""
    with DingTalk() as robot:
        sender = channel(robot)
    reply = sender.deliver(own())
    assert reply.fate is Fate.RETRY
    assert robot.token not in reply.text


def test_the_preview_shows_the_payload_and_no_secret(robot: DingTalk) -> None:
    """For people, and without sending anything."""
    shown = channel(robot, keyword="[ML]").preview(own())
    assert "The data set is copied." in shown
    assert "[ML]" in shown
    assert SECRET not in shown
    assert robot.token not in shown
    assert robot.asked == []


def test_the_channel_itself_shows_no_secret(robot: DingTalk) -> None:
    """Neither it nor what it is made of."""
    sender = channel(robot)
    assert SECRET not in repr(vars(sender)) + repr(sender)
    assert robot.token not in repr(vars(sender)) + repr(sender)


def test_a_secret_that_none_can_be_is_refused_at_once() -> None:
    """It came from a broken environment or file; without repeating it."""
    with pytest.raises(UsageError, match="copy it again") as caught:
        DingTalkNotifier("https://oapi.dingtalk.com/robot/send?access_token=abc", "SEC\udc80abc")
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("webhook", ["", "oapi.dingtalk.com/x?access_token=abc", "http://oapi.dingtalk.com/?t=abc"])
def test_a_webhook_that_cannot_be_used_is_refused_at_once(webhook: str) -> None:
    """Without repeating it."""
    with pytest.raises(UsageError, match=r"^webhook ") as caught:
        DingTalkNotifier(webhook)
    assert "abc" not in str(caught.value)
