"""The page in a real browser: live, over a restart of the server, by keyboard alone, on a phone, with hostile jobs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.web.browser import Tab, browsing, find_browser
from tests.unit.web.serving import RUN, TOKEN, Script, Served, serving, settings_in

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(find_browser() is None, reason="there is no Chromium on this machine"),
]
MakeRun = Callable[..., Script]
HOSTILE = "<img src=x onerror=document.title='owned'>"
OVERRIDE = "\u202egnp.exe"
ROWS = "document.querySelectorAll('table.jobs tbody tr').length"
TEXTS = "[...document.querySelectorAll('table.jobs tbody tr')].map(r => r.textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """Return a tab of a browser that the tests share."""
    folder = tmp_path_factory.mktemp("browser")
    with browsing(folder) as tab:
        yield tab
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tab(browser: Tab, served: Served) -> Iterator[Tab]:
    """Return a tab like a desktop's that remembers nothing; nothing may go wrong in it. It leaves before the server."""
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.wrong.clear()
    yield browser
    browser.js("sessionStorage.clear(); localStorage.clear()")
    wrong = list(browser.wrong)
    browser.open("about:blank")
    assert wrong == []


def show(tab: Tab, served: Served, run: str = RUN, job: str = "") -> None:
    """Open the page of a run, or of a job."""
    tab.open(f"http://127.0.0.1:{served.port}/#token={TOKEN}")
    tab.wait("document.querySelector('#link.live') !== null")
    tab.js(f"location.hash = '#/run/{run}{'/job/' + job if job else ''}'")
    tab.wait("document.querySelector('#title')?.textContent.length > 0")
    tab.wait(f"{ROWS} > 0 || document.querySelector('dl dd') !== null")


def text(selector: str) -> str:
    """Return the expression of an element's text."""
    return f"(document.querySelector({json.dumps(selector)})?.textContent ?? '')"


def row(name: str) -> str:
    """Return the expression of a row's text."""
    return f"({TEXTS}.find(t => t.includes('{name}')) ?? '')"


def test_a_run_is_shown_as_it_goes(tab: Tab, served: Served, script: MakeRun) -> None:
    """States, epochs and curves follow the run without loading the page anew, and an end is said once."""
    run = script("one", "two")
    run.begin("one")
    run.epoch("one", 1, 2)
    show(tab, served)
    tab.wait(f"{row('one')}.includes('running') && {row('one')}.includes('2/9')")
    assert "pending" in tab.js(row("two"))
    tab.wait("document.querySelectorAll('svg.chart path.line').length > 0")
    run.epoch("one", 3)
    tab.wait(f"{row('one')}.includes('3/9')")
    assert tab.js("document.querySelector('progress').value") == 3
    run.finish("one")
    tab.wait(f"{row('one')}.includes('completed')")
    tab.wait(f"{text('#heard')} === 'one: completed'")


def test_curves_overlay_the_jobs(tab: Tab, served: Served, script: MakeRun) -> None:
    """Each job has a line with its number; its figures stand in a table; unticking takes it away."""
    run = script("one", "two")
    for name in ("one", "two"):
        run.begin(name)
        run.epoch(name, 1, 2, 3, train_loss=0.5, val_accuracy=0.75)
    show(tab, served)
    solid = "document.querySelector('svg.chart')?.querySelectorAll('path.line:not(.dashed)').length"
    tab.wait(f"{solid} === 2")
    names = "[...document.querySelector('svg.chart').querySelectorAll('text.name')].map(t => t.textContent)"
    assert sorted(tab.js(names)) == ["1", "2"]
    assert "0.3333" in tab.js("document.querySelector('svg.chart').getAttribute('aria-label')")
    assert tab.js("[...document.querySelectorAll('details tbody tr')].map(r => r.textContent)") == [
        "one0.33330.33330.750.75",
        "two0.33330.33330.750.75",
    ]
    tab.js("document.querySelector('table.jobs input').click()")
    tab.wait(f"{solid} === 1")


def test_the_server_may_go_and_come_back(tab: Tab, tmp_path: Path, script: MakeRun) -> None:
    """The page says that it is gone, tries again by itself, and shows what happened meanwhile."""
    run = script("one")
    run.begin("one")
    run.epoch("one", 1)
    first = serving(settings_in(tmp_path))
    served = next(first)
    show(tab, served)
    tab.wait(f"{row('one')}.includes('1/9')")
    next(first, None)
    tab.wait(f"{text('#link')} === 'server is gone; trying again'")
    run.epoch("one", 2, 3)
    second = serving(replace(settings_in(tmp_path), port=served.port))
    next(second)
    tab.wait(f"{text('#link')} === 'live' && {row('one')}.includes('3/9')")
    run.epoch("one", 4)
    tab.wait(f"{row('one')}.includes('4/9')")
    assert tab.js(text("#said")) == "the server is back"
    next(second, None)


