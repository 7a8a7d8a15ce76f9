"""What the files of the page must never hold: nothing inline, nothing from elsewhere, no markup made of data."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import parallel_ml.adapters.web

PAGE = Path(parallel_ml.adapters.web.__file__).parent / "page"
FILES = sorted(PAGE.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
MOST_BYTES = 96_000
MARKUP = re.compile(
    r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|setHTML\w*|createContextualFragment|DOMParser|srcdoc|cssText)\b"
    r"|document\.write|\b(?:eval|Function)\s*\(|javascript:|set(?:Timeout|Interval)\(\s*[\"'`]"
)
WORD = re.compile(r'^  (\w+): \[\s*(".*"),\s*(".*"),?\s*\],$', re.MULTILINE)
ENTRY = re.compile(r"^  (\w+): \[", re.MULTILINE)


class Tags(HTMLParser):
    """Collects the tags of a page and the text that stands in its scripts and styles."""

    def __init__(self) -> None:
        """Know none yet."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Take in text."""
        if self.cdata_elem is not None:
            self.inside.append(data)


def read(name: str) -> str:
    """Return a file of the page."""
    return (PAGE / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tags() -> Tags:
    """Return what the page's file is made of."""
    found = Tags()
    found.feed(read("index.html"))
    return found


def words() -> dict[str, tuple[str, str]]:
    """Return the catalogue: English and Chinese by key."""
    text = re.sub(r"\[\n\s+(\".*\"),\n\s+(\".*\"),\n\s+\],", r"[\1, \2],", read("words.js"))
    return {key: (english, chinese) for key, english, chinese in WORD.findall(text)}


def test_nothing_is_inline(tags: Tags) -> None:
    """Scripts and styles are files, and no attribute runs anything: the server's policy forbids the rest."""
    assert "".join(tags.inside).strip() == ""
    assert {
        name for _, attributes in tags.tags for name in attributes if name.startswith("on") or name == "style"
    } == set()
    assert [
        tag for tag, attributes in tags.tags if tag == "style" or (tag == "script" and "src" not in attributes)
    ] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    """No address of another host stands in the files; names of XML are none."""
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.\w+|@import|url\(", text) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_markup_is_made_of_data(path: Path) -> None:
    """What a job wrote is set as text: there is no call that parses markup or runs text."""
    found = [match[0] for match in MARKUP.finditer(path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.name != "dom.js"], ids=lambda path: path.name)
def test_elements_are_made_in_one_place(path: Path) -> None:
    """Only dom.js, which refuses attributes that load or run something, makes elements; no style or address is set."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"createElement\w*\(|\.(?:src|href|style|action|on[a-z]+)\s*=[^=]", text) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_imports_name_files_of_the_page(path: Path) -> None:
    """Each import is a file beside it."""
    named = re.findall(r'from "\./([\w.]+)"', path.read_text(encoding="utf-8"))
    assert {name for name in named if not (PAGE / name).is_file()} == set()
    assert len(re.findall(r"^import ", path.read_text(encoding="utf-8"), re.MULTILINE)) == len(named)


def test_the_page_is_small() -> None:
    """All of it together, as it is written, with no step that shrinks it."""
    assert sum(path.stat().st_size for path in FILES) <= MOST_BYTES


def test_both_languages_say_everything() -> None:
    """Each text has an English and a Chinese version with the same places for values."""
    found = words()
    assert set(found) == set(ENTRY.findall(read("words.js")))
    for key, (english, chinese) in found.items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese)), key
        assert english.strip('"'), key
        assert chinese.strip('"'), key


def test_every_text_that_is_asked_for_is_there() -> None:
    """No key of a text is misspelled."""
    asked = set(re.findall(r'\bt\("(\w+)"', "".join(path.read_text(encoding="utf-8") for path in SCRIPTS)))
    asked |= set(re.findall(r'data-t(?:-label)?="(\w+)"', read("index.html")))
    assert asked - set(words()) == set()
    assert len(asked) > 40
