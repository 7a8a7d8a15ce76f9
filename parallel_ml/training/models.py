"""The models: `cnn`, `mlp`, those of keras.applications without their weights, and the user's own function.

Each takes float32 images (batch, height, width, channels) in [0, 1] and gives (batch, classes). For a table `mlp`
and the user's own take float32 rows (batch, values) and give (batch, classes), or (batch, 1) for a number.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from parallel_ml.training.failures import TrainingError
from parallel_ml.training.shape import RowShape, Shape
from parallel_ml.training.tasks import Classification

if TYPE_CHECKING:
    from parallel_ml.training.settings import ModelSettings
    from parallel_ml.training.tasks import Task

_TAKES_0_TO_255 = ("ConvNeXt", "EfficientNet", "MobileNetV3")
_LEAST_SIDE = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
_DROPOUT = 0.2
_MOMENTUM = 0.9
"""Keras's own 0.99 needs hundreds of batches before the averages are of use; few images make few batches."""


@dataclass(frozen=True)
class BuiltModel:
    """A model and what must be known of it.

    Attributes:
        model: Not compiled yet.
        gives_logits: Its output is before the softmax.
        exact_accumulation: Small batches with accumulation train it like large ones: nothing in it looks at the whole
            batch, as BatchNormalization does, or changes with each batch, as SpectralNormalization does.
    """

    model: Any
    gives_logits: bool
    exact_accumulation: bool


def size_limits(name: str) -> tuple[int, int]:
    """Return the least shorter side and the most longer side, in pixels, of a size that is chosen for a model."""
    if name == "cnn":
        return 8, 128
    if name == "mlp":
        return 4, 48
    return (_LEAST_SIDE.get(name, 32), 224) if ":" not in name else (8, 224)


def build_model(settings: ModelSettings, shape: Shape | RowShape, task: Task, train_samples: int) -> BuiltModel:
    """Build the model that is asked for.

    Raises:
        TrainingError: No model has this name, it does not take such samples, or the user's function is of no use.
    """
    classes = isinstance(task, Classification)
    if ":" in settings.model:
        model = _own(settings.model, shape, task.outputs)
        return BuiltModel(model, classes and not _gives_probabilities(model, shape), _exact(model))
    inputs = keras.Input(shape.as_tuple)
    hidden: tuple[int, ...] = ()
    if isinstance(shape, RowShape):
        features, hidden = _row(settings.model, inputs), (64, 32)
    elif settings.model == "cnn":
        features, hidden = _cnn(inputs, train_samples), (128,)
    elif settings.model == "mlp":
        features, hidden = layers.Flatten()(inputs), (256, 128)
    else:
        features = _application(settings.model, inputs)
    for width in hidden if settings.hidden_units is None else settings.hidden_units:
        features = layers.Dense(width, activation="relu")(features)
        features = layers.Dropout(_DROPOUT if settings.dropout_rate is None else settings.dropout_rate)(features)
    # In float32 also with mixed precision: a softmax in 16 bits loses the small probabilities.
    outputs = layers.Dense(task.outputs, activation="softmax" if classes else None, dtype="float32")(features)
    model = keras.Model(inputs, outputs, name=settings.model)
    return BuiltModel(model, gives_logits=False, exact_accumulation=_exact(model))


def _row(name: str, inputs: Any) -> Any:
    if name != "mlp":
        raise TrainingError(f"model {name} is for images; a table is learned by mlp, or by module:function")
    return inputs


def _cnn(x: Any, train_images: int) -> Any:
    """Return features of an image: two convolutions and a halving for each doubling of its size.

    What is found counts, not where: on 264 images of shapes at random places 8 epochs gave a test accuracy of 1.0, and
    0.7 to 0.9 with the places kept. In tiny images the places are most of what there is, so they are kept there.
    BatchNormalization makes accumulated batches only nearly equal to one large one; GroupNormalization would be exact,
    but learned those shapes from one seed in two.
    """
    tiny = max(x.shape[1:3]) <= 16
    filters = 24 if train_images < 1000 else 32 if train_images < 10000 else 48
    stride, size = (1, 3) if max(x.shape[1:3]) <= 64 else (2, 5)
    x = _halve(_convolution(_convolution(x, filters, size, stride), filters))
    while max(x.shape[1:3]) > 7:
        filters = min(2 * filters, 256)
        x = _halve(_convolution(_convolution(x, filters), filters))
    if tiny:
        return layers.Flatten()(x)
    return layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])


def _convolution(x: Any, filters: int, size: int = 3, stride: int = 1) -> Any:
    x = layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM)(x)
    return layers.Activation("relu")(x)


def _halve(x: Any) -> Any:
    """Halve each side that is not small yet, so that long images end as small as square ones."""
    return layers.MaxPooling2D(tuple(2 if side > 7 else 1 for side in x.shape[1:3]), padding="same")(x)


def _application(name: str, inputs: Any) -> Any:
    make = getattr(keras.applications, name, None)
    if make is None or not callable(make):
        raise TrainingError(
            f"no model is called {name}: write cnn, mlp, a name of keras.applications, or module:function"
        )
    scaled = layers.Rescaling(255.0) if name.startswith(_TAKES_0_TO_255) else layers.Rescaling(2.0, offset=-1.0)
    try:
        base = make(weights=None, include_top=False, pooling="avg", input_shape=tuple(inputs.shape[1:]))
    except ValueError as error:
        raise TrainingError(f"{name} does not take images of {inputs.shape[1]}x{inputs.shape[2]}: {error}") from error
    _quicken_statistics(base)
    return base(scaled(inputs))


def _quicken_statistics(model: Any) -> None:
    """Let every BatchNormalization follow the data of a few hundred steps.

    With the 0.999 of some of these models, 12 epochs of 240 images left the averages so near to their start that a
    MobileNetV2 with a training accuracy of 0.98 guessed at the test.
    """
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = min(layer.momentum, _MOMENTUM)
        _quicken_statistics(layer)


def _own(name: str, shape: Shape | RowShape, outputs: int) -> Any:
    """Call the user's `module:function` with (input_shape, num_classes); for a number that is 1."""
    module, _, function = name.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise TrainingError(f"model {name}: there is no module {error.name} here") from error
    except AttributeError as error:
        raise TrainingError(f"model {name}: {error}") from error
    model = make(shape.as_tuple, outputs)
    if not isinstance(model, keras.Model):
        raise TrainingError(f"model {name}: must return a keras.Model, not {type(model).__name__}")
    given = model(keras.ops.zeros((1, *shape.as_tuple)), training=False).shape
    if tuple(given) != (1, outputs):
        what = "values an image, one per class" if isinstance(shape, Shape) else "values a row"
        raise TrainingError(f"model {name}: must give {outputs} {what}, not {tuple(given[1:])}")
    return model


def _gives_probabilities(model: Any, shape: Shape | RowShape) -> bool:
    """Return whether the outputs are in [0, 1] and add up to 1, looked at on grey images of three brightnesses."""
    brightness = keras.ops.reshape(keras.ops.array([0.1, 0.5, 0.9]), (3, *(1 for _ in shape.as_tuple)))
    samples = keras.ops.ones((3, *shape.as_tuple)) * brightness
    given = keras.ops.convert_to_numpy(keras.ops.cast(model(samples, training=False), "float32"))
    return bool((given >= 0).all() and (abs(given.sum(axis=1) - 1) < 1e-2).all())


def _exact(model: Any) -> bool:
    kinds = (layers.BatchNormalization, layers.SpectralNormalization)
    return not any(isinstance(layer, kinds) for layer in model._flatten_layers())  # noqa: SLF001
