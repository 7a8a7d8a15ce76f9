"""What is remembered of a job's output for the record of how it ended."""

from __future__ import annotations

import pytest

from parallel_ml.core.diagnosis import read_output
from parallel_ml.core.outcome import FailureClass
from parallel_ml.runtime.shim.tail import LINES, MAX_CHARACTERS, MAX_DECISIVE, MAX_TOTAL, Tail

OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
DECISIVE = [
    OUT_OF_MEMORY,
    "[rank1]: RuntimeError: CUDA out of memory.",
    "(train pid=12) KeyError: 'loss'",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "F xla/env.cc:74] Check failed: ret == 0 (11 vs. 0)Thread tf_Compute creation via pthread_create() failed.",
    "LLVM ERROR: pthread_create failed: Resource temporarily unavailable",
    "Operation received an exception:Status: 1, message: could not create a primitive, in file mkl_conv_ops.cc:1",
    "failed to create cublas handle: CUBLAS_STATUS_ALLOC_FAILED",
    "OOM when allocating tensor with shape[65536,2048] and type float on device:GPU:0 by allocator GPU_0_bfc",
]


def feed(tail: Tail, *texts: str, kind: str = "stderr") -> None:
    """Take lines in one block."""
    tail.take(kind, [(text, False) for text in texts])


@pytest.mark.parametrize("line", DECISIVE)
@pytest.mark.parametrize("blocks", [1, 3, 30])
def test_what_says_why_is_kept_however_much_follows(line: str, blocks: int) -> None:
    """A logger says hundreds of lines more, in the same read or in later ones."""
    tail = Tail()
    chatter = [f"wandb: syncing file {number}" for number in range(150)]
    if blocks == 1:
        feed(tail, line, *chatter)
    else:
        feed(tail, line)
        for _ in range(blocks):
            feed(tail, *chatter)
    assert tail.lines() == [line, *chatter[-LINES["stderr"] :]]
    assert tail.last_error == chatter[-1]


def test_a_flood_is_searched_in_its_last_blocks_whole_and_before_them_where_each_block_ends() -> None:
    """So the search of a job that prints a hundred thousand lines a second costs little."""
    tail = Tail()
    flood = ["loss 0.5"] * 2700
    feed(tail, "KeyError: 'early in a block, long ago'", *flood)
    feed(tail, *flood, "KeyError: 'at the end of a block, long ago'")
    for _ in range(8):
        feed(tail, "KeyError: 'lately'", *flood)
    assert tail.lines()[: -LINES["stderr"]] == [
        "KeyError: 'at the end of a block, long ago'",
        *["KeyError: 'lately'"] * 8,
    ]


def test_an_old_lack_of_memory_is_found_in_what_is_kept() -> None:
    """The record and the reading of it agree."""
    tail = Tail()
    feed(tail, OUT_OF_MEMORY, *(f"wandb: syncing file {number}" for number in range(150)))
    found = read_output(None, tail.lines())
    assert found is not None
    assert found.kind is FailureClass.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "line", ["INFO: cleanup done, ImportError count 0", "GPU memory 3.1 GB of 80 GB, Error rate 3"]
)
def test_a_mention_is_not_kept(line: str) -> None:
    """Only what may be the reason has a place beyond the last lines."""
    tail = Tail()
    feed(tail, line, *["wandb: x"] * LINES["stderr"])
    assert line not in tail.lines()


def test_a_line_that_is_among_the_last_stands_there_once() -> None:
    """What is remembered is not repeated."""
    tail = Tail()
    feed(tail, "before", OUT_OF_MEMORY, "after")
    assert tail.lines() == ["before", OUT_OF_MEMORY, "after"]


def test_the_same_words_twice_keep_their_places() -> None:
    """An old line is known by its place, not by its text."""
    tail = Tail()
    feed(tail, "KeyError: 1", *["x"] * LINES["stderr"], "KeyError: 1")
    assert tail.lines()[0] == tail.lines()[-1] == "KeyError: 1"


def test_the_record_is_bounded_and_the_reason_has_its_place_in_it() -> None:
    """A thousand exceptions and long lines: the last of each, within the room there is."""
    tail = Tail()
    for number in range(1000):
        feed(tail, f"ValueError: {number} " + "x" * 1000)
    feed(tail, *["y" * 1000] * LINES["stderr"])
    feed(tail, *["z" * 1000] * LINES["stdout"], kind="stdout")
    lines = tail.lines()
    assert sum(map(len, lines)) <= MAX_TOTAL
    assert [line[:15] for line in lines[:MAX_DECISIVE]] == [f"ValueError: {n}" for n in range(984, 1000)]
    assert max(map(len, lines)) == MAX_CHARACTERS


def test_standard_error_stands_last_and_blank_lines_are_left_out() -> None:
    """It is the likelier one to say why."""
    tail = Tail()
    feed(tail, "an error", "", "  ")
    feed(tail, "a number", kind="stdout")
    assert tail.lines() == ["a number", "an error"]
