"""Text messages: what is said in a few characters, whom it reached, and what a provider's codes mean."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from parallel_ml.errors import MissingPackage
from parallel_ml.notify.channel import Fate, own_message
from parallel_ml.notify.channels import sms
from parallel_ml.notify.channels.sms import (
    WORDS,
    Account,
    Meaning,
    SmsChannel,
    check_patterns,
    code_of,
    fitted,
    masked,
    need,
)
from parallel_ml.notify.channels.sms_aliyun import AliyunSms
from parallel_ml.notify.channels.sms_tencent import TencentSms
from parallel_ml.notify.message import Kind, Level, Message
from parallel_ml.notify.secret import Secret

KEY, SECRET = "made-up-key-id", "made-up-key"
NUMBERS = ("13800138000", "13900139000")
FAILED = Message("m-1", Kind.FAILED, Level.CRITICAL, "digits-large failed", job="digits-large", created=0.0)
ALIYUN = pytest.mark.skipif(find_spec("alibabacloud_dysmsapi20170525") is None, reason="Aliyun's SDK is an extra")
TENCENT = pytest.mark.skipif(find_spec("tencentcloud") is None, reason="Tencent's SDK is an extra")


class ScriptedSms(SmsChannel):
    """A provider whose answers are given, one a request."""

    accepted, max_chars = "fine", 6
    meanings: Mapping[str, Meaning] = {
        "busy": Meaning(Fate.RETRY, "too fast", 60),
        "wrong": Meaning(Fate.FAILED, "no such number"),
        "off": Meaning(Fate.DISABLED, "no money"),
        "Limit": Meaning(Fate.RETRY, "a limit"),
    }

    def __init__(self, *codes: str, daily_cap: int = 10, at: float = 0.0) -> None:
        """Answer with these codes, in order."""
        account = Account(Secret(KEY), Secret(SECRET), NUMBERS, "Lab")
        self.at = at
        super().__init__("phone", account, daily_cap=daily_cap, now=lambda: self.at)
        self.codes = list(codes)
        self.asked: list[str] = []

    def describe(self, message: Message) -> str:
        """Return what is said."""
        return self._filled("{job} {status}", message)

    def _send(self, number: str, message: Message, timeout_s: float) -> str:  # noqa: ARG002 - scripted
        self.asked.append(number)
        return self.codes.pop(0)


class Provider(ThreadingHTTPServer):
    """A provider on this machine that answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        """Take any port."""
        super().__init__(("127.0.0.1", 0), Answering)
        self.status, self.answer = 200, b"{}"
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def will_answer(self, answer: object, status: int = 200) -> None:
        """Answer every request with this, as JSON."""
        self.status, self.answer = status, json.dumps(answer).encode()


class Answering(BaseHTTPRequestHandler):
    """One request."""

    server: Provider

    def do_POST(self) -> None:
        """Keep the request and answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Print nothing."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Return a provider that listens until the test ends."""
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def aliyun(provider: Provider, **more: Any) -> AliyunSms:
    """Return the channel, pointed at the provider of the test."""
    return AliyunSms(
        api_key=Secret(KEY),
        api_secret=Secret(SECRET),
        phone_numbers=NUMBERS[:1],
        sign_name="实验室",
        template_code="SMS_1",
        base_url=provider.url,
        **more,
    )


def tencent(provider: Provider, **more: Any) -> TencentSms:
    """Return the channel, pointed at the provider of the test."""
    return TencentSms(
        api_key=Secret(KEY),
        api_secret=Secret(SECRET),
        phone_numbers=NUMBERS[:1],
        sign_name="实验室",
        sdk_app_id="1400006666",
        template_id="449739",
        base_url=provider.url,
        **more,
    )


# --- what is said


@pytest.mark.parametrize("language", WORDS)
def test_each_kind_of_message_has_a_word_that_fits_everywhere(language: str) -> None:
    """What happened is said in at most six characters, for every kind of message."""
    assert set(WORDS[language]) == set(Kind)
    assert all(len(text) <= 6 for text in WORDS[language].values())


@pytest.mark.parametrize(
    ("text", "chars", "said"),
    [
        ("digits", 6, "digits"),
        ("digits-large-v2", 6, "dig-v2"),
        ("digits-large-v2", 20, "digits-large-v2"),
        ("实验三十二号重跑", 6, "实验三号重跑"),
        ("http://evil.example/x", 24, "http: evil-example x"),
        ("acc 0.93", 20, "acc 0.93"),
        ("a\nb\t【c】<d>", 20, "a b c d"),
        ("", 6, "-"),
        ("!!!", 6, "-"),
    ],
)
def test_a_value_is_made_to_fit(text: str, chars: int, said: str) -> None:
    """Both ends of a long name are kept, addresses and signs that providers refuse are not, and nothing is empty."""
    assert fitted(text, chars) == said


