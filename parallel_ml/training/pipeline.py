"""The built-in training from images to `result.json`: preprocessing, training, analysis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parallel_ml.training.console import log
from parallel_ml.training.dataset import ImageSource
from parallel_ml.training.devices import worker_threads
from parallel_ml.training.evaluate import evaluate, load_model
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.files import write_json
from parallel_ml.training.images import quiet_pillow, read_folder
from parallel_ml.training.models import build_model, size_limits
from parallel_ml.training.shape import choose_shape
from parallel_ml.training.splits import Splits, split
from parallel_ml.training.trainer import Trained, train

if TYPE_CHECKING:
    from parallel_ml.training.failures import Place
    from parallel_ml.training.images import ImageFolder
    from parallel_ml.training.settings import Settings
    from parallel_ml.training.stopping import StopRequest

_NAMED = 5


@dataclass(frozen=True)
class Prepared:
    """What preprocessing hands on."""

    folder: ImageFolder
    source: ImageSource
    splits: Splits


class Pipeline:
    """One training."""

    def __init__(self, settings: Settings, stop: StopRequest, place: Place) -> None:
        """Keep what to do, whom to ask whether to go on, and whom to tell what it is at."""
        self._settings, self._stop, self._place = settings, stop, place

    def run(self) -> str:
        """Do all of it and return the outcome, `success` or `early_stopped`.

        Raises:
            TrainingError: A problem that the user can solve.
            Released: The stop request said so.
        """
        with quiet_pillow():
            prepared = self.prepare()
            try:
                return self._train_and_analyse(prepared)
            except Exception as error:
                # TensorFlow wraps what a thread of its own ran into while reading a file.
                if prepared.source.failure is not None:
                    raise TrainingError(prepared.source.failure) from error
                raise

    def prepare(self) -> Prepared:
        """Find and check the images, divide them, and make them ready to be read."""
        data, workers = self._settings.data, worker_threads(self._settings.process)
        folder = read_folder(data.image_dir, workers, self._stop.check)
        _tell_folder(folder)
        splits = split(
            [file.name for file in folder.files],
            [file.label for file in folder.files],
            data.split_ratios,
            data.split_seed,
        )
        _refuse_empty(splits, data.split_ratios, len(folder.files))
        shape = choose_shape(folder.files, data.image_size, size_limits(self._settings.model.model), data.channels)
        source = ImageSource(folder.files, shape, workers)
        source.hold_if_small(self._stop.check)
        log.info(
            "data: %d images of %d classes as %dx%dx%d, %s; %d to train, %d to validate, %d to test",
            len(folder.files),
            len(folder.classes),
            *shape.as_tuple,
            "in memory" if source.in_memory else "streamed",
            len(splits.train),
            len(splits.validation),
            len(splits.test),
        )
        return Prepared(folder, source, splits)

    def _train_and_analyse(self, prepared: Prepared) -> str:
        self._place.name = "train"
        classes = len(prepared.folder.classes)
        trained = train(self._settings, prepared.source, prepared.splits, classes, self._stop, self._place)
        self._place.name = "evaluate"
        self.analyse(prepared, trained)
        return trained.outcome

    def analyse(self, prepared: Prepared, trained: Trained) -> None:
        """Load the model back, judge it, and write `result.json`."""
        settings, classes = self._settings, prepared.folder.classes
        model = load_model(settings.model.checkpoint, lambda: self._rebuild(prepared))
        told: dict[str, Any] = {"test_accuracy": None, "test_loss": None, "report": {}, "confusion_matrix": []}
        if prepared.splits.test:
            scores = evaluate(
                model,
                prepared.source,
                prepared.splits.test,
                settings.data.judged_at_a_time,
                self._stop,
                logits=trained.built.gives_logits,
            )
            loss = scores.loss if math.isfinite(scores.loss) else None
            told = {
                "test_accuracy": scores.accuracy,
                "test_loss": loss,
                "report": scores.report(classes),
                "confusion_matrix": scores.confusion.tolist(),
            }
            log.info("test: accuracy %.4f, loss %.4f", scores.accuracy, scores.loss)
        write_json(settings.process.result_file, {**told, **self._circumstances(prepared, trained)})

    def _circumstances(self, prepared: Prepared, trained: Trained) -> dict[str, Any]:
        """Return what `result.json` says beside the figures."""
        settings = self._settings
        return {
            "classes": list(prepared.folder.classes),
            "skipped_files": [file.name for file in prepared.folder.skipped],
            "best_epoch": trained.best_epoch,
            "epochs": trained.epochs,
            "model_path": str(settings.model.checkpoint),
            "batch": {
                "size": settings.data.batch_size,
                "accumulation": settings.model.accumulation,
                "effective": settings.effective_batch,
                "equivalence": trained.equivalence,
            },
        }

    def _rebuild(self, prepared: Prepared) -> Any:
        settings, shape = self._settings.model, prepared.source.shape
        return build_model(settings, shape, len(prepared.folder.classes), len(prepared.splits.train)).model


def _tell_folder(folder: ImageFolder) -> None:
    if folder.ignored_folders:
        log.warning("no images in the folders %s: they are no classes", ", ".join(folder.ignored_folders[:_NAMED]))
    if folder.skipped:
        named = "; ".join(f"{file.name} ({file.reason})" for file in folder.skipped[:_NAMED])
        more = f"; and {len(folder.skipped) - _NAMED} more, see result.json" if len(folder.skipped) > _NAMED else ""
        log.warning("skipped %d files: %s%s", len(folder.skipped), named, more)


def _refuse_empty(splits: Splits, ratios: tuple[float, float, float], images: int) -> None:
    for name, part, ratio in zip(("train", "validation", "test"), vars(splits).values(), ratios, strict=True):
        if ratio > 0 and not part:
            raise TrainingError(f"{images} images are too few: none is left for {name}")
