"""The built-in training from images or a table to `result.json`: preprocessing, training, analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parallel_ml.training.console import log
from parallel_ml.training.evaluate import load_model, outputs_of
from parallel_ml.training.failures import TrainingError
from parallel_ml.training.files import write_json
from parallel_ml.training.images import quiet_pillow
from parallel_ml.training.models import build_model
from parallel_ml.training.preparation import Prepared, prepare_images, prepare_table
from parallel_ml.training.trainer import Trained, train

if TYPE_CHECKING:
    from parallel_ml.training.failures import Place
    from parallel_ml.training.settings import Settings
    from parallel_ml.training.stopping import StopRequest


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
        """Read and check the data, divide them, and make them ready for a model."""
        data = self._settings.data
        if data.table is not None:
            return prepare_table(self._settings, data.table, self._stop.check)
        if data.image_dir is not None:
            return prepare_images(self._settings, data.image_dir, self._stop.check)
        raise TrainingError("data_preprocessing names neither image_dir nor train_data_path")

    def _train_and_analyse(self, prepared: Prepared) -> str:
        self._place.name = "train"
        trained = train(self._settings, prepared.source, prepared.splits, prepared.task, self._stop, self._place)
        self._place.name = "evaluate"
        self.analyse(prepared, trained)
        return trained.outcome

    def analyse(self, prepared: Prepared, trained: Trained) -> None:
        """Load the model back, judge it, and write `result.json`."""
        settings, task = self._settings, prepared.task
        model = load_model(settings.model.checkpoint, lambda: self._rebuild(prepared))
        judged = task.untested()
        if prepared.splits.test:
            batch, logits = settings.data.judged_at_a_time, trained.built.gives_logits
            outputs = outputs_of(model, prepared.source, prepared.splits.test, batch, self._stop, logits=logits)
            judged = task.judge(outputs, prepared.source.labels[list(prepared.splits.test)])
            log.info("test: %s", task.summary(judged))
        write_json(settings.process.result_file, {**judged, **prepared.told, **self._circumstances(trained)})

    def _circumstances(self, trained: Trained) -> dict[str, Any]:
        """Return what `result.json` says beside the figures and the data."""
        settings = self._settings
        return {
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
        return build_model(settings, shape, prepared.task, len(prepared.splits.train)).model
