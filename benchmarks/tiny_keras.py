"""A training as anybody writes it: plain Keras, no word of this project. `python tiny_keras.py IMAGES SEED EPOCHS`."""

import sys
import time
from pathlib import Path

started = time.perf_counter()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

imported = time.perf_counter()
folder, seed, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def private_mib() -> float:
    """Return the memory that this process shares with no other, in MiB."""
    with Path("/proc/self/smaps_rollup").open() as stream:
        return sum(int(line.split()[1]) for line in stream if line.startswith("Private_Dirty")) / 1024


def main() -> None:
    """Train a small network on the digits, and say how it went."""
    keras.utils.set_random_seed(seed)
    images, labels = [], []
    for digit in range(10):
        for path in sorted(Path(folder, str(digit)).glob("*.png"))[:40]:
            images.append(np.asarray(Image.open(path), dtype="float32") / 255)
            labels.append(digit)
    x, y = np.stack(images)[..., None], np.array(labels)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    loss = history.history["loss"][-1]
    print(f"loss={loss:.9f} private={private_mib():.1f} imports={imported - started:.3f}", flush=True)


if __name__ == "__main__":
    main()
