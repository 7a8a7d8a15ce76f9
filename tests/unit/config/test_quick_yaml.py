"""The loader in C reads what the other one reads, wherever it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_ml.config import yaml_text
from parallel_ml.config.tree import Node
from parallel_ml.config.yaml_text import dump, parse

PIECES = (
    *("a", "b: ", "k:\n  - 1\n", "- ", "  ", "\n", "\n  ", "'", '"', ": ", "[", "]", ", ", "#", " # x", "|", ">-\n"),
    *(
        "1e-3",
        "yes",
        "~",
        "<<: ",
        "---\n",
        "...\n",
        "\\",
        "a:b",
        "x y",
        "command: ['true']\n",
        "::",
        "&a ",
        "*a",
        "!!int ",
    ),
    *("? ", "{", "}", "\t", "%", "é", "12:30", ".5", "''", "- - ", "@"),
)


def seen(node: Node | None) -> Any:
    """Return a tree with its lines as plain values."""
    if node is None:
        return None
    if isinstance(node.value, dict):
        return node.line, {key: seen(child) for key, child in node.value.items()}
    return node.line, [seen(child) for child in node.value] if isinstance(node.value, list) else repr(node.value)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=14).map("".join))
def test_both_loaders_read_the_same(text: str) -> None:
    """Values, lines and messages of any text are those of the loader in Python."""
    with pytest.MonkeyPatch.context() as patch:
        tree, problems = parse(text, "f")
        patch.setattr(yaml_text, "_QuickLoader", yaml_text._Loader)
        slow_tree, slow_problems = parse(text, "f")
    assert seen(tree) == seen(slow_tree)
    assert problems == slow_problems


TEXTS = st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_was_dumped_is_read_as_it_was(values: dict[str, Any]) -> None:
    """A snapshot reads the same with either loader."""
    text = dump(values)
    tree, problems = parse(text, "f", dumped=True)
    slow_tree, slow_problems = yaml_text._read(yaml_text._Loader(text), "f")
    assert (seen(tree), problems) == (seen(slow_tree), slow_problems)
