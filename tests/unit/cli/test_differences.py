"""What differed between the configurations of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from parallel_ml.adapters.cli.differences import configs_of, difference_lines
from parallel_ml.adapters.cli.text import cell_width, safe
from parallel_ml.core.differences import differences

if TYPE_CHECKING:
    from parallel_ml.core.status import JobStatus
    from tests.unit.cli.conftest import MakeJob


@pytest.fixture
def configured(make_job: MakeJob, tmp_path: Path) -> Any:
    """Return a maker of jobs with a configuration in their folder."""

    def make(name: str, config: dict[str, Any]) -> JobStatus:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return make_job(name, "completed", paths={"dir": str(folder)})

    return make


def test_only_what_differs_is_shown() -> None:
    """By the last part of its key; what a job does not have is a dash."""
    training = {"model": "cnn", "epochs": 8}
    rows = differences([{"model_training": training}, {"model_training": {**training, "epochs": 25, "units": [8, 4]}}])
    assert rows == [("epochs", ["8", "25"]), ("units", ["-", "[8, 4]"])]


def test_keys_of_the_same_name_are_told_apart() -> None:
    """By as much of their path as that takes."""
    rows = differences([{"a": {"lr": 1}, "b": {"lr": 1}}, {"a": {"lr": 2}, "b": {"lr": 2}}])
    assert [title for title, _ in rows] == ["a.lr", "b.lr"]


def test_a_word_and_a_mapping_are_compared_whole() -> None:
    """`cosine` and `{type: cosine, warmup_epochs: 2}` are one difference."""
    short, long = {"m": {"schedule": "cosine"}}, {"m": {"schedule": {"type": "cosine", "warmup": 2}}}
    assert differences([short, long]) == [("schedule", ["cosine", "type cosine, warmup 2"])]


@pytest.mark.parametrize(
    "config",
    [
        {"env": {"API_TOKEN": "hunter2"}},
        {"notifications": {"webhook": "hunter2"}},
        {"params": {"api_key": "hunter2", "db": {"password": "hunter2"}, "list": [{"secret": "hunter2"}]}},
        {"params": {"wandb-token": "hunter2", "accessToken": "hunter2"}},
        {"params": {"store": "https://me:hunter2@example.org"}},
        {"command": ["train", "--api-key", "hunter2"]},
        {"command": ["train", "--token=hunter2"]},
    ],
)
def test_no_secret_is_shown(config: dict[str, Any]) -> None:
    """Neither by its key nor within a text."""
    assert "hunter2" not in repr(differences([config, {"params": {"lr": 1}}]))


def test_keys_that_only_sound_secret_are_compared() -> None:
    """A number of tokens is no token."""
    assert differences([{"params": {"max_tokens": 1}}, {"params": {"max_tokens": 2}}]) == [("max_tokens", ["1", "2"])]


def test_few_keys_are_columns(configured: Any) -> None:
    """A row for each job, the best one marked; its name and where its model goes are no differences."""
    jobs = [
        configured(name, {"name": name, "params": {"lr": lr}, "result_analysis": {"model_path": name}})
        for name, lr in (("a", 0.1), ("b", 0.2), ("c", 0.3))
    ]
    assert difference_lines(jobs, differences(configs_of(jobs)), "b", 80) == [
        "what differed  lr",
        "a              0.1",
        "b *            0.2",
        "c              0.3",
    ]


def test_many_keys_are_rows(configured: Any) -> None:
    """Where as columns they would not fit."""
    jobs = [
        configured(name, {"params": {f"parameter_{n}": n + more for n in range(8)}})
        for name, more in (("a", 0), ("b", 1))
    ]
    lines = difference_lines(jobs, differences(configs_of(jobs)), None, 40)
    assert lines[:3] == ["what differed  a  b", "parameter_0    0  1", "parameter_1    1  2"]


def test_a_title_that_is_taken_is_longer() -> None:
    """The epochs that were asked for stand beside those that were done."""
    assert differences([{"m": {"epochs": 1}}, {"m": {"epochs": 2}}], ["epochs"]) == [("m.epochs", ["1", "2"])]


@pytest.mark.parametrize("width", [20, 40, 100])
def test_they_fit_the_terminal(configured: Any, width: int, hostile: str) -> None:
    """Many jobs with many keys as well; what a configuration says is sanitised."""
    jobs = [
        configured(f"job-{place}", {"params": {f"parameter_{n}": f"{place}{hostile}" for n in range(12)}})
        for place in range(12)
    ]
    lines = difference_lines(jobs, differences(configs_of(jobs)), None, width)
    assert 13 <= len(lines) <= 37
    assert max(map(cell_width, lines)) <= width
    assert lines == [safe(line) for line in lines]


def test_equal_configurations_have_none(configured: Any) -> None:
    """Nothing is said, as where there is one job alone or one whose configuration cannot be read."""
    jobs = [configured(name, {"params": {"lr": 0.1}}) for name in ("a", "b")]
    assert differences(configs_of(jobs)) == []
    assert configs_of(jobs[:1]) == []
    (Path(jobs[0].paths["dir"] or "") / "config.yaml").unlink()
    assert differences(configs_of(jobs)) == []
