"""The three forms of a report: what stands in them, and that nothing that a job wrote is obeyed by a reader."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from parallel_ml.core.model import JobState
from parallel_ml.report.content import document
from parallel_ml.report.words import LANGUAGES, label
from parallel_ml.report.writing import FORMATS, write_reports, written
from parallel_ml.store.layout import RunLayout
from tests.unit.report.conftest import BEGAN, HOSTILE, Made, epochs, report_of

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun

VOID = {"meta", "link"}
NOT_HTML = {"path", "rect", "circle"}
MATRIX = {"classes": ["cat", "dog"], "confusion_matrix": [[5, 2], [0, 4]], "test_accuracy": 0.8}
SAMPLE = {"memory_mb": 100.0, "cpu_percent": 50.0, "gpu_memory_mb": 512.0, "gpu_utilization": 90}
FIRED = {"expr": HOSTILE, "status": "firing", "episode": 1, "true_at": BEGAN, "true_epoch": 3}


class Reader(HTMLParser):
    """Reads a page as a browser does: its elements, their attributes, its text."""

    def __init__(self, page: str) -> None:
        """Read it.

        Raises:
            AssertionError: An element is not closed where it should be.
        """
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element that closes itself."""
        assert tag in NOT_HTML
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        """Take the end of one."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take text."""
        if self._open and self._open[-1] not in ("style", "title"):
            self.text += data


@pytest.fixture
def layout(make_run: MakeRun) -> RunLayout:
    """Return a run with something in every section of a report."""
    samples = tuple({"timestamp": f"2026-01-01T12:00:{second}+00:00", **SAMPLE} for second in (12, 14))
    return make_run(
        Made("best", points=epochs(0.8, 0.9, val_loss=0.3), result=MATRIX, samples=samples),
        Made("other", points=epochs(0.7), config="model_training: {learning_rate: 0.2}\n", failed_before=1),
        Made("bad", JobState.FAILED, error="ValueError: no", alerts={"nan": FIRED}),
        plan={"git": {"commit": "abc123", "branch": "main", "dirty": False}, "versions": {"python": "3.12.1"}},
    )


@pytest.fixture
def hostile(make_run: MakeRun) -> RunLayout:
    """Return a run in which everything that a job or a file can say is hostile."""
    points = tuple({**point, HOSTILE: 1.0, "nonfinite": {HOSTILE: "nan"}} for point in epochs(0.5, 0.6))
    matrix = {**MATRIX, "classes": [HOSTILE, "dog"]}
    made = make_run(
        Made("one", points=points, result=matrix, failed_before=1, error=HOSTILE, alerts={HOSTILE: FIRED}),
        Made("two", JobState.FAILED, points=points, error=HOSTILE, config=f"params: {json.dumps({'a': HOSTILE})}\n"),
        name=HOSTILE,
        plan={"argv": [HOSTILE], "notes": [HOSTILE], "git": {"commit": HOSTILE, "dirty": True}, "versions": HOSTILE},
    )
    line = {"timestamp": "2026-01-01T12:00:00+00:00", "type": "stderr", "message": HOSTILE}
    made.job("two").log.write_text(json.dumps(line) + "\n", encoding="utf-8")
    return made


def sections(page: str) -> list[str]:
    """Return the sections of a page by their keys."""
    return re.findall(r'<h2 id="(\w+)">', page)


def test_a_page_has_everything(layout: RunLayout) -> None:
    """A section for each thing that there is to tell, with what was found."""
    page = written(report_of(layout), "html")
    wanted = ["summary", "jobs", "differences", "curves", "confusion", "timeline", "failures", "attempts", "story"]
    assert sections(page) == [*wanted, "alerts", "origin"]
    text = Reader(page).text
    for told in ("best is the best by validation accuracy: 0.9", "learning_rate", "ValueError: no", "abc123", "3.12.1"):
        assert told in text


