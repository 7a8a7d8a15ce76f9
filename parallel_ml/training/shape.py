"""The one size and number of channels that all images are made into, and the width of a row of a table. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parallel_ml.training.images import ImageFile


@dataclass(frozen=True)
class Shape:
    """What every image is made into."""

    height: int
    width: int
    channels: int

    @property
    def as_tuple(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


@dataclass(frozen=True)
class RowShape:
    """What every row of a table is made into."""

    values: int

    @property
    def as_tuple(self) -> tuple[int]:
        """(values,)."""
        return (self.values,)


def choose_shape(
    files: Sequence[ImageFile], wanted: tuple[int, int] | None, limits: tuple[int, int], channels: int | None = None
) -> Shape:
    """Return the wanted size, else the median one; a single channel where no image shows colour.

    Args:
        files: The images, at least one.
        wanted: (height, width), or None.
        limits: The least that the shorter side and the most that the longer side of a chosen size has; the shape of a
            larger or smaller median is kept as far as both allow.
        channels: 1 or 3, or None to choose.
    """
    if channels is None:
        channels = 1 if all(file.grey for file in files) else 3
    if wanted is not None:
        return Shape(*wanted, channels)
    height = statistics.median_low(file.height for file in files)
    width = statistics.median_low(file.width for file in files)
    least, most = limits
    scale = min(1.0, most / max(height, width))
    scale = max(scale, least / min(height, width))
    height, width = (min(most, max(least, round(side * scale))) for side in (height, width))
    return Shape(height, width, channels)