@pytest.mark.parametrize("pattern", ["{nothing}", "{job.__class__}", "{job!r}", "{job:>999}", "{", "{0}", "{}"])
def test_a_variable_that_names_nothing_is_refused(pattern: str) -> None:
    """A template's variables name what there is, and reach into nothing."""
    with pytest.raises(ValueError, match=r"not known|expected|Single"):
        check_patterns([pattern])


def test_a_preview_masks_the_numbers_and_has_no_key() -> None:
    """`--dry-run` shows the text, and neither whole numbers nor keys."""
    shown = ScriptedSms().preview(FAILED)
    assert shown == "to 138****8000, 139****9000: [Lab] digled"


# --- whom it reached


def test_all_numbers_reached_is_sent() -> None:
    """Each number is sent the message once."""
    channel = ScriptedSms("fine", "fine")
    assert channel.deliver(FAILED).fate is Fate.SENT
    assert channel.asked == list(NUMBERS)


def test_a_second_attempt_leaves_out_who_has_it() -> None:
    """After a refusal that passes, only the number that lacks the message is asked again."""
    channel = ScriptedSms("fine", "busy", "fine")
    first = channel.deliver(FAILED)
    assert (first.fate, first.retry_after_s) == (Fate.RETRY, 60)
    assert NUMBERS[1] not in first.text
    assert channel.deliver(FAILED).fate is Fate.SENT
    assert channel.asked == [*NUMBERS, NUMBERS[1]]


def test_one_number_that_never_gets_it_is_a_failure() -> None:
    """A provider that accepts one number and refuses another has not delivered the message."""
    reply = ScriptedSms("wrong", "fine").deliver(FAILED)
    assert reply.fate is Fate.FAILED
    assert reply.text == "138****8000: wrong: no such number"


def test_what_the_account_lacks_switches_the_channel_off() -> None:
    """Where nothing will get through, the reply says so."""
    assert ScriptedSms("off", "wrong").deliver(FAILED).fate is Fate.DISABLED


def test_the_daily_cap_holds_until_the_day_of_the_provider_ends() -> None:
    """After so many messages nothing is asked of the provider, until midnight in UTC+8."""
    channel = ScriptedSms("fine", "fine", "fine", "fine", daily_cap=1, at=15 * 3600.0)
    assert channel.deliver(own_message("a", "b")).fate is Fate.SENT
    refused = channel.deliver(own_message("c", "d"))
    assert (refused.fate, refused.retry_after_s) == (Fate.RETRY, 3600)
    channel.at = 16 * 3600.0
    assert channel.deliver(own_message("c", "d")).fate is Fate.SENT


def test_a_provider_that_does_not_answer_in_time_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time-out is for each read alone. A yes that comes late counts: nobody is sent the message twice."""
    monkeypatch.setattr(sms, "TIMEOUT_S", 1.05)
    channel, answer = ScriptedSms("fine", "fine"), threading.Event()
    scripted = channel._send

    def slow(number: str, message: Message, timeout_s: float) -> str:
        assert answer.wait(30)
        return scripted(number, message, timeout_s)

    monkeypatch.setattr(channel, "_send", slow)
    assert channel.deliver(FAILED).fate is Fate.RETRY
    answer.set()
    until = time.monotonic() + 20.0
    while NUMBERS[0] not in channel._reached[FAILED.id]:
        assert time.monotonic() < until
        threading.Event().wait(0.01)
    assert channel.deliver(FAILED).fate is Fate.SENT
    assert channel.asked == list(NUMBERS)


def test_text_messages_are_for_what_is_critical() -> None:
    """Unless the settings say otherwise."""
    assert SmsChannel.min_severity is Level.CRITICAL


# --- what codes mean


@pytest.mark.parametrize("meanings", [AliyunSms.meanings, TencentSms.meanings])
def test_every_code_is_explained_in_a_sentence(meanings: dict[str, Meaning]) -> None:
    """Each known code says what is wrong, and what passes by itself is tried again."""
    assert all(len(meaning.sentence.split()) >= 3 for meaning in meanings.values())
    assert all(meaning.fate is Fate.RETRY for meaning in meanings.values() if meaning.retry_after_s is not None)
    assert not [code for code, meaning in meanings.items() if meaning.fate is Fate.SENT]


def test_a_code_is_known_by_its_family() -> None:
    """`Limit.SomethingNew` is explained as `Limit`, and what nobody knows by its name."""
    channel = ScriptedSms()
    assert channel.explain("Limit.New").sentence == "Limit.New: a limit"
    assert channel.explain("other").fate is Fate.FAILED
    assert "other" in channel.explain("other").sentence


def test_what_a_provider_calls_a_code_is_made_harmless() -> None:
    """Whatever stands where a code should be is short and has no signs."""
    assert code_of("<b>isv.X\n</b>" + "y" * 200) == ("bisv.Xb" + "y" * 200)[:80]
    assert code_of(None) == "no code"


def test_a_short_number_is_masked_wholly() -> None:
    """A number of which little would be hidden is hidden."""
    assert masked("10086") == "****"


def test_a_missing_sdk_names_the_command_that_brings_it() -> None:
    """Without the provider's package the settings are refused, with what to type."""
    with pytest.raises(MissingPackage, match=r"pip install 'parallel-ml\[sms-nobody\]'"):
        need("no_such_package.inside", "no-such-package", "sms-nobody")