def test_nothing_that_a_job_says_is_markup(tab: Tab, served: Served, script: MakeRun) -> None:
    """Names of jobs and metrics, log lines, alerts and configurations are text, and read in their own order."""
    run = script(
        HOSTILE,
        OVERRIDE,
        "plain",
        configs={name: f"command: ['{name[:4]}']\n" for name in (HOSTILE, OVERRIDE, "plain")},
    )
    for name in (HOSTILE, OVERRIDE, "plain"):
        run.begin(name)
        run.epoch(name, 1, 2, **{HOSTILE: 0.5, OVERRIDE: 0.5, "text": HOSTILE})
        alert = {"status": "firing", "expr": HOSTILE, "episode": 1}
        run.layout.job(name).alerts.write_text(json.dumps({"state": {"rules": {HOSTILE: alert}}}), encoding="utf-8")
    write_log(run, "plain", HOSTILE, "</bdi></div><script>document.title='owned'</script>", f"\x1b[31mred {OVERRIDE}")
    show(tab, served)
    tab.wait("document.querySelectorAll('#other-metric option').length === 2")
    tab.enter("#other-metric", HOSTILE)
    tab.wait("document.querySelectorAll('section[aria-labelledby=alerts-title] tbody tr').length === 3")
    assert tab.js("[...document.querySelectorAll('tbody th.job')].map(r => r.textContent)") == [
        HOSTILE,
        "\ufffdgnp.exe",
        "plain",
    ]
    tab.js("document.querySelector('.actions button').click()")
    assert tab.js(text("#confirm-title")) == f"Stop {HOSTILE}"
    tab.press("Escape")
    show(tab, served, job="plain")
    tab.wait("document.querySelectorAll('.entry').length === 3")
    assert tab.js(text(".entry:first-child")) == HOSTILE
    assert tab.js(text(".entry:last-child")) == "red \ufffdgnp.exe"
    assert tab.js("document.querySelectorAll('img, script:not([src]), iframe').length") == 0
    assert tab.js("document.title").startswith("plain")


def test_a_log_is_followed_in_a_ring(tab: Tab, served: Served, script: MakeRun) -> None:
    """The last thousand lines are there and go on; whoever scrolls back is not moved."""
    run = script("one")
    run.begin("one")
    write_log(run, "one", *(f"line {number}" for number in range(1500)))
    show(tab, served, job="one")
    tab.wait(f"{text('.entry:last-child')} === 'line 1499'")
    assert tab.js("document.querySelectorAll('.entry').length") == 1000
    write_log(run, "one", "line 1500")
    tab.wait(f"{text('.entry:last-child')} === 'line 1500'")
    assert tab.js("document.querySelectorAll('.entry').length") == 1000
    at_end = "(log => log.scrollHeight - log.scrollTop - log.clientHeight < 8)(document.querySelector('.log'))"
    assert tab.js(at_end)
    tab.js("document.querySelector('.log').scrollTop = 0")
    tab.wait("!document.querySelector('#follow').checked")
    write_log(run, "one", "line 1501")
    tab.wait(f"{text('.entry:last-child')} === 'line 1501'")
    assert tab.js("document.querySelector('.log').scrollTop") < 100


def test_a_job_is_stopped_by_keyboard_alone(tab: Tab, served: Served, script: MakeRun) -> None:
    """Tab reaches the button, Enter asks, Escape takes it back, the dialog's second button stops; the focus is kept."""
    run = script("one")
    run.begin("one")
    tab.open(f"http://127.0.0.1:{served.port}/#token={TOKEN}")
    tab.wait(f"{row('one')}.includes('running')")
    focused = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
    tab.press("Tab")
    assert tab.js(focused) == "To the content"
    press_until(tab, f"({focused}) === 'Stop one'")
    assert tab.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("Enter")
    tab.wait("document.querySelector('#confirm').open")
    assert tab.js("document.activeElement.id") == "confirm-no"
    tab.press("Escape")
    tab.wait("!document.querySelector('#confirm').open")
    assert tab.js(focused) == "Stop one"
    assert list(run.layout.orders.glob("*.json")) == []
    tab.press("Enter")
    tab.wait("document.querySelector('#confirm').open")
    tab.press("Tab", "Enter")
    tab.wait(f"{text('#said')} === 'Stop one: asked; it will be carried out'")
    (order,) = run.layout.orders.glob("*.json")
    assert json.loads(order.read_text(encoding="utf-8"))["job"] == "one"
    assert tab.js(focused) == "Stop one"
    run.finish("one")
    tab.wait(f"{row('one')}.includes('completed')")
    assert tab.js("document.activeElement.id") == "title"


