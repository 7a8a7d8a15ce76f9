"""What the answers of chat services mean, whatever comes; and the public names of the package."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ml import notify
from parallel_ml.notify.channel import Fate
from parallel_ml.notify.channels import dingtalk, feishu, wecom_app, wecom_robot
from parallel_ml.notify.channels.answers import Dialect
from parallel_ml.notify.http import HttpReply
from parallel_ml.notify.secret import Secret

SECRET = Secret("secret-0123456789")
DIALECTS = [dingtalk._DINGTALK, feishu._FEISHU, wecom_app._WECOM, wecom_robot._WECOM]
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

CODES = st.sampled_from([0, -1, 9499, 310000, 19021, 42001, 10**13, None, True, "0", 0.0])
WORDS = (
    st.text(max_size=300)
    | st.sampled_from(["ip", "sign", f"secret-0123456789 {'x' * 300}"])
    | st.none()
    | st.integers()
)
BODIES = st.fixed_dictionaries({}, optional={"errcode": CODES, "code": CODES, "errmsg": WORDS, "msg": WORDS}).map(
    lambda body: json.dumps(body).encode()
) | st.binary(max_size=40)


@settings(max_examples=60)
@given(body=BODIES, status=st.sampled_from([200, 204, 302, 400, 404, 418, 429, 500, 599]))
def test_every_answer_has_a_fate_and_a_sentence(body: bytes, status: int) -> None:
    """Nothing raises, nothing is told that must not be, and success is a code of 0 alone."""
    reply = HttpReply(status, {}, body)
    answers = [module._explained(reply, (SECRET,)) for module in (dingtalk, feishu)]
    answers += [dialect.explain(reply, (SECRET,)) for dialect in DIALECTS]
    for answer in answers:
        assert not UNSAFE.search(answer.text)
        assert 0 < len(answer.text) < 300
        assert SECRET.reveal() not in answer.text
        assert (answer.fate is Fate.SENT) == answer.text.startswith("0: ")
        assert answer.fate is not Fate.SENT or status < 300
        assert answer.retry_after_s is None or answer.fate is Fate.RETRY


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_known_code_says_what_it_means(dialect: Dialect) -> None:
    """The code comes first, then words; 0 is never a refusal."""
    for code, meaning in dialect.meanings.items():
        reply = HttpReply(200, {}, json.dumps({dialect.code: code, dialect.words: "whatever"}).encode())
        answer = dialect.explain(reply)
        assert answer.text == f"{code}: {meaning.text}"
        assert answer.fate is meaning.fate is not Fate.SENT


def test_a_provider_that_says_when_to_come_back_is_obeyed() -> None:
    """Its header comes before our own figure."""
    reply = HttpReply(200, {"retry-after": "7"}, b'{"errcode": 130101}')
    assert dingtalk._DINGTALK.explain(reply).retry_after_s == 7.0


def test_the_public_names_are_sorted_and_there() -> None:
    """Each loads its own module on first use."""
    assert notify.__all__ == sorted(notify.__all__) == dir(notify)
    assert all(getattr(notify, name).__name__ == name for name in notify.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="DingDong"):
        _ = notify.DingDong