# --- the providers' own SDKs, against this machine


@ALIYUN
def test_aliyun_gets_a_signed_request_with_the_template_filled(provider: Provider) -> None:
    """The SDK asks for SendSms with the number, the signature and the variables as JSON."""
    provider.will_answer({"Code": "OK", "Message": "OK", "BizId": "1", "RequestId": "r"})
    reply = aliyun(provider, language="zh").deliver(FAILED)
    path, headers, _ = provider.requests[0]
    asked = {key: values[0] for key, values in parse_qs(urlsplit(path).query).items()}
    assert reply.fate is Fate.SENT
    assert headers["Authorization"].startswith(f"ACS3-HMAC-SHA256 Credential={KEY}")
    assert (asked["PhoneNumbers"], asked["SignName"], asked["TemplateCode"]) == (NUMBERS[0], "实验室", "SMS_1")
    assert json.loads(asked["TemplateParam"]) == {"name": "digits-large", "status": "失败"}


@ALIYUN
@pytest.mark.parametrize(
    ("answer", "status", "fate"),
    [
        ({"Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": "m"}, 200, Fate.RETRY),
        ({"Code": "isv.AMOUNT_NOT_ENOUGH", "Message": "m"}, 200, Fate.DISABLED),
        ({"Code": "isv.MOBILE_NUMBER_ILLEGAL", "Message": "m"}, 200, Fate.FAILED),
        ({"Message": "OK"}, 200, Fate.RETRY),
        ("<html>", 200, Fate.RETRY),
        ({"Code": "SignatureDoesNotMatch", "Message": f"string to sign: {KEY} {SECRET}"}, 400, Fate.DISABLED),
        ({"Code": "InvalidAccessKeyId.NotFound", "Message": KEY}, 404, Fate.DISABLED),
        ({"Code": "ServiceUnavailable", "Message": "m"}, 503, Fate.RETRY),
    ],
)
def test_aliyun_is_believed_by_its_code_alone(provider: Provider, answer: object, status: int, fate: Fate) -> None:
    """A 200 reply with another code than OK is a failure, and no answer's text gets out with a key in it."""
    provider.will_answer(answer, status)
    reply = aliyun(provider).deliver(FAILED)
    assert reply.fate is fate
    assert KEY not in reply.text
    assert SECRET not in reply.text


@TENCENT
def test_tencent_gets_a_signed_request_with_variables_of_six_characters(provider: Provider) -> None:
    """The SDK asks for SendSms with the application, the template and short variables."""
    provider.will_answer({"Response": {"SendStatusSet": [{"Code": "Ok"}], "RequestId": "r"}})
    assert tencent(provider).deliver(FAILED).fate is Fate.SENT
    _, headers, body = provider.requests[0]
    assert headers["X-TC-Action"] == "SendSms"
    assert headers["Authorization"].startswith(f"TC3-HMAC-SHA256 Credential={KEY}/")
    assert json.loads(body) == {
        "PhoneNumberSet": [NUMBERS[0]],
        "SmsSdkAppId": "1400006666",
        "TemplateId": "449739",
        "SignName": "实验室",
        "TemplateParamSet": ["digrge", "failed"],
    }


@TENCENT
@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        ({"SendStatusSet": [{"Code": "Ok"}, {"Code": "FailedOperation.PhoneNumberInBlacklist"}]}, Fate.FAILED),
        ({"SendStatusSet": [{"Code": "LimitExceeded.PhoneNumberDailyLimit"}]}, Fate.RETRY),
        ({"SendStatusSet": [{"Code": "FailedOperation.InsufficientBalanceInSmsPackage"}]}, Fate.DISABLED),
        ({"SendStatusSet": []}, Fate.RETRY),
        ({"Error": {"Code": "AuthFailure.SecretIdNotFound", "Message": KEY}}, Fate.DISABLED),
        ({"Error": {"Code": "InternalError.Timeout", "Message": "m"}}, Fate.RETRY),
    ],
)
def test_tencent_is_believed_by_the_code_of_every_number(
    provider: Provider, answer: dict[str, object], fate: Fate
) -> None:
    """A 200 reply in which one number's code is not Ok is a failure."""
    provider.will_answer({"Response": {**answer, "RequestId": "r"}})
    reply = tencent(provider).deliver(FAILED)
    assert reply.fate is fate
    assert KEY not in reply.text


@ALIYUN
@TENCENT
def test_a_provider_that_is_not_there_is_tried_again() -> None:
    """A connection that nobody takes is no failure for good, and no exception."""
    with Provider() as gone:
        pass
    assert aliyun(gone).deliver(FAILED).fate is Fate.RETRY
    assert tencent(gone).deliver(FAILED).fate is Fate.RETRY
