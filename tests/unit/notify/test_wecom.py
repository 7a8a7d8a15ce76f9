"""The two channels to WeCom, against a robot and an application that refuse what WeCom refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from parallel_ml.errors import UsageError
from parallel_ml.notify import WeComAppNotifier, WeComRobotNotifier
from parallel_ml.notify.channel import Fate
from parallel_ml.notify.message import Message
from tests.unit.notify.messages import hostile, huge, own
from tests.unit.notify.robots import WeComApp, WeComRobot

ANYTHING = [own(), huge(), huge("\n"), huge('"'), huge("<"), huge("😀"), huge("\udc80"), hostile(), own("", "")]


@pytest.fixture
def robot() -> Iterator[WeComRobot]:
    """Return a robot."""
    with WeComRobot() as server:
        yield server


@pytest.fixture
def app() -> Iterator[WeComApp]:
    """Return an application."""
    with WeComApp() as server:
        yield server


def to_robot(robot: WeComRobot, **settings: Any) -> WeComRobotNotifier:
    """Return a channel to a robot."""
    return WeComRobotNotifier(robot.webhook, base_url=robot.url, **settings)


def to_app(app: WeComApp, **settings: Any) -> WeComAppNotifier:
    """Return a channel to an application, as its owner set it up."""
    plain = {"corp_id": app.corp_id, "agent_id": str(app.agent_id), "secret": app.secret}
    return WeComAppNotifier(**{**plain, "base_url": app.url, "clock": app.clock, **settings})


def test_a_message_is_taken(robot: WeComRobot) -> None:
    """As Markdown; a secret, which these robots do not have, does no harm."""
    reply = to_robot(robot, secret="needless").send("Backup", "The data set is copied.")  # noqa: S106 - of no account
    assert (reply.fate, reply.text) == (Fate.SENT, "0: WeCom took the message")
    assert "The data set is copied." in robot.taken[0]["markdown"]["content"]


@pytest.mark.parametrize("message", ANYTHING)
def test_any_message_is_made_to_fit(robot: WeComRobot, message: Message) -> None:
    """4096 bytes as Markdown, 2048 as text, counted as bytes, with the keyword in both."""
    for settings in ({}, {"at_all": True}):
        assert to_robot(robot, keyword="[my_run*]", **settings).deliver(message).fate is Fate.SENT
    assert all("[my_run*]" in taken[taken["msgtype"]]["content"] for taken in robot.taken)
    assert {taken["msgtype"] for taken in robot.taken} == {"markdown", "text"}


def test_a_long_message_uses_most_of_the_room(robot: WeComRobot) -> None:
    """Cutting is for what does not fit."""
    to_robot(robot).deliver(huge())
    assert len(robot.taken[0]["markdown"]["content"].encode()) > 3900


def test_members_are_mentioned_in_markdown_by_their_ids(robot: WeComRobot) -> None:
    """Markdown has that alone."""
    assert to_robot(robot, at_user_ids=["ann", "bob"]).deliver(huge()).fate is Fate.SENT
    assert robot.taken[0]["markdown"]["content"].endswith("<@ann> <@bob>")


def test_members_are_mentioned_in_text_by_phone(robot: WeComRobot) -> None:
    """So the message is text."""
    sender = to_robot(robot, at_mobiles=[13800138000], at_user_ids="ann", at_all=True)
    assert sender.deliver(own()).fate is Fate.SENT
    said = robot.taken[0]["text"]
    assert (said["mentioned_list"], said["mentioned_mobile_list"]) == (["ann", "@all"], ["13800138000"])
    assert sender.limits.max_bytes == 2048


def test_a_job_mentions_nobody(robot: WeComRobot) -> None:
    """What it printed is shown as it is."""
    assert to_robot(robot).deliver(hostile()).fate is Fate.SENT
    assert "<@" not in robot.taken[0]["markdown"]["content"]


def test_the_robot_takes_twenty_messages_a_minute(robot: WeComRobot) -> None:
    """The next one comes back a minute later."""
    sender = to_robot(robot)
    assert {sender.deliver(own()).fate for _ in range(20)} == {Fate.SENT}
    reply = sender.deliver(own())
    assert (reply.fate, reply.retry_after_s) == (Fate.RETRY, 60.0)
    assert reply.text.startswith("45009: more than 20 messages in a minute")
    robot.clock.forward(60)
    assert sender.deliver(own()).fate is Fate.SENT
    assert sender.limits.per_minute == robot.rate.most


def test_a_removed_robot_is_explained(robot: WeComRobot) -> None:
    """And its key is not told."""
    gone = WeComRobotNotifier("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=gone-key", base_url=robot.url)
    reply = gone.deliver(own())
    assert reply.fate is Fate.DISABLED
    assert reply.text.startswith("93000: the key of the URL is not valid")
    assert "gone-key" not in reply.text


@pytest.mark.parametrize(
    ("status", "body", "fate", "words"),
    [
        (200, {"errcode": 40058, "errmsg": "too long"}, Fate.FAILED, "40058: the message is longer"),
        (200, {"errcode": 31, "errmsg": "odd"}, Fate.FAILED, "31: WeCom refused the message: odd"),
        (200, {}, Fate.FAILED, "no errcode"),
        (200, b"<html>", Fate.RETRY, "a log-in page"),
        (502, b"", Fate.RETRY, "(HTTP 502)"),
    ],
)
def test_only_a_code_of_zero_is_success(robot: WeComRobot, status: int, body: object, fate: Fate, words: str) -> None:
    """Whatever else comes back has its sentence."""
    robot.instead.append((status, body))
    reply = to_robot(robot).deliver(own())
    assert reply.fate is fate
    assert words in reply.text


def test_a_provider_that_repeats_the_key_is_not_repeated(robot: WeComRobot) -> None:
    """What it says goes into logs."""
    robot.instead.append((200, {"errcode": 7, "errmsg": f"bad key {robot.key}"}))
    assert to_robot(robot).deliver(own()).text == "7: WeCom refused the message: bad key ***"


def test_the_preview_of_a_robot_shows_no_key(robot: WeComRobot) -> None:
    """And all that is said."""
    shown = to_robot(robot).preview(own())
    assert "The data set is copied." in shown
    assert robot.key not in shown


def test_the_application_gets_a_token_and_keeps_it(app: WeComApp) -> None:
    """One for many messages."""
    sender = to_app(app)
    replies = [sender.deliver(own()) for _ in range(3)]
    assert [reply.text for reply in replies] == ["0: WeCom took the message"] * 3
    assert app.tokens_asked == 1
    assert app.taken[0]["touser"] == "@all"


def test_a_token_is_renewed_before_it_ends(app: WeComApp) -> None:
    """Five minutes before: no message is refused for it."""
    sender = to_app(app)
    sender.deliver(own())
    app.clock.forward(7200 - 300)
    assert sender.deliver(own()).fate is Fate.SENT
    assert app.tokens_asked == 2
    assert len(app.asked) == 4


@pytest.mark.parametrize("code", [40001, 40014, 42001])
def test_a_token_that_is_refused_is_replaced_once(app: WeComApp, code: int) -> None:
    """WeCom may end one at any time."""
    sender = to_app(app)
    sender.deliver(own())
    app.instead.append((200, {"errcode": code, "errmsg": "access_token expired"}))
    assert sender.deliver(own()).fate is Fate.SENT
    assert app.tokens_asked == 2


def test_a_token_that_was_revoked_is_replaced(app: WeComApp) -> None:
    """And the next message has the new one at once."""
    sender = to_app(app)
    sender.deliver(own())
    app.revoke()
    assert sender.deliver(own()).fate is Fate.SENT
    assert sender.deliver(own()).fate is Fate.SENT
    assert app.tokens_asked == 2


def test_a_second_refusal_is_final(app: WeComApp) -> None:
    """No loop, and a sentence."""
    sender = to_app(app)
    sender.deliver(own())
    refusal = (200, {"errcode": 42001, "errmsg": "access_token expired"})
    app.instead += [refusal, (200, {"errcode": 0, "access_token": "t", "expires_in": 7200}), refusal]
    reply = sender.deliver(own())
    assert (reply.fate, reply.text) == (Fate.DISABLED, "42001: the access token has expired")
    assert len(app.asked) == 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"secret": "other"}, "40001: `corp_id` and `secret` do not belong together"),
        ({"corp_id": "other"}, "40013: there is no company"),
        ({"agent_id": 7}, "40056: there is no application"),
        ({"to_user": "carl"}, "81013: no member of `to_user`"),
    ],
)
def test_wrong_settings_are_explained(app: WeComApp, settings: dict[str, Any], words: str) -> None:
    """Nothing gets through until they are mended."""
    reply = to_app(app, **settings).deliver(own())
    assert reply.fate is Fate.DISABLED
    assert reply.text.startswith(words)


def test_an_address_that_is_not_trusted_is_explained(app: WeComApp) -> None:
    """WeCom asks for a list of them."""
    app.known_address = False
    reply = to_app(app).deliver(own())
    assert (reply.fate, reply.text[:6]) == (Fate.DISABLED, "60020:")


def test_members_who_do_not_get_the_message_are_named(app: WeComApp) -> None:
    """A successful reply in which some are missing is no success."""
    reply = to_app(app, to_user=["ann", "carl"]).deliver(own())
    assert reply.fate is Fate.FAILED
    assert reply.text == "0: WeCom took the message, but not for carl; check `to_user`"


def test_a_given_token_is_used_until_it_expires(app: WeComApp) -> None:
    """Then the sentence says what to give."""
    given = app.issue()
    sender = WeComAppNotifier(agent_id=app.agent_id, access_token=given, base_url=app.url, clock=app.clock)
    assert sender.deliver(own()).fate is Fate.SENT
    app.clock.forward(7200)
    reply = sender.deliver(own())
    assert reply.fate is Fate.DISABLED
    assert reply.text.startswith("42001: the `access_token` has expired or is not valid; give a new one")
    assert app.tokens_asked == 0


@pytest.mark.parametrize("message", ANYTHING)
def test_any_message_fits_the_application(app: WeComApp, message: Message) -> None:
    """2048 bytes."""
    assert to_app(app, keyword="[my_run*]").deliver(message).fate is Fate.SENT
    assert "[my_run*]" in app.taken[0]["markdown"]["content"]


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        ((200, b"<html>"), Fate.RETRY),
        ((502, b""), Fate.RETRY),
        ((200, {"errcode": -1}), Fate.RETRY),
        ((200, {"errcode": 0}), Fate.FAILED),
        ((200, {"errcode": 0, "access_token": 7, "expires_in": 7200}), Fate.FAILED),
    ],
)
def test_no_token_is_no_message(app: WeComApp, answer: tuple[int, Any], fate: Fate) -> None:
    """What came instead decides; the next message asks again."""
    sender = to_app(app)
    app.instead.append(answer)
    assert sender.deliver(own()).fate is fate
    assert sender.deliver(own()).fate is Fate.SENT


def test_the_time_out_is_for_the_token_and_the_message_together(app: WeComApp) -> None:
    """A channel holds its sender up no longer than it says."""
    reply = to_app(app, timeout_s=-1.0).deliver(own())
    assert (reply.fate, reply.text) == (Fate.RETRY, "no time was left to ask 127.0.0.1")
    assert app.asked == []


def test_a_dead_network_tells_no_secret() -> None:
    """The application's secret goes in a URL."""
    with WeComApp() as app:
        sender = to_app(app)
    reply = sender.deliver(own())
    assert reply.fate is Fate.RETRY
    assert app.secret not in reply.text


def test_nothing_that_is_shown_holds_a_secret_or_a_token(app: WeComApp) -> None:
    """Neither the preview nor the object."""
    sender = to_app(app)
    sender.deliver(own())
    shown = sender.preview(own()) + repr(vars(sender)) + repr(sender)
    assert "access_token=***" in shown
    assert not any(secret in shown for secret in [app.secret, *app.tokens])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"corp_id": "c", "agent_id": 1},
        {"corp_id": "c", "secret": "s"},
        {"corp_id": "c", "secret": "s", "agent_id": "one"},
        {"access_token": "t", "agent_id": 1, "base_url": "http://gateway.example"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings: dict[str, Any]) -> None:
    """Something is missing, or the token would be shown to the network."""
    with pytest.raises(UsageError, match=r"needs|must begin with https"):
        WeComAppNotifier(**settings)
