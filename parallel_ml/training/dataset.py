"""From image files, or the rows of a table, to batches in an order that can be repeated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from parallel_ml.training.accumulation import update_weights
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.images import decode
from parallel_ml.training.shape import RowShape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parallel_ml.training.images import ImageFile
    from parallel_ml.training.shape import Shape

MEMORY_LIMIT_BYTES = 256 * 2**20
"""A set whose pixels take no more is decoded once and kept."""
_CHUNK = 256


class Source:
    """Samples and their labels, by their position.

    Attributes:
        shape: What a sample is for a model.
        labels: int32 (samples,) classes, or float32 (samples, 1) numbers.
        workers: Threads that make batches.
        failure: Why a sample could not be read, once that happened.
    """

    failure: str | None = None

    def __init__(self, shape: Shape | RowShape, labels: np.ndarray, workers: int) -> None:
        """Keep what all kinds have."""
        self.shape, self.labels, self.workers = shape, labels, workers

    def load(self, positions: Any) -> tuple[Any, Any]:
        """Return float32 (batch, *shape) and the labels."""
        raise NotImplementedError

    def batches(self, positions: Sequence[int], batch_size: int) -> Any:
        """Return a dataset of (samples, labels) in the order of `positions`, for validation and test."""
        order = tf.data.Dataset.from_tensor_slices(np.array(positions, dtype=np.int32))
        loaded = order.batch(batch_size).map(self.load, num_parallel_calls=self.workers, deterministic=True)
        return self.finish(loaded, -(-len(positions) // batch_size))

    def finish(self, dataset: Any, steps: int) -> Any:
        """Return the dataset with what every one of ours has: a fixed order, a known length, our threads."""
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False
        options.threading.private_threadpool_size = self.workers
        # Without the cardinality Keras runs one phantom step an epoch to find out where it ends.
        return dataset.prefetch(2).apply(tf.data.experimental.assert_cardinality(steps)).with_options(options)


class RowSource(Source):
    """The rows of a table, all in memory."""

    def __init__(self, rows: np.ndarray, labels: np.ndarray, workers: int) -> None:
        """Keep float32 (rows, values) and the labels."""
        super().__init__(RowShape(rows.shape[1]), labels, workers)
        with tf.device("CPU:0"):
            self._rows = tf.constant(rows)

    def load(self, positions: Any) -> tuple[Any, Any]:
        """Return float32 (batch, values) and the labels."""
        return tf.gather(self._rows, positions), tf.gather(self.labels, positions)


class ImageSource(Source):
    """Images, streamed or held in memory, all of one size."""

    shape: Shape

    def __init__(self, files: Sequence[ImageFile], shape: Shape, workers: int) -> None:
        """Keep the list; nothing is decoded yet.

        Args:
            files: The images.
            shape: What each becomes.
            workers: Threads that decode.
        """
        super().__init__(shape, np.array([file.label for file in files], dtype=np.int32), workers)
        self._files = tuple(files)
        self._pixels: Any = None

    @property
    def in_memory(self) -> bool:
        """Whether the pixels are kept."""
        return self._pixels is not None

    def hold_if_small(self, check: Callable[[], None] = lambda: None) -> None:
        """Decode and keep everything if it fits into `MEMORY_LIMIT_BYTES`; `check` may end the work by raising."""
        count, shape = len(self._files), self.shape.as_tuple
        if count * int(np.prod(shape)) > MEMORY_LIMIT_BYTES:
            return
        pixels = np.empty((count, *shape), dtype=np.uint8)
        with ThreadPoolExecutor(self.workers) as pool:
            for begin in range(0, count, _CHUNK):
                check()
                chunk = range(begin, min(count, begin + _CHUNK))
                for position, image in zip(chunk, pool.map(self._decode, chunk), strict=True):
                    pixels[position] = image
        with tf.device("CPU:0"):
            self._pixels = tf.constant(pixels)

    def load(self, positions: Any) -> tuple[Any, Any]:
        """Return float32 (batch, height, width, channels) in [0, 1] and int32 (batch,)."""
        if self._pixels is None:
            images = tf.numpy_function(self._decode_batch, [positions], tf.uint8, stateful=False)
            images.set_shape((None, *self.shape.as_tuple))
        else:
            images = tf.gather(self._pixels, positions)
        return tf.cast(images, tf.float32) / 255.0, tf.gather(self.labels, positions)

    def _decode(self, position: int) -> np.ndarray:
        file = self._files[position]
        try:
            return decode(file.path, *self.shape.as_tuple)
        except OSError as error:
            self.failure = f"{file.path}: could be read before and cannot be read any more: {error}"
            raise TrainingError(self.failure) from error

    def _decode_batch(self, positions: np.ndarray) -> np.ndarray:
        return np.stack([self._decode(int(position)) for position in positions])


class TrainingData:
    """The training batches of each epoch; their order is a function of the seed and the epoch alone.

    With accumulation an epoch is a whole number of updates. The last one is filled up with samples that weigh nothing
    and the others in it weigh more, so that every update is exactly that of one large batch.

    Attributes:
        dataset: Yields (samples, labels), with accumulation (samples, labels, weights).
        steps: Batches an epoch.
        effective: Samples of an update.
    """

    def __init__(self, source: Source, positions: Sequence[int], batch_size: int, accumulation: int, seed: int) -> None:
        """Build the dataset; `set_epoch` must be called before each pass."""
        self._source, self._batch_size, self._accumulation = source, batch_size, accumulation
        self.effective = batch_size * accumulation
        self._count = len(positions)
        with tf.device("CPU:0"):
            self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._positions = tf.constant(np.array(positions, dtype=np.int32))
        self._seed = tf.constant(seed, tf.int64)
        self.dataset = self.rest(0)
        self.steps = self.steps_after(0)

    def steps_after(self, samples: int) -> int:
        """Return how many batches are left of an epoch after so many of its samples."""
        left = self._count - samples
        return 0 if left <= 0 else -(-len(self._weights(left)) // self._batch_size)

    def rest(self, samples: int) -> Any:
        """Return a dataset of what is left of an epoch after its first `samples`, the end of an update."""
        weights = self._weights(self._count - samples)
        order = tf.data.Dataset.from_tensors(0).flat_map(
            lambda _: tf.data.Dataset.from_tensor_slices((self._order(samples, len(weights)), weights))
        )

        def load(batch: Any, weight: Any) -> tuple[Any, ...]:
            loaded = self._source.load(batch)
            return loaded if self._accumulation == 1 else (*loaded, weight)

        workers = self._source.workers
        loaded = order.batch(self._batch_size).map(load, num_parallel_calls=workers, deterministic=True)
        return self._source.finish(loaded, self.steps_after(samples))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self._epoch.assign(epoch)

    def _weights(self, count: int) -> np.ndarray:
        return update_weights(count, self._batch_size, self._accumulation)

    def _order(self, begin: int, length: int) -> Any:
        seed = tf.stack([self._seed, self._epoch])
        shuffled = tf.random.experimental.stateless_shuffle(self._positions, seed=seed)
        return tf.gather(shuffled, tf.range(begin, begin + length) % self._count)
