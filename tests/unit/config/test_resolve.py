"""Each process gets a copy of its configuration, and a command."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
import yaml

from parallel_ml.config.manager import (
    LoadedConfig,
    ProcessContext,
    command_line,
    resolve,
    unique_path,
    write_process_config,
)
from parallel_ml.config.placeholders import misspelt
from parallel_ml.core.batch import BatchPlan
from parallel_ml.errors import StoreError
from tests.unit.config.conftest import SECTIONS, Folder

JOB_DIR = Path("/runs/r1/jobs/a")
GRANTED = BatchPlan(16, 2)


def context(job_dir: Path = JOB_DIR, batch: BatchPlan | None = GRANTED) -> ProcessContext:
    """Return what the first attempt of a job is given."""
    return ProcessContext(
        run_id="r1",
        job="a",
        process_id=0,
        attempt=1,
        seed=77,
        batch=batch,
        allocation={"device": "gpu", "memory_limit": 4000},
        job_dir=job_dir,
        attempt_dir=job_dir / "attempt-01",
        checkpoint_dir=job_dir / "checkpoints",
        cwd=Path("/data/me"),
        cpus=2,
        log_file=job_dir / "log.jsonl",
        metrics_file=job_dir / "metrics.jsonl",
        history_file=job_dir / "history.json",
        result_file=job_dir / "result.json",
    )


def load(folder: Folder, text: str) -> LoadedConfig:
    """Return the configuration of a text."""
    return folder.load(folder.write("a.yaml", text)).jobs[0]


def test_the_copy_of_a_training(folder: Folder) -> None:
    """Paths, batch, seed and logging are the process's; all else is the user's, with every default."""
    loaded = load(folder, f"{SECTIONS}env: {{SECRET: x}}\n")
    assert resolve(loaded, context()) == {
        "data_preprocessing": {
            "image_dir": "/data/me/sample_data/images",
            "batch_size": 16,
            "split_ratios": {"train": 0.8, "validation": 0.1, "test": 0.1},
            "random_state": 77,
            "split_random_state": 42,
        },
        "model_training": {
            "epochs": 4,
            "checkpoint": {
                "filepath": "/runs/r1/jobs/a/checkpoints/best_model-r1-a.keras",
                "every": "10m",
                "keep": 3,
            },
            "mixed_precision": False,
            "gradient_accumulation": 2,
        },
        "result_analysis": {"model_path": "/runs/r1/jobs/a/checkpoints/best_model-r1-a.keras"},
        "name": "a",
        "logging": {
            "level": "INFO",
            "log_file": "/runs/r1/jobs/a/log.jsonl",
            "metrics_file": "/runs/r1/jobs/a/metrics.jsonl",
            "history_file": "/runs/r1/jobs/a/history.json",
        },
        "process": {
            "run": "r1",
            "job": "a",
            "process_id": 0,
            "attempt": 1,
            "seed": 77,
            "requested_batch_size": 32,
            "allocation": {"device": "gpu", "memory_limit": 4000},
            "job_dir": "/runs/r1/jobs/a",
            "attempt_dir": "/runs/r1/jobs/a/attempt-01",
            "checkpoint_dir": "/runs/r1/jobs/a/checkpoints",
            "result_file": "/runs/r1/jobs/a/result.json",
            "rates_file": None,
            "cpus": 2,
        },
    }


def test_the_users_values_are_not_touched(folder: Folder) -> None:
    """Resolving twice gives the same, and the snapshot stays."""
    loaded = load(folder, SECTIONS)
    before = loaded.snapshot()
    assert resolve(loaded, context()) == resolve(loaded, context())
    assert loaded.snapshot() == before


def test_flat_spellings_become_nested_ones(folder: Folder) -> None:
    """The training reads one spelling of each."""
    flat = "epochs: 4\n  model_type: mlp\n  early_stopping_patience: 3\n  learning_rate_scheduler: plateau"
    training = resolve(load(folder, SECTIONS.replace("epochs: 4", flat)), context())["model_training"]
    assert (training["model"], "model_type" in training, "early_stopping_patience" in training) == ("mlp", False, False)
    stopping = {"monitor": "val_loss", "mode": "min", "patience": 3, "min_delta": 0.001, "restore_best": True}
    assert training["early_stopping"] == stopping
    schedule = {"type": "plateau", "factor": 0.5, "patience": 5, "min_delta": 0.0001, "min_lr": 0.0}
    assert training["learning_rate_scheduler"] == {**schedule, "monitor": "val_loss", "mode": "min"}


def test_an_accuracy_is_watched_upwards(folder: Folder) -> None:
    """The mode follows from the monitor."""
    text = SECTIONS.replace("epochs: 4", "epochs: 4\n  early_stopping: {monitor: val_accuracy}")
    assert resolve(load(folder, text), context())["model_training"]["early_stopping"]["mode"] == "max"


def test_a_split_seed_of_the_users_own_is_kept(folder: Folder) -> None:
    """All jobs of a run may share another split."""
    text = SECTIONS.replace("random_state: 42", "random_state: 42\n  split_random_state: 5")
    assert resolve(load(folder, text), context())["data_preprocessing"]["split_random_state"] == 5


def test_the_copy_of_an_own_program_keeps_its_spelling(folder: Folder) -> None:
    """Nothing is added but the two sections; what is the process's is changed where it stands."""
    loaded = load(
        folder,
        "command: [python, t.py]\nenv: {A: 1}\nparams: {deep: {x: 1}}\n"
        "data_preprocessing: {batch_size: 32, random_state: 1}\n"
        "model_training: {model_type: net, checkpoint: {filepath: best.pt}}\nresult_analysis: {model_path: best.pt}\n",
    )
    resolved = resolve(loaded, context())
    assert resolved["data_preprocessing"] == {"batch_size": 16, "random_state": 77, "split_random_state": 1}
    best = "/runs/r1/jobs/a/checkpoints/best-r1-a.pt"
    assert resolved["model_training"] == {
        "model_type": "net",
        "checkpoint": {"filepath": best},
        "gradient_accumulation": 2,
    }
    assert (resolved["result_analysis"], resolved["params"], "env" in resolved) == (
        {"model_path": best},
        {"deep": {"x": 1}},
        False,
    )