def test_what_there_is_not_has_no_section(make_run: MakeRun) -> None:
    """A job alone that did nothing but run."""
    page = written(report_of(make_run(Made(points=epochs(0.5)))), "html")
    assert sections(page) == ["summary", "jobs", "curves", "timeline", "origin"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_runs_and_loads_nothing(hostile: RunLayout, language: str) -> None:
    """No script, no handler, no address: whatever jobs, logs, metrics and files say."""
    page = written(report_of(hostile), "html", language)
    reader = Reader(page)
    assert not {"script", "img", "iframe", "object", "b"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    links = [value or "" for name, value in reader.attributes if name in ("href", "src")]
    assert all(value.startswith(("#", "data:,")) for value in links)
    assert "<script>alert(1)</script>" in reader.text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", page)
    assert "http" not in re.sub(r'http-equiv|"no-referrer"', "", page)


def test_tables_can_be_heard(layout: RunLayout) -> None:
    """Each has a caption and headings of columns and rows; each drawing a description."""
    page = written(report_of(layout), "html")
    assert page.count("<table>") == page.count("<caption>")
    assert len(re.findall(r"<svg (?![^>]*aria-(?:label|hidden)=)", page)) == 0
    assert len(re.findall(r"<tbody>\s*<tr[^>]*><th scope=\"row\">", page)) == page.count("<table>")
    assert "cat taken for dog (2)" in page


def test_markdown_is_not_broken_by_what_jobs_say(hostile: RunLayout) -> None:
    """Every row of a table has as many cells as its heading; no HTML, no link, no formatting comes out."""
    text = written(report_of(hostile), "md")
    width = 0
    for line in text.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("| ") else 0
        assert not width or not cells or cells == width
        width = cells
    assert not re.search(r"(?<![\\])<script", re.sub(r"(?m)^    .*$", "", text))
    assert not re.search(r"(?<!\\)\[a\]\(", re.sub(r"(?m)^    .*$", "", text))
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)


def test_json_is_what_every_reader_knows(make_run: MakeRun) -> None:
    """No NaN or infinity; the winner, the jobs in their order, their curves."""
    points = epochs(0.5, float("nan"), float("inf"))
    told: dict[str, Any] = json.loads(
        written(report_of(make_run(Made("a", points=points), Made("b", points=epochs(0.9)))), "json"),
        parse_constant=pytest.fail,
    )
    assert told["winner"]["job"] == "b"
    assert [job["label"] for job in told["jobs"]] == ["b", "a"]
    assert told["curves"]["val_accuracy"]["a"] == [[1.0, 0.5], [2.0, None], [3.0, None]]


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e308, "high", True, [1], {"a": 1}, None])
def test_odd_figures_are_no_figures(make_run: MakeRun, value: Any) -> None:
    """What is no finite number is left out of tables and curves, and breaks none of the forms."""
    points = ({"epoch": 1, "val_accuracy": 0.5}, {"epoch": value, "val_accuracy": value, "time_per_epoch": value})
    report = report_of(make_run(Made("a", points=points, result={"test_accuracy": value}), Made("b")))
    for form in FORMATS:
        assert "a" in written(report, form)


PRINTED = "purple-armchair"


def test_no_secret_is_passed_on(make_run: MakeRun) -> None:
    """Neither of what was typed nor of what jobs printed; their own environment's by its value."""
    said = "login with password=hunter22"
    made = make_run(
        Made("a", JobState.FAILED, error=said, failed_before=1, config="env: {API_TOKEN: correct-horse}\n"),
        plan={"argv": ["run", "--token", "hunter22"]},
    )
    line = {"timestamp": "2026-01-01T12:00:00+00:00", "type": "stderr", "message": "it is correct-horse"}
    made.job("a").log.write_text(json.dumps(line) + "\n", encoding="utf-8")
    for form in FORMATS:
        text = written(report_of(made), form)
        assert "password" in text
        assert not re.search("hunter22|correct-horse", text)