def test_it_fits_a_phone(tab: Tab, served: Served, script: MakeRun) -> None:
    """At 360 pixels nothing makes the page scroll sideways, however long the names are."""
    name = "a" * 90
    run = script(name, "two")
    run.begin(name)
    run.epoch(name, 1, 2)
    write_log(run, name, "x" * 3000)
    tab.resize(360, 740)
    for job in ("", name):
        show(tab, served, job=job)
        tab.wait("document.querySelectorAll('svg.chart').length > 0")
        assert tab.js("document.documentElement.scrollWidth <= innerWidth")
        assert tab.js(
            "[...document.querySelectorAll('button')].every(b => b.getBoundingClientRect().right <= innerWidth)"
        )


def test_chinese_is_remembered(tab: Tab, served: Served, script: MakeRun) -> None:
    """The switch changes every text at once, and holds when the page is loaded again."""
    script("one").begin("one")
    show(tab, served)
    tab.enter("#language", "zh")
    tab.wait(f"{text('#jobs-title')} === '任务' && {row('one')}.includes('运行中')")
    show(tab, served)
    assert tab.js("document.documentElement.lang") == "zh-CN"
    assert tab.js(text("#jobs-title")) == "任务"


def test_dark_is_dark(tab: Tab, served: Served, script: MakeRun) -> None:
    """The colours follow what the reader's system prefers."""
    script("one")
    show(tab, served)
    paper = "getComputedStyle(document.body).backgroundColor"
    assert tab.js(paper) == "rgb(255, 255, 255)"
    tab.prefer("dark")
    assert tab.js(paper) == "rgb(20, 23, 26)"


def test_a_thousand_jobs_are_paged(tab: Tab, served: Served, script: MakeRun) -> None:
    """Fifty rows are there at a time; the rest is turned to, found by name, or filtered by state."""
    names = [f"job{number:04}" for number in range(1000)]
    script(*names).begin("job0999")
    show(tab, served)
    assert tab.js(ROWS) == 50
    tab.js("document.querySelector('.pager button:last-child').click()")
    assert tab.js(text(".pager span")) == "51\N{EN DASH}100 of 1000"
    tab.enter("#find", "JOB0777")
    tab.wait(f"{ROWS} === 1 && {row('job0777')} !== ''")
    tab.enter("#find", "")
    tab.enter("#state-filter", "running")
    tab.wait(f"{ROWS} === 1 && {row('job0999')} !== ''")


def test_the_token_is_asked_for(tab: Tab, served: Served, script: MakeRun) -> None:
    """Without it nothing is shown; a wrong one is said to be wrong; the right one, typed, opens."""
    script("one")
    tab.open(f"http://127.0.0.1:{served.port}/#token=of-somebody-else-12")
    tab.wait(f"{text('#door-why')} === 'The server does not know this token.'")
    assert tab.js("getComputedStyle(document.querySelector('#rooms')).display") == "none"
    assert tab.js("document.activeElement.id") == "token"
    tab.press(*TOKEN, "Enter")
    tab.wait(f"{ROWS} === 1")
    assert tab.js("location.hash + localStorage.length") == "0"


def test_a_screen_reader_finds_its_way(tab: Tab, served: Served, script: MakeRun) -> None:
    """There are landmarks, one heading above all, names for everything that can be used, and headers of tables."""
    run = script("one", "two")
    run.begin("one")
    run.epoch("one", 1, 2)
    for job in ("", "one"):
        show(tab, served, job=job)
        tab.wait("document.querySelectorAll('svg.chart').length > 0")
        nodes = [node for node in tab.do("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        roles = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
        used = {
            "button",
            "link",
            "checkbox",
            "combobox",
            "searchbox",
            "progressbar",
            "img",
            "table",
            "region",
            "navigation",
        }
        assert [role for role, name in roles if role in used and not name.strip()] == []
        assert {"banner", "navigation", "main", "status"} <= {role for role, _ in roles}
        assert tab.js("document.querySelectorAll('h1').length - document.querySelectorAll('[hidden] h1').length") == 1
    assert tab.js("document.querySelectorAll('#heard, #said, #link').length") == 3


def press_until(tab: Tab, expression: str) -> None:
    """Press Tab until something holds."""
    for _ in range(60):
        tab.press("Tab")
        if tab.js(expression):
            return
    pytest.fail(f"the keyboard does not reach it: {expression}")


def write_log(run: Script, job: str, *lines: str, **more: Any) -> None:
    """Have a job print lines."""
    told = {"timestamp": "2026-01-01T12:00:00.000+00:00", "process_id": 0, "pid": 1, "type": "stdout", **more}
    with run.layout.job(job).log.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps({**told, "message": line}) + "\n" for line in lines)
