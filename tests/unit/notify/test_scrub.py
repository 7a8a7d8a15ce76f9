"""Secrets never leave the machine in a log's last lines, and what is none stays readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.notify.scrub import Scrubber
from parallel_ml.notify.secret import Secret
from parallel_ml.notify.secret_parts import secrets_in

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
    ("https://hooks.slack.com/services/T0000AAAA/B0000BBBB/abcdefghijkl", "B0000BBBB"),
    ("https://discord.com/api/webhooks/4174216298/JHMHI8q-x", "JHMHI8q"),
    ("WANDB_API_KEY 0123456789abcdef0123", "0123456789"),
    ("HF_TOKEN    AbCdEfGh12345678", "AbCdEfGh"),
    ("AWS_SECRET_ACCESS_KEY wJalrXUtnFEMI/K7MDENG/bPx", "K7MDENG"),
    ("wandb: Your api key: 0123456789abcdef0123", "0123456789"),
    ("login with password hunter22x", "hunter22x"),
    ("Authorization: Bearer x", "Bearer x"),
    ("authorization Bearer abc", "abc"),
    ('Authorization: Digest username="bob", response="0123abcd"', "0123abcd"),
    ("X-Api-Key: hunter22", "hunter22"),
    ("train.py --password x1 --epochs 3", "x1"),
    ("train.py --password=hunter22", "hunter22"),
    ("['train.py', '--password', 'hunter22']", "hunter22"),
    ("sk-svcacct-" + "a1B2" * 8, "sk-"),
    ("aws ASIA" + "ABCDEFGH12345678", "ASIA"),
    ("wandb_v1_" + "AbCd" * 10, "wandb_v1"),
    ("bot 123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw", "AAHdq"),
    ("token=0123456789", "0123456789"),
    ("password: 1234567", "1234567"),
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
    "KeyError: 'api_key'",
    "HF_TOKEN is not set; WANDB_API_KEY environment variable is missing",
    "next_token: the, pad_token_id=0, num_token: 3, mask_token [MASK]",
    "token_loss: 0.3125 - token_accuracy=0.91 - val_token_acc: 91.5% - per_token_ppl=1e-3",
    "token: 1048576",
    "--token-dim 64 --pad-token <pad> --max-tokens 512 --num-token 7",
    "PWD=/data/someone/train OLDPWD=/",
    'File "/srv/services/training-jobs/train.py", line 3',
    "using sk-learn-contrib-package and pypi-mirror-of-the-company",
    "the bearer responsible for it",
    "commit 0123456789abcdef0123456789abcdef01234567, sha256:0123456789abcdef",
    "\x1b[1m125/125\x1b[0m ━━━━━━━━━━━━━━━━━━━━ \x1b[1m3s\x1b[0m 24ms/step - accuracy: 0.9123 - loss: 0.2891",
    " 45%|████▌     | 450/1000 [00:12<00:15, 36.55it/s, loss=0.512, lr=1e-4]",
    "step 1200 | epoch 3 | loss 0.4123 | lr 1.0e-04 | tokens/s 51234 | mem 12.3 GiB",
    "I0000 00:00:1726000000.123456 12345 cuda_executor.cc:1015] successful NUMA node read",
    "Authentication was skipped; the key point is the author's password policy",
    "https://github.com/a/b/blob/main/train.py#L12 and https://x.org/?page=2&q=loss",
    "secret sauce of the secretary: nothing",
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


@pytest.mark.parametrize(
    ("secret", "printed"),
    [
        ("https://oapi.dingtalk.com/robot/send?access_token=0123abcdef", "0123abcdef"),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693axxx6-7aoc-4bc4", "693axxx6-7aoc-4bc4"),
        ("https://x.example.com/hook?sign=onlyletters", "onlyletters"),
        ("https://x.example.com/hook?sig=a%2Fb%2Bc012", "a/b+c012"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/0ab12cd3-1111-2222", "0ab12cd3-1111-2222"),
        ("https://hooks.slack.com/services/T0000AAAA/B0000BBBB/abcdefghijklmnopqrstuvwx", "abcdefghijklmnopqrstuvwx"),
        ("mailtos://bob:hunter%402222@gmail.com/?to=x@example.org", "hunter@2222"),
        ("smtps://bob:hunter2222@mail.example.com", "bob:hunter2222"),
        ("tgram://123456789:AAHdqTcvCH1vGWJ/12315544/", "AAHdqTcvCH1vGWJ"),
        ("slack://TokenA1234/TokenB1234/TokenC1234567/#general", "TokenB1234"),
    ],
)
def test_the_key_within_a_known_url_is_masked_where_it_stands_alone(secret: str, printed: str) -> None:
    """A job that prints its robot's key without the rest of the address gives as much away."""
    assert Scrubber([secret]).line(f"sent by {printed}.") == "sent by ***."


@pytest.mark.parametrize("word", ["send", "robot", "oapi.dingtalk.com", "webhook", "en", "incoming-webhook-receiver"])
def test_the_words_of_a_known_url_stay(word: str) -> None:
    """What names the provider opens nothing."""
    url = "https://oapi.dingtalk.com/robot/send/webhook/incoming-webhook-receiver?access_token=0123abcdef&lang=en"
    assert Scrubber([url]).line(f"call {word} now") == f"call {word} now"


def test_secrets_are_found_however_deep_they_stand() -> None:
    """A header of a webhook is one as well."""
    options = {"url": Secret("https://x.org"), "headers": {"X-Key": Secret("abc")}, "urls": [Secret("d")], "n": 3}
    assert secrets_in([options]) == ["https://x.org", "abc", "d"]


NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: f"{value:.4g}")
FIGURES = st.sampled_from(
    ["loss", "val_loss", "accuracy", "f1", "lr", "grad_norm", "token_loss", "tokens_per_s", "perplexity", "key_acc"]
)
LINES = st.one_of(
    st.builds("Epoch {}/{} - {}: {} - {}: {}".format, NUMBERS, NUMBERS, FIGURES, NUMBERS, FIGURES, NUMBERS),
    st.builds("{{'{}': {}, '{}': {}, 'epoch': {}}}".format, FIGURES, NUMBERS, FIGURES, NUMBERS, NUMBERS),
    st.builds("[{}] step {}: {}={}, {}={}".format, NUMBERS, NUMBERS, FIGURES, NUMBERS, FIGURES, NUMBERS),
    st.builds('  File "/data/{}/train.py", line {}, in {}'.format, FIGURES, st.integers(1, 9999), FIGURES),
    st.builds("{} of {} tokens, {} per token: {}".format, NUMBERS, NUMBERS, FIGURES, NUMBERS),
    st.builds("{}Error: {} has the shape ({}, {})".format, FIGURES, FIGURES, NUMBERS, NUMBERS),
)


@given(LINES)
def test_lines_of_a_training_stay(line: str) -> None:
    """Whatever their figures are."""
    assert Scrubber(["https://oapi.dingtalk.com/robot/send?access_token=0123abcdef"]).line(line) == line


@given(st.text(max_size=60))
def test_no_secret_of_any_kind_breaks_the_scrubber(text: str) -> None:
    """Neither one that is a broken URL, nor one full of signs that patterns know."""
    for secret in (text, f"https://{text}", f"x://a:{text}@b/{text}?key={text}"):
        shown = Scrubber([secret]).line(f"before {secret} after")
        if len(text.strip()) >= 6 and not text.splitlines()[1:]:
            assert text not in shown or text in "before *** after"
