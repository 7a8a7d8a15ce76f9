"""Which image goes where."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parallel_ml.training.splits import Splits, shares, split

RATIOS = (0.8, 0.1, 0.1)


def images(*counts: int) -> tuple[list[str], list[int]]:
    """Return names and labels of so many images in each class."""
    pairs = [(f"{label}/{number}.png", label) for label, count in enumerate(counts) for number in range(count)]
    return [name for name, _ in pairs], [label for _, label in pairs]


@given(
    counts=st.lists(st.integers(3, 40), min_size=2, max_size=5),
    parts=st.tuples(*[st.integers(0, 98)] * 2),
    seed=st.integers(0, 10),
)
def test_every_image_is_in_one_split_and_every_class_in_each(
    counts: list[int], parts: tuple[int, int], seed: int
) -> None:
    """Nothing is lost or doubled, and three images of a class are enough for three splits."""
    validation, test = min(parts) / 100, (max(parts) - min(parts)) / 100
    ratios = (1 - validation - test, validation, test)
    names, labels = images(*counts)
    found = split(names, labels, ratios, seed)
    assert sorted(found.train + found.validation + found.test) == list(range(len(names)))
    for part, ratio in zip((found.train, found.validation, found.test), ratios, strict=True):
        assert {labels[position] for position in part} == (set(labels) if ratio > 0 else set())


def test_each_class_is_divided_in_the_ratios() -> None:
    """A class of a hundred and one of ten are both divided eight to one to one."""
    names, labels = images(100, 10)
    found = split(names, labels, RATIOS, seed=1)
    sizes = [[sum(labels[position] == label for position in part) for label in (0, 1)] for part in vars(found).values()]
    assert sizes == [[80, 8], [10, 1], [10, 1]]


def test_the_order_of_the_files_changes_nothing() -> None:
    """An image's split follows from its name and the seed."""
    names, labels = images(30, 20, 10)
    order = sorted(range(len(names)), key=lambda place: (place % 7, -place))
    first = split(names, labels, RATIOS, seed=1)
    second = split([names[place] for place in order], [labels[place] for place in order], RATIOS, seed=1)
    assert {names[place] for place in first.test} == {names[order[place]] for place in second.test}


def test_another_seed_divides_otherwise() -> None:
    """The seed decides, and the same seed decides the same."""
    names, labels = images(50, 50)
    assert split(names, labels, RATIOS, 1) == split(names, labels, RATIOS, 1) != split(names, labels, RATIOS, 2)


def test_a_class_of_one_is_trained_on() -> None:
    """With less than one image for each split the first splits go first."""
    assert split(["a/1", "b/1", "b/2"], [0, 1, 1], RATIOS, 1).train[0] == 0
    assert [shares(count, RATIOS) for count in (1, 2, 3)] == [(1, 0, 0), (1, 1, 0), (1, 1, 1)]


def test_a_split_that_is_not_asked_for_is_empty() -> None:
    """Without a share for validation all goes to the others."""
    names, labels = images(10, 10)
    found = split(names, labels, (0.8, 0.0, 0.2), 1)
    assert isinstance(found, Splits)
    assert (len(found.train), len(found.validation), len(found.test)) == (16, 0, 4)
