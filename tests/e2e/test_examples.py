"""config/examples, as its readers run them; each needs the framework that it is about."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_ml import ConfigManager, ParallelMLExecutor

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "config" / "examples"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
"""Where `python` is the one that has the frameworks, as in an environment that is active."""


def needs(*modules: str) -> None:
    """Skip the test where one of the modules is not installed; none is imported."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def run(example: str, runs: Path) -> dict[str, Any]:
    """Run an example from the root of the repository and return what is told of its job."""
    command = [
        sys.executable,
        "-m",
        "parallel_ml",
        "run",
        f"config/examples/{example}.yaml",
        "--json",
        "--gpus",
        "none",
    ]
    done = subprocess.run(
        [*command, "--runs-dir", str(runs)],
        cwd=ROOT,
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = json.loads(done.stdout)["jobs"]
    return dict(job)


def epochs(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of a job's metrics.jsonl."""
    return [json.loads(line) for line in Path(job["paths"]["metrics"]).read_text().splitlines()]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_configuration_whose_program_or_table_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its framework is not installed."""
    monkeypatch.chdir(ROOT)
    manager = ConfigManager([str(path.relative_to(ROOT))])
    manager.preflight()
    (job,) = manager.jobs
    assert (job.name, job.warnings) == (path.stem, ())
    assert job.config.command is None or (ROOT / job.config.command[1]).is_file()


def test_scikit_learn_reports_what_its_params_say(tmp_path: Path) -> None:
    """As many epochs as `params` has, a rising accuracy, and the last figures as the result."""
    needs("sklearn")
    job = run("sklearn_digits", tmp_path)
    lines = epochs(job)
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert lines[-1]["val_accuracy"] > 0.9 > lines[0]["val_accuracy"]
    assert json.loads(Path(job["paths"]["result"]).read_text())["val_accuracy"] == lines[-1]["val_accuracy"]


@pytest.mark.tf
def test_a_table_is_learned_as_well_as_by_others(tmp_path: Path) -> None:
    """Nearly all wines are told apart, as by a logistic regression, and the model knows new rows."""
    needs("keras", "tensorflow")
    job = run("wine", tmp_path)
    result = json.loads(Path(job["paths"]["result"]).read_text())
    assert result["test_accuracy"] > 0.9
    assert result["classes"] == ["1", "2", "3"]
    command = [sys.executable, "-m", "parallel_ml.training.table_prediction", result["model_path"]]
    told = subprocess.run(
        [*command, "sample_data/wine.csv"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    wines = (ROOT / "sample_data" / "wine.csv").read_text().splitlines()
    right = sum(answer.split(",")[0] == wine.split(",")[-1] for answer, wine in zip(told[1:], wines[1:], strict=True))
    assert told[0] == "cultivar,probability of 1,probability of 2,probability of 3"
    assert right > 170


@pytest.mark.tf
def test_a_script_that_knows_nothing_of_this_is_read(tmp_path: Path) -> None:
    """The epochs of plain Keras, with what says where they are from."""
    needs("keras", "tensorflow")
    lines = epochs(run("plain_script", tmp_path))
    assert [(line["epoch"], line["epochs"], line["source"]) for line in lines] == [
        (n, 4, "output") for n in range(1, 5)
    ]
    assert lines[-1]["val_accuracy"] > 0.8
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]


def test_pytorch_learns(tmp_path: Path) -> None:
    """On the sample images, to an accuracy that is no chance."""
    needs("torch", "PIL", "numpy")
    lines = epochs(run("pytorch_digits", tmp_path))
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    assert lines[-1]["val_accuracy"] > 0.8


def test_pytorch_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that is killed is followed by one that begins where it was; each epoch is told once."""
    needs("torch", "PIL", "numpy")
    monkeypatch.setenv("PATH", PATH)
    config = tmp_path / "long.yaml"
    config.write_text(yaml.safe_dump({"extends": str(EXAMPLES / "pytorch_digits.yaml"), "params": {"epochs": 20}}))
    executor = ParallelMLExecutor([config], runs_dir=tmp_path / "runs", cwd=ROOT, gpus="none")

    def kill_once(_event: object) -> None:
        (job,) = executor.get_status().jobs
        if job.attempt == 1 and job.pid and (job.epoch or 0) >= 3:
            os.kill(job.pid, signal.SIGKILL)

    executor.subscribe(kill_once, "epoch")
    (result,) = executor.run_parallel()
    log = Path(result.paths["log"] or "").read_text()
    assert (result.state, result.history["epochs"]) == ("completed", list(range(1, 21)))
    assert "going on after epoch" in log