def test_an_own_program_without_sections_gets_none(folder: Folder) -> None:
    """Only its name, its command and what we add."""
    resolved = resolve(load(folder, "command: [python, t.py]\n"), context(batch=None))
    assert sorted(resolved) == ["command", "logging", "name", "process"]


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("best_model.keras", "/runs/r1/jobs/a/checkpoints/best_model-r1-a.keras"),
        ("models/v1.2/best.h5", "/runs/r1/jobs/a/checkpoints/models/v1.2/best-r1-a.h5"),
        ("/models/best.keras", "/models/best-r1-a.keras"),
        ("best", "/runs/r1/jobs/a/checkpoints/best-r1-a"),
    ],
)
def test_no_two_processes_share_a_model_path(written: str, path: str) -> None:
    """Run and job are in the name; an absolute path stays where it points."""
    assert str(unique_path(written, run_id="r1", job="a", job_dir=JOB_DIR)) == path


def test_the_written_copy_is_whole_and_private(folder: Folder, tmp_path: Path) -> None:
    """Any YAML reader reads it, only its owner may, and no temporary file is left."""
    loaded = load(folder, f"{SECTIONS}params: {{a: '1e-3', b: 'yes', c: 1.0e-7}}\n")
    given = context(tmp_path / "job")
    given.attempt_dir.mkdir(parents=True)
    path = write_process_config(loaded, given)
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == resolve(loaded, given)
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == ("resolved.yaml", 0o600)
    assert list(given.attempt_dir.iterdir()) == [path]


def test_a_copy_that_cannot_be_written_is_a_store_error(folder: Folder, tmp_path: Path) -> None:
    """It says which file and why."""
    with pytest.raises(StoreError, match=r"resolved\.yaml: No such file"):
        write_process_config(load(folder, SECTIONS), context(tmp_path / "gone"))