def test_a_secret_of_a_channel_that_a_job_printed_is_not_passed_on(make_run: MakeRun) -> None:
    """Though it looks like nothing: neither as an error, nor in the last lines, nor in what happened."""
    made = make_run(Made("a", JobState.FAILED, error=f"it said {PRINTED}", failed_before=1))
    line = {"timestamp": "2026-01-01T12:00:00+00:00", "type": "stderr", "message": f"Error: {PRINTED}"}
    made.job("a").log.write_text(json.dumps(line) + "\n", encoding="utf-8")
    for form in FORMATS:
        assert PRINTED in written(report_of(made), form)
        assert PRINTED not in written(report_of(made, secrets=[PRINTED]), form)


@pytest.mark.parametrize(("language", "told"), [("en", "told a metric"), ("zh", "报告指标的不足两个")])
def test_completed_jobs_without_a_metric_are_not_called_too_few(make_run: MakeRun, language: str, told: str) -> None:
    """What is missing is what they could be compared by, which has no row beside what differed either."""
    other = "model_training: {learning_rate: 0.2}\n"
    text = written(report_of(make_run(Made("one"), Made("two", config=other))), "md", language)
    assert told in text
    assert label("no_winner", language) not in text
    assert label("best", language, metric=label("val accuracy", language)) not in text


def test_long_values_that_differ_do_so_in_every_form(make_run: MakeRun) -> None:
    """As short as a table needs it, whole for programs."""
    command = "command: [python, /data/someone/experiments/replay.py, --lr, {}]\n"
    made = make_run(Made("one", config=command.format(0.11)), Made("two", config=command.format(0.12)))
    for form in ("html", "md"):
        text = written(report_of(made), form)
        assert all(f"… --lr {value}" in text.replace("\\", "") for value in ("0.11", "0.12"))
    told = json.loads(written(report_of(made), "json"))["differences"]["command"]
    assert told == {
        name: f"python /data/someone/experiments/replay.py --lr {lr}" for name, lr in (("one", 0.11), ("two", 0.12))
    }


def test_a_report_is_in_chinese(layout: RunLayout) -> None:
    """Titles, states and causes."""
    page = written(report_of(layout), "html", "zh")
    assert 'lang="zh-CN"' in page
    for told in ("任务排行", "完成", "损失变为 NaN", "验证准确率"):
        assert told in page


def test_the_forms_tell_the_same(layout: RunLayout) -> None:
    """Every title of the page stands in the Markdown as well."""
    report = report_of(layout)
    text = written(report, "md")
    assert all(f"## {section.title}" in text for section in document(report, "en").sections)


def test_runs_are_compared_in_a_leaderboard(make_run: MakeRun) -> None:
    """The run with the best job first."""
    worse = make_run(Made("a", points=epochs(0.5)), name="worse")
    better = make_run(Made("a", points=epochs(0.9)), name="better")
    text = written(report_of(worse, better), "md")
    board = text.split(f"## {label('leaderboard', 'en')}")[1]
    assert board.index("better") < board.index("worse")
    assert "**better/a is the best" in text


def test_a_run_that_goes_on_says_so(make_run: MakeRun) -> None:
    """With the time of which the report is."""
    text = written(report_of(make_run(Made(state=JobState.RUNNING))), "md")
    assert "The run has not ended: this is how it stood at 2026-01-01 12:01:40 UTC." in text


def test_many_jobs_stay_a_small_page(make_run: MakeRun) -> None:
    """A row each, the best in colour, the others in one grey line."""
    points = epochs(*(number / 100 for number in range(40)))
    page = written(report_of(make_run(*(Made(f"job{number:03d}", points=points) for number in range(300)))), "html")
    assert page.count('<th scope="row">job') >= 300
    assert page.count('class="line rest"') == 1
    assert len(page) < 600_000


def test_reports_stand_where_they_were_asked_for(layout: RunLayout) -> None:
    """In all three forms, whole, and written over by the next."""
    for _ in range(2):
        paths = write_reports([layout], layout.report, BEGAN)
    assert [path.name for path in paths] == ["report.html", "report.md", "report.json"]
    assert json.loads(layout.report("json").read_text(encoding="utf-8"))["v"] == 1
