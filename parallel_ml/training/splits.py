"""Which image, or row, goes to training, which to validation, which to the test. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parallel_ml.training.failures import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Splits:
    """Positions in the list of images that was split, ascending."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def split(names: Sequence[str], labels: Sequence[int], ratios: tuple[float, float, float], seed: int) -> Splits:
    """Divide images so that each class is divided in the given ratios.

    An image's place depends on its name and the seed, not on the order in which a file system lists it, and hardly on
    which others there are. A class with at least as many images as there are splits asked for is in each of them.

    Args:
        names: A name for each image, each once.
        labels: The class of each image.
        ratios: Shares of train, validation and test; 0 asks for none.
        seed: Another seed, another division.
    """
    members: dict[int, list[int]] = {}
    for position in sorted(range(len(names)), key=lambda position: _rank(names[position], seed)):
        members.setdefault(labels[position], []).append(position)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for ranked in members.values():
        begin = 0
        for part, count in zip(parts, shares(len(ranked), ratios), strict=True):
            part.extend(ranked[begin : begin + count])
            begin += count
    train, validation, test = (tuple(sorted(part)) for part in parts)
    return Splits(train, validation, test)


def refuse_empty(splits: Splits, ratios: tuple[float, float, float], what: str) -> None:
    """Look whether each part that was asked for got something.

    Args:
        splits: The parts.
        ratios: What was asked for.
        what: The beginning of the sentence, such as `3 images are`.

    Raises:
        TrainingError: One got nothing.
    """
    for name, part, ratio in zip(("train", "validation", "test"), vars(splits).values(), ratios, strict=True):
        if ratio > 0 and not part:
            raise TrainingError(f"{what} too few: none is left for {name}")


def shares(count: int, ratios: tuple[float, ...]) -> tuple[int, ...]:
    """Return whole numbers in the given ratios that add up to `count`, by largest remainder.

    None that is asked for stays at 0 as long as there is enough for all; with less, the first ones go first.

    >>> shares(10, (0.8, 0.1, 0.1)), shares(3, (0.8, 0.1, 0.1)), shares(2, (0.8, 0.1, 0.1))
    ((8, 1, 1), (1, 1, 1), (1, 1, 0))
    """
    total = sum(ratios)
    exact = [count * ratio / total for ratio in ratios]
    counts = [int(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(ratios)), key=lambda part: counts[part] - exact[part])
    for part in by_remainder[: count - sum(counts)]:
        counts[part] += 1
    for part, ratio in enumerate(ratios):
        richest = max(range(len(counts)), key=lambda other: (counts[other], -other))
        if ratio > 0 and counts[part] == 0 and (counts[richest] > 1 or richest > part):
            counts[richest] -= 1
            counts[part] += 1
    return tuple(counts)


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