def test_the_command_of_the_built_in_training(folder: Folder) -> None:
    """This interpreter, our module, the copy."""
    command = command_line(load(folder, SECTIONS), Path("/c.yaml"), context())
    assert command == [sys.executable, "-m", "parallel_ml.training", "/c.yaml"]


def test_the_placeholders_of_an_own_command(folder: Folder) -> None:
    """Known ones are replaced wherever they stand; other braces stay."""
    loaded = load(
        folder, "command: [/bin/run, '{config}', '--dir={checkpoint_dir}', '{job_dir}/{name}-{seed}', '{x} {{}}']\n"
    )
    assert command_line(loaded, Path("/c{seed}.yaml"), context()) == [
        "/bin/run",
        "/c{seed}.yaml",
        "--dir=/runs/r1/jobs/a/checkpoints",
        "/runs/r1/jobs/a/a-77",
        "{x} {{}}",
    ]


def test_python_is_our_own_where_path_has_none(folder: Folder) -> None:
    """Many systems have no `python` outside an environment."""
    loaded = load(folder, "command: [python, t.py]\nenv: {PATH: /nowhere}\n")
    assert command_line(loaded, Path("/c.yaml"), context())[0] == sys.executable


@pytest.mark.parametrize(("given", "told"), [("500", 500), ("'500'", 500), ("90s", "90s"), ("1h30m", "5400s")])
def test_how_often_a_state_is_saved(folder: Folder, given: str, told: int | str) -> None:
    """A whole number counts updates; a time arrives in seconds."""
    text = SECTIONS.replace("'best_model.keras'}", f"'best_model.keras', every: {given}}}")
    assert resolve(load(folder, text), context())["model_training"]["checkpoint"]["every"] == told


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (["python", "t.py", "{confg}"], ("confg", "config")),
        (["python", "t.py", "--out={job_dirs}/x"], ("job_dirs", "job_dir")),
        (["bash", "-c", "python t.py {checkpoint-dir} | tee log"], ("checkpoint-dir", "checkpoint_dir")),
        (["python", "t.py", "{config}", "{fold}", "{Seed}", "{seed}x"], None),
        (["python", "t.py", '{"seeds": 1}', "{a,seeds}", "{{seeds}}", "{}"], None),
        (["bash", "-c", "echo ${names} ${seeds}"], None),
        (["python", "-c", "print(f'{names}')"], None),
        (["bash", "-c", """python -c 'print(f"{names}")'"""], None),
        (["awk", "{names}; END {print}"], None),
        (["bash", "-c", "cat x | awk '{names}'"], None),
    ],
)
def test_a_slip_in_a_placeholder_is_noticed(command: list[str], found: tuple[str, str] | None) -> None:
    """Where a bare word in braces is close to one; programs in other languages have braces of their own."""
    assert misspelt(command) == found


def test_a_slip_in_a_placeholder_is_a_warning(folder: Folder) -> None:
    """It goes to the program as it is."""
    (job,) = folder.load(folder.write("a.yaml", "command: [python, t.py, '{confg}']\n")).jobs
    assert job.warnings == (
        "a.yaml:1: command: {confg} is no placeholder and goes to the program as text; did you mean {config}?",
    )


TABLE = """\
data_preprocessing: {train_data_path: a.csv, test_data_path: /b.csv, target_column: y, feature_columns: size}
model_training:
  epochs: 4
  model_type: mlp
  loss: mae
  early_stopping: {monitor: val_r2}
  learning_rate_scheduler: {type: plateau, monitor: val_mae}
"""


def test_the_copy_of_a_table_training(folder: Folder) -> None:
    """Its files are absolute, its columns a list; r2 should rise and an error fall."""
    copy = resolve(load(folder, TABLE), context())
    data, training = copy["data_preprocessing"], copy["model_training"]
    assert (data["train_data_path"], data["test_data_path"]) == ("/data/me/a.csv", "/b.csv")
    assert (data["target_column"], data["feature_columns"]) == ("y", ["size"])
    assert (training["model"], training["loss"]) == ("mlp", "mae")
    assert training["early_stopping"]["mode"] == "max"
    assert training["learning_rate_scheduler"]["mode"] == "min"
