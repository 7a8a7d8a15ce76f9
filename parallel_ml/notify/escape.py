# ruff: noqa: RUF001, RUF002 - the look-alikes are meant
"""Text from jobs made safe for a medium: whatever it holds is shown as it is and formats, mentions, links nothing."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import urlsplit

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movement (CSI)
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x1b\x07\x9c]*(?:\x07|\x1b\\|\x9c)"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"  # two-character sequences
)
_SPACE = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]")
# Controls, direction overrides (they make text read as something else), halves of surrogate pairs.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_LINE_BREAK = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")

_COMMONMARK = re.compile(r"[\\`*_\[\]<>#|~&]|(?<=\bhttp):|(?<=\bhttps):|(?<=\bwww)\.")
_DINGTALK = re.compile(r"[\\`*_\[\]<~&]")
_LINE_START = re.compile(r"(?:[#>]|[-+=](?=\s|$|[-+=])|\d{1,9}(?=[.)](?:\s|$)))")
_FEISHU = re.compile(r"[&<>*~\-!\[\]()#:+\"'`$_\\|@]")
_WECOM = (("<", "＜"), ("`", "ˋ"), ("*", "∗"), ("](", "］("))
_WECOM_START = {"#": "＃", ">": "＞"}
_NOT_IN_URL = re.compile(r"[^A-Za-z0-9\-._~:/?#@!$&+,;=%]")

Escape = Callable[[str], str]


def clean(text: str) -> str:
    r"""Return `text` in one line without anything that a terminal or a reader's client would obey.

    >>> clean("\x1b[31mloss\x1b[0m\tnan"), clean("a\x07b")
    ('loss nan', 'a\ufffdb')
    """
    if text.isprintable():
        return text
    return _UNSAFE.sub("\ufffd", _SPACE.sub(" ", _SEQUENCE.sub("", text))).rstrip()


def clean_lines(text: str) -> list[str]:
    """Return the lines of a text, each clean; its indentation stays."""
    return [clean(line) for line in _LINE_BREAK.split(text.expandtabs(4))]


def escape_plain(text: str) -> str:
    """Return a clean line as it is."""
    return text


def escape_commonmark(text: str) -> str:
    r"""Return a clean line as CommonMark, with GitHub's extensions, that shows it as it is.

    >>> print(escape_commonmark("**x** <b> [a](b) | 1. y"))
    \*\*x\*\* \<b\> \[a\](b) \| 1. y
    >>> print(escape_commonmark("1. y"), escape_commonmark("- z"), escape_commonmark("0.5 https://a.b"))
    1\. y \- z 0.5 https\://a.b
    """
    return _escaped_start(text, _COMMONMARK)


def escape_dingtalk(text: str) -> str:
    r"""Return a clean line for DingTalk: backslashes as in CommonMark, only where its smaller language needs one.

    >>> print(escape_dingtalk("# **x** <b> [a](b) | http://c"))
    \# \*\*x\*\* \<b> \[a\](b) | http://c
    """
    return _escaped_start(text, _DINGTALK)


def escape_feishu(text: str) -> str:
    """Return a clean line for Feishu's Markdown, whose documentation asks for numeric entities.

    >>> escape_feishu("<at id=all>")
    '&#60;at id=all&#62;'
    """
    return _FEISHU.sub(lambda found: f"&#{ord(found[0])};", text)


def escape_wecom(text: str) -> str:
    """Return a clean line for WeCom, which has no escapes: what would format, link or mention becomes a look-alike.

    >>> escape_wecom("**x** <@all>")
    '∗∗x∗∗ ＜@all>'
    """
    for special, shown in _WECOM:
        text = text.replace(special, shown)
    return _WECOM_START.get(text[:1], text[:1]) + text[1:]


def escape_html(text: str) -> str:
    """Return a clean line for HTML, also within a quoted attribute."""
    return html.escape(text, quote=True)


def web_url(url: str) -> str | None:
    """Return a URL that may be a link, everything odd in it percent-encoded; None for one that is no web address.

    >>> web_url("https://a.b/x y)"), web_url("javascript:alert(1)")
    ('https://a.b/x%20y%29', None)
    """
    text = clean(url)
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        return None
    if not known:
        return None
    return _NOT_IN_URL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def cell_width(text: str) -> int:
    """Return how many cells of a fixed font a text takes: a Chinese character two, a combining accent none."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def cut(text: str, length: int) -> str:
    """Return the first `length` characters at most, not between a character and what combines with it.

    >>> cut("损失", 1), cut("e\u0301x", 1)
    ('损', '')
    """
    if length >= len(text):
        return text
    while length > 0 and (_char_width(text[length]) == 0 or text[length - 1] == "\u200d"):
        length -= 1
    return text[: max(0, length)]


def _escaped_start(text: str, special: re.Pattern[str]) -> str:
    """Return a line with backslashes, also before what would make it a heading, a quote or an item of a list."""
    shown = special.sub(lambda found: "\\" + found[0], text)
    start = _LINE_START.match(shown)
    if start is None:
        return shown
    at = start.end() if start[0][0].isdigit() else start.start()
    return f"{shown[:at]}\\{shown[at:]}"


def _char_width(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
