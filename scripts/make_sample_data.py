"""Write sample_data/images and sample_data/wine.csv from scikit-learn's copies of the two data sets.

Run once, with scikit-learn and Pillow installed::

    python scripts/make_sample_data.py [FOLDER]

Running it again writes the same files: `images/<digit>/<position in the data set>.png`, 8 x 8 pixels, 8-bit grey; and
`wine.csv`, one line for each wine.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_wine

GREY_LEVELS = 16
"""The data set counts 0 to 16 dark pixels in each block of 4 x 4."""


def main() -> None:
    """Write both."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "sample_data"
    write_digits(folder / "images")
    write_wines(folder / "wine.csv")


def write_digits(root: Path) -> None:
    """Write one PNG for each digit."""
    digits = load_digits()
    grey = np.rint(digits.images * 255 / GREY_LEVELS).astype(np.uint8)
    for position, (pixels, label) in enumerate(zip(grey, digits.target, strict=True)):
        path = root / str(label) / f"{position:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, optimize=True)
    print(f"{len(grey)} images in {root}")


def write_wines(path: Path) -> None:
    """Write one line for each wine, its cultivar last."""
    wines = load_wine()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*wines.feature_names, "cultivar"])
        for values, cultivar in zip(wines.data, wines.target, strict=True):
            writer.writerow([*(f"{value:g}" for value in values), cultivar + 1])
    print(f"{len(wines.data)} wines in {path}")


if __name__ == "__main__":
    main()
