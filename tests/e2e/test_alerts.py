"""An alert that lowers the learning rate of a built-in training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from parallel_ml import ParallelMLExecutor
from parallel_ml.core.events import RateCutOrdered
from parallel_ml.monitor.process_monitor import MonitorEvent
from parallel_ml.store.journal import read_records
from parallel_ml.store.layout import RunLayout
from tests.e2e.trainings import draw

EPOCHS = 120  # the order has to reach the training before its end
pytestmark = [pytest.mark.tf, pytest.mark.process]


def cooling(tmp_path: Path) -> ParallelMLExecutor:
    """Return a run whose one training is told to halve its rate when its second epoch is over."""
    config = {
        "data_preprocessing": {"image_dir": str(draw(tmp_path / "images", 40)), "batch_size": 8},
        "model_training": {"model": "mlp", "epochs": EPOCHS, "learning_rate": 0.01},
        "result_analysis": {},
        "alerts": [{"alert": "cool", "expr": "epoch() >= 2", "action": "reduce_lr", "factor": 0.5}],
    }
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(config))
    return ParallelMLExecutor([path], runs_dir=tmp_path / "runs", cwd=tmp_path, gpus="none")


def test_reduce_lr_holds_from_the_epoch_after_the_next(tmp_path: Path) -> None:
    """The rate is halved once, written down, and told with the epochs."""
    run = cooling(tmp_path)
    (result,) = run.run_parallel()
    assert result.state == "completed", result.error
    rates = [round(rate, 6) for rate in result.history["learning_rate"]]
    begun = json.loads((Path(result.paths["dir"] or "") / "checkpoints" / "rates-begun.json").read_text())
    first = begun["1"]
    assert first >= 4
    assert rates == [0.01] * (first - 1) + [0.005] * (EPOCHS - first + 1)


def orders_of(layout: RunLayout) -> int:
    """Return how many cuts of the rate were ordered."""
    records, _ = read_records(layout.events)
    return [type(record.event) for record in records].count(RateCutOrdered)


def test_a_supervisor_that_is_killed_over_an_order_has_it_obeyed_once(tmp_path: Path) -> None:
    """Only the event was written: the next one writes the order, and orders nothing when the alert comes again."""
    run = cooling(tmp_path)

    def leave(event: MonitorEvent) -> None:
        layout = RunLayout(Path(run.get_status().dir))
        if run._supervisor is not None and event.data["epoch"] > 2 and orders_of(layout):
            run._supervisor.leave("a test")

    run.subscribe(leave, "epoch")
    run.run_parallel()
    layout = RunLayout(Path(run.get_status().dir))
    (name,) = [job.name for job in run.get_status().jobs]
    assert orders_of(layout) == 1
    for lost in (layout.job(name).alerts, layout.job(name).rates):
        lost.unlink(missing_ok=True)
    again = ParallelMLExecutor.resume(layout.dir)
    (result,) = again.run_parallel()
    assert result.state == "completed", result.error
    assert orders_of(layout) == 1
    assert {round(rate, 6) for rate in result.history["learning_rate"]} == {0.01, 0.005}
