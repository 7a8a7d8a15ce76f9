"""The report of a training."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from parallel_ml.training_monitor.report import ReportGenerator
from parallel_ml.training_monitor.session import empty_metrics, shown_parameters


def metrics(**more: Any) -> dict[str, Any]:
    """Return the metrics of a training that is over."""
    return {
        **empty_metrics("digits"),
        "status": "completed",
        "start_time": "2026-01-02T03:04:05+00:00",
        "end_time": "2026-01-02T04:04:05+00:00",
        "duration": 1.0,
        "epochs": 10,
        "best_epoch": 8,
        "final_loss": 0.25,
        "cpu_mean_percent": 100.0,
        "memory_mean_mb": 900.0,
        "memory_peak_mb": 2048.0,
        **more,
    }


class Tags(HTMLParser):
    """Keeps the tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_a_report_is_two_files_named_after_the_training(folder: Path) -> None:
    """Markdown and HTML stand in the folder of reports, named by model and start."""
    paths = ReportGenerator().generate(metrics())
    assert [path.as_posix() for path in paths] == [
        "training_reports/digits-20260102-030405.md",
        "training_reports/digits-20260102-030405.html",
    ]
    assert all(path.stat().st_size for path in paths)


def test_no_report_is_written_over() -> None:
    """Two trainings of one name in one second have two reports."""
    first, second = ReportGenerator().generate(metrics()), ReportGenerator().generate(metrics(final_loss=9.0))
    assert not set(first) & set(second)
    assert "0.25" in first[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", [0, 1])
def test_a_report_says_what_was_asked_of_it(suffix: int) -> None:
    """Duration, metrics, memory, GPU, and the efficiency with how it is computed."""
    text = ReportGenerator().generate(metrics(gpus=1, gpu_memory_peak_mb=512.0))[suffix].read_text(encoding="utf-8")
    for said in ("1 h 0 min", "0.25", "2.00 GiB", "512 MiB", "6 min 0 s", "20 %", "duration / epochs"):
        assert said in text


def test_the_html_needs_nothing_else_and_runs_nothing() -> None:
    """No script, no address, no file beside it: whatever a training's name or error holds."""
    evil = "<script>alert(1)</script><img src=x onerror=y>"
    told = metrics(model_name=evil, error=evil, failure={"lines": [evil], "place": evil}, status="failed")
    text = ReportGenerator().generate(told)[1].read_text(encoding="utf-8")
    page = Tags(text)
    assert not page.tags & {"script", "img", "link", "iframe"}
    assert not page.attributes & {"src", "href", "onerror"}
    assert "&lt;script&gt;" in text


def test_a_name_stays_in_the_folder() -> None:
    """A model called like a path makes no file elsewhere."""
    paths = ReportGenerator().generate(metrics(model_name="../../etc/x y|z"))
    assert {path.parent for path in paths} == {Path("training_reports")}
    assert paths[0].name.startswith("etc-x-y-z-")


def test_what_is_not_known_is_said_so() -> None:
    """A machine without a GPU, and a training without figures, say it in words."""
    told = metrics(gpus=0, epochs=None, best_epoch=None, final_loss=None)
    text = ReportGenerator().generate(told)[0].read_text(encoding="utf-8")
    assert "no GPU here" in text
    assert "returned no figures" in text
    assert "time an epoch" not in text


def test_a_report_in_chinese() -> None:
    """The language of the settings is that of the report."""
    text = ReportGenerator(language="zh").generate(metrics())[0].read_text(encoding="utf-8")
    assert "digits 训练报告" in text
    assert "Summary" not in text


def test_parameters_are_shown_without_data_and_secrets() -> None:
    """Numbers and texts as they are, data by its type, and what is named like a secret masked."""
    shown = shown_parameters({"lr": 0.1, "sizes": [8, 4], "x": [1] * 99, "password": "hunter2hunter2", "f": len})
    assert shown == {"lr": "0.1", "sizes": "[8, 4]", "x": "list", "password": "***", "f": "builtin_function_or_method"}
