"""What is read without argparse is read as argparse reads it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.adapters.cli import verbs
from parallel_ml.adapters.cli.parser import Parser
from parallel_ml.adapters.cli.plain_words import PlainWords
from parallel_ml.errors import UsageError

WORDS = [
    "--json",
    "--watch",
    "--job",
    "--now",
    "-f",
    "-n",
    "--lines",
    "--lines=3",
    "--job=a",
    "--json=yes",
    "--runs-dir",
]
WORD = st.sampled_from([*WORDS, "night", "config1", "5", "0", "", "-", "--", "--bogus", "-n5", "-h", "a b"])


def by_argparse(verb: str, words: list[str]) -> dict[str, Any] | None:
    """Return what argparse reads; None where it refuses, or shows its help."""
    parser = Parser(verb, verbs.SUMMARIES[verb])
    verbs.load(verb).add_arguments(parser)
    try:
        return vars(parser.read(words))
    except (UsageError, SystemExit):
        return None


@given(verb=st.sampled_from(sorted(verbs.PLAIN)), words=st.lists(WORD, max_size=5))
def test_a_plain_command_line_is_read_as_argparse_reads_it(verb: str, words: list[str]) -> None:
    """It is left to argparse, or gives the same."""
    plain: Any = PlainWords()
    verbs.load(verb).add_arguments(plain)
    found = plain.read(words)
    assert found is None or vars(found) == by_argparse(verb, words)


@pytest.mark.parametrize(
    ("verb", "line"),
    [("status", ""), ("status", "night --json"), ("logs", "config1 -f -n 50"), ("stop", "--job config2 --now")],
)
def test_what_people_type_is_plain(verb: str, line: str) -> None:
    """The examples of the help among it."""
    plain: Any = PlainWords()
    verbs.load(verb).add_arguments(plain)
    assert plain.read(line.split()) is not None


@pytest.mark.parametrize("words", [["status"], ["list"], ["logs"], ["stop"]])
def test_a_short_verb_loads_nothing_that_it_can_do_without(words: list[str]) -> None:
    """Each of these modules would cost it more than its own work on a small run."""
    line = (
        "import sys; from parallel_ml.adapters.cli.main import main; main(sys.argv[1:]);"
        "sys.exit(bool({'argparse', 'dataclasses', 'inspect', 'tempfile', 'shutil'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", line, "--runs-dir", "no-such-folder", *words], check=False, capture_output=True
    )
    assert done.returncode == 0
