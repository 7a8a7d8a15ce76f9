"""Write sample_data/images from scikit-learn's copy of the handwritten digits.

Run once, with scikit-learn and Pillow installed::

    python scripts/make_sample_data.py [FOLDER]

Running it again writes the same files: `<digit>/<position in the data set>.png`, 8 x 8 pixels, 8-bit grey.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

GREY_LEVELS = 16
"""The data set counts 0 to 16 dark pixels in each block of 4 x 4."""


def main() -> None:
    """Write one PNG for each digit."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "sample_data" / "images"
    digits = load_digits()
    grey = np.rint(digits.images * 255 / GREY_LEVELS).astype(np.uint8)
    for position, (pixels, label) in enumerate(zip(grey, digits.target, strict=True)):
        path = root / str(label) / f"{position:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, optimize=True)
    print(f"{len(grey)} images in {root}")


if __name__ == "__main__":
    main()
