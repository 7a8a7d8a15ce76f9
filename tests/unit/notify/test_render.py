"""Messages as text, Markdown and HTML: nothing that a job says formats anything, and all fits."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.notify.message import Excerpt, Facts, Kind, Level, Links, Message, Table, Text
from parallel_ml.notify.render import Dialect, html, markdown, plain

NASTY = "**x** <script> [a](b)"
MESSAGE = Message(
    "1",
    Kind.FAILED,
    Level.CRITICAL,
    f"{NASTY} failed",
    (
        Text("first line\n# second"),
        Facts((("损失", "0.5 | <@all>"), ("val_loss", "`x`"))),
        Table(("job", "state", "val acc"), (("a_b", "completed", "0.9"), ("损失", "failed", "")), 0),
        Links((("TensorBoard", "https://host/run (1)"), ("bad", "javascript:alert(1)"))),
        Excerpt("last lines", ("Traceback:", "    ```x", "ValueError: <b>")),
    ),
)
RENDERERS: dict[str, Callable[..., str]] = {
    "plain": plain,
    "html": html,
    "dingtalk": lambda message, most=None: markdown(message, "dingtalk", most),
    "wecom": lambda message, most=None: markdown(message, "wecom", most),
    "feishu": lambda message, most=None: markdown(message, "feishu", most),
    "commonmark": lambda message, most=None: markdown(message, "commonmark", most),
}


class Seen(HTMLParser):
    """What a mail program makes of a page."""

    def __init__(self, page: str) -> None:
        """Read it."""
        super().__init__()
        self.tags, self.text, self.links = list[str](), "", list[str | None]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def test_html_has_only_tags_of_ours() -> None:
    """What a job is called stands there as text, and only web addresses are links."""
    seen = Seen(html(MESSAGE))
    assert "script" not in seen.tags
    assert NASTY in seen.text
    assert "ValueError: <b>" in seen.text
    assert seen.links == ["https://host/run%20%281%29"]


def test_commonmark_escapes_what_formats() -> None:
    """A job's name is neither bold nor a link nor a tag, and a pipe ends no cell."""
    text = markdown(MESSAGE, "commonmark")
    assert text.startswith(r"### \*\*x\*\* \<script\> \[a\](b) failed")
    assert r"0.5 \| \<@all\>" in text
    assert r"\# second" in text
    assert r"| **a\_b** | **completed** | **0.9** |" in text


def test_a_fence_is_longer_than_any_within() -> None:
    """An excerpt cannot end its own block of code."""
    text = markdown(MESSAGE, "commonmark")
    assert text.endswith("````\nTraceback:\n    ```x\nValueError: <b>\n````")


@pytest.mark.parametrize("dialect", ["dingtalk", "wecom", "feishu"])
def test_a_dialect_without_tables_gets_a_line_for_each_row(dialect: Dialect) -> None:
    """The best one is marked, titles stand beside the figures, empty cells are left out."""
    text = markdown(MESSAGE, dialect)
    assert "| ---" not in text
    assert re.search(r"\*\*a\S*b\*\* \(best\): state completed, val acc 0\.9", text)
    assert re.search(r"\*\*损失\*\*: state failed\s", text)


def test_nobody_is_mentioned_by_what_a_job_says() -> None:
    """Neither WeCom's nor Feishu's way to call everybody gets through."""
    message = Message("1", Kind.OWN, Level.INFO, "<@all> <at id=all></at>")
    assert "<" not in markdown(message, "wecom")
    assert "<" not in markdown(message, "feishu")


def test_wecom_has_no_link_of_a_job() -> None:
    """It knows no escapes: the brackets are other ones."""
    assert "](b)" not in markdown(MESSAGE, "wecom")
    assert "[TensorBoard](https://host/run%20%281%29)" in markdown(MESSAGE, "wecom")


def test_plain_tables_are_aligned_by_cells() -> None:
    """A Chinese character is two cells wide."""
    lines = plain(MESSAGE).splitlines()
    table = lines[lines.index("job    state      val acc") :][:3]
    assert table[1:] == ["a_b *  completed  0.9", "损失   failed"]


def test_a_title_can_be_left_to_the_medium() -> None:
    """An e-mail has its subject."""
    for text in (plain(MESSAGE, title=False), markdown(MESSAGE, title=False), html(MESSAGE, title=False)):
        assert "failed" not in text.split("completed")[0]


@pytest.mark.parametrize("name", RENDERERS)
@pytest.mark.parametrize("size", [*range(0, 60, 7), 100, 200, 400, 800])
def test_every_rendering_fits(name: str, size: int) -> None:
    """In bytes, with Chinese in it, and it is valid UTF-8."""
    message = Message("1", Kind.OWN, Level.INFO, "损失" * 40, MESSAGE.blocks)
    assert len(RENDERERS[name](message, size).encode()) <= size


@pytest.mark.parametrize("name", RENDERERS)
def test_what_is_cut_says_so_at_its_end(name: str) -> None:
    """And what fits is not cut."""
    whole = RENDERERS[name](MESSAGE)
    assert RENDERERS[name](MESSAGE, len(whole.encode())) == whole
    cut = RENDERERS[name](MESSAGE, len(whole.encode()) - 1)
    assert "cut: the message is longer" in cut.removesuffix("\n</body></html>").splitlines()[-1]


def test_what_is_cut_uses_its_room() -> None:
    """Hardly any of what is allowed stays empty."""
    message = Message("1", Kind.OWN, Level.INFO, "t", (Text("损" * 5000),))
    for render in RENDERERS.values():
        assert len(render(message, 2048).encode()) > 2040


def test_of_an_excerpt_the_end_is_kept() -> None:
    """The last line says why."""
    message = Message("1", Kind.OWN, Level.INFO, "t", (Excerpt("log", tuple(f"line {n}" for n in range(100))),))
    text = plain(message, 200)
    assert "line 99" in text
    assert "line 1\n" not in text


def test_a_message_says_in_which_language_it_is_cut() -> None:
    """`data` has it, an argument overrides it."""
    message = Message("1", Kind.OWN, Level.INFO, "t", (Text("损" * 99),), data={"language": "zh"})
    assert "已截断" in plain(message, 100)
    assert "cut" in plain(message, 100, language="en")


@given(
    st.text(alphabet="ab1 *_`~[]()<>#|\\!-+=.&;:/@'\"{}损\t\x1b\u202e\u0301\n", max_size=40),
    st.integers(min_value=0, max_value=300),
)
def test_no_text_breaks_a_renderer(text: str, size: int) -> None:
    """Whatever it holds: HTML keeps its own tags, and nothing is longer than allowed or controls a terminal."""
    message = Message(
        "1",
        Kind.OWN,
        Level.INFO,
        text,
        (Text(text), Facts(((text, text),)), Table((text, "b"), ((text, text),), 0), Excerpt(text, (text, text))),
    )
    for render in RENDERERS.values():
        shown = render(message, size)
        assert len(shown.encode()) <= size
        assert not set(shown) & {"\x1b", "\u202e"}
    ours = {"html", "head", "meta", "body", "h3", "p", "br", "table", "tr", "td", "th", "b", "pre"}
    assert set(Seen(html(message)).tags) <= ours
