"""Secrets never leave the machine in a log's last lines, and what is none stays readable."""

from __future__ import annotations

import pytest

from parallel_ml.notify.scrub import Scrubber

LEAKS = (
    ("token ghp_" + "a1B2" * 9, "ghp_"),
    ("hf_" + "AbCd" * 8 + " is used", "hf_"),
    ("OPENAI sk-proj-" + "x1y2" * 10, "sk-"),
    ("sk-ant-api03-" + "x1y2" * 10, "sk-ant"),
    ("aws AKIA" + "ABCDEFGH12345678", "AKIA"),
    ("slack xoxb-1234567890-abcdef", "xoxb-"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJ"),
    ("password=hunter22", "hunter22"),
    ("Password: 'hun ter22'", "ter22"),
    ('{"db_password": "hunter22", "x": 1}', "hunter22"),
    ("WANDB_API_KEY=0123456789abcdef", "0123456789"),
    ("hub_token: hunter22", "hunter22"),
    ("--api-key hunter22 --epochs 3", "hunter22"),
    ("Authorization: Bearer abc.def-123", "abc.def"),
    ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "dXNlcjpwYXNz"),
    ("postgres://bob:hunter22@db/x", "hunter22"),
    ("https://token@github.com/a/b", "token@"),
    ("POST https://oapi.dingtalk.com/robot/send?access_token=0123abcd", "0123abcd"),
    ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693axxx6-7aoc", "693axxx6"),
    ("https://open.feishu.cn/open-apis/bot/v2/hook/0ab-12cd34", "0ab-12cd34"),
    ("-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY-----", "MIIE"),
)
HARMLESS = (
    "ValueError: tokenizer has 32000 tokens, max_tokens: see the manual",
    "max_tokens=512, pad_token='<pad>', token_type_ids: 3",
    'File "/data/train.py", line 12, in main',
    "Epoch 3/10 - loss: 0.5 - val_accuracy: 0.91 - key metric 7",
    "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "see https://keras.io/api?x=1#y and bob@example.org",
    "KeyError: 'label'",
)


@pytest.mark.parametrize(("line", "secret"), LEAKS)
def test_what_looks_like_a_secret_is_masked(line: str, secret: str) -> None:
    """By the form of its token, or by the name beside it."""
    shown = Scrubber().line(line)
    assert secret not in shown
    assert "***" in shown


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_no_secret_stays(line: str) -> None:
    """A message that is all asterisks helps nobody."""
    assert Scrubber().line(line) == line


def test_known_secrets_are_masked_wherever_they_stand() -> None:
    """Those of the settings, and the values of a job's variables that are named like one; longer ones first."""
    scrubber = Scrubber(["abcdefgh", "abcdefgh-long"], {"HF_TOKEN": "zyxwvu", "EPOCHS": "100000", "PIN_KEY": "12"})
    assert scrubber.line("abcdefgh-long|abcdefgh|zyxwvu|100000|12") == "***|***|***|100000|12"


def test_a_private_key_over_several_lines_is_one_line() -> None:
    """Also where its beginning, or its end, is not among the lines."""
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    body = ["A" * 64, "b" * 64]
    scrubber = Scrubber()
    assert scrubber.lines(["x", begin, *body, end, "y"]) == ["x", "***", "y"]
    assert scrubber.lines(["x", begin, *body]) == ["x", "***"]
    assert scrubber.lines([*body, end, "y"]) == ["***", "y"]


def test_a_very_long_line_takes_no_time() -> None:
    """It is cut before the patterns see it."""
    assert len(Scrubber().line("a=" * 500_000)) < 5000
