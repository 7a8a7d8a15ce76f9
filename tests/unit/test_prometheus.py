"""What Prometheus is told: names, units, what drops out; and that rules and dashboard name nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("prometheus_client", reason="an extra")

from prometheus_client.parser import text_string_to_metric_families

from parallel_ml.adapters import prometheus
from parallel_ml.adapters.cli.main import main
from parallel_ml.adapters.prometheus import render
from parallel_ml.core import events as ev
from parallel_ml.core.codec import encode
from parallel_ml.core.model import Allocation, GpuShare, JobSpec, JobState
from parallel_ml.core.outcome import Outcome, OutcomeKind
from parallel_ml.store.identity import identify
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.run_store import RunStore, create_run
from parallel_ml.store.runs import RunsFolder

CONTRIB = Path(__file__).parents[2] / "contrib"
RUN = "20260101-120000-3fa9"
BEGAN = 1_767_268_800.0
ENDED = BEGAN + 100
NAME = re.compile(r"\bparallel_ml_\w+")
SAMPLE = {
    "memory_mb": 2.0,
    "memory_peak_mb": 4.0,
    "cpu_seconds": 8.5,
    "gpu_memory_mb": 1024.0,
    "gpu_memory_peak_mb": 2048.0,
    "gpu_utilization": 50,
    "energy_wh": 2.0,
}
EPOCH = {"epoch": 3, "epochs": 4, "val_loss": 0.25, "train_loss": None, "time_per_epoch": 1.5, "memory_usage": 7}


@pytest.fixture
def folder(tmp_path: Path) -> RunsFolder:
    """Return a folder with a run of three jobs: one runs on a card, one has ended at ENDED, one waits.

    Nobody drives it; this process stands for the guard of the job that runs.
    """
    layout = RunLayout(tmp_path / RUN)
    specs = tuple(JobSpec(place, f"job{place}", "x.yaml", "training", seed=7) for place in range(3))
    create_run(layout, ev.RunCreated(RUN, "night", specs), {"run": RUN, "name": "night"}, {}, BEGAN)
    store = RunStore(layout)
    on_card = Allocation(0, (GpuShare(0, "GPU-0", 8 << 30, 0.5, 0.5),))
    me = identify()
    assert me is not None
    told: list[ev.Event] = [ev.SupervisorStarted(me)]
    for name, allocation in (("job0", on_card), ("job1", Allocation(1, ()))):
        told += [ev.JobPlaced(name, 1, allocation, 32, 1), ev.AttemptStarted(name, 1, me, me, BEGAN)]
        attempt = layout.job(name).attempt(1)
        attempt.dir.mkdir(parents=True)
        attempt.samples.write_text(json.dumps(SAMPLE) + "\n", encoding="utf-8")
        attempt.shim.write_text(json.dumps({"shim": encode(me), "process": encode(me)}), encoding="utf-8")
        point = {**EPOCH, "nonfinite": {"train_loss": "nan"}}
        layout.job(name).metrics.write_text(json.dumps(point) + "\n", encoding="utf-8")
    rules = {"slow": {"status": "firing"}, "fine": {"status": "inactive"}}
    layout.job("job0").alerts.write_text(json.dumps({"state": {"rules": rules}}), encoding="utf-8")
    failed = Outcome(OutcomeKind.ERROR, 1)
    told += [ev.AttemptEnded("job1", 1, failed, None, None, ENDED), ev.JobFinished("job1", JobState.FAILED, None)]
    store.add(told, ENDED)
    store.flush()
    store.close()
    os.utime(layout.events, (ENDED, ENDED))
    return RunsFolder(tmp_path, chosen=True)


def samples(text: str) -> dict[tuple[str, str], float]:
    """Return each value by its name and the values of its labels."""
    return {
        (one.name, ",".join(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def names(text: str) -> set[str]:
    """Return the names of all values."""
    return {name for name, _ in samples(text)}


def exported() -> set[str]:
    """Return the names of all metrics that have a definition."""
    text = render(RunsFolder(Path("nowhere"), chosen=True), environ={}, now=0.0)
    return set(re.findall(r"^# TYPE (\w+)", text, flags=re.MULTILINE))


def test_a_job_is_told_of_in_base_units(folder: RunsFolder) -> None:
    """Seconds, bytes, joules and ratios, by run and configuration."""
    told = samples(render(folder, environ={}, now=ENDED))
    where = f"job0,{RUN}"
    assert {name: value for (name, labels), value in told.items() if labels == where} == {
        "parallel_ml_job_attempts_total": 1,
        "parallel_ml_job_memory_recoveries_total": 0,
        "parallel_ml_job_epoch": 3,
        "parallel_ml_job_epochs": 4,
        "parallel_ml_job_epoch_duration_seconds": 1.5,
        "parallel_ml_job_elapsed_seconds": pytest.approx(told["parallel_ml_job_elapsed_seconds", where]),
        "parallel_ml_job_batch_size": 32,
        "parallel_ml_job_accumulation": 1,
        "parallel_ml_job_memory_bytes": 2 * 2**20,
        "parallel_ml_job_memory_peak_bytes": 4 * 2**20,
        "parallel_ml_job_cpu_seconds_total": 8.5,
        "parallel_ml_job_gpu_memory_bytes": 2**30,
        "parallel_ml_job_gpu_memory_peak_bytes": 2 * 2**30,
        "parallel_ml_job_gpu_memory_granted_bytes": 8 * 2**30,
        "parallel_ml_job_gpu_utilization_ratio": 0.5,
        "parallel_ml_job_energy_joules_total": 7200,
    }


def test_a_run_is_told_of(folder: RunsFolder) -> None:
    """Its name, how many jobs are in which state, and that nobody drives it."""
    told = samples(render(folder, environ={}, now=ENDED))
    assert told["parallel_ml_run_info", f"night,{RUN}"] == 1
    states = {labels: value for (name, labels), value in told.items() if name == "parallel_ml_run_jobs" and value}
    assert states == {f"{RUN},running": 1, f"{RUN},failed": 1, f"{RUN},pending": 1}
    assert told["parallel_ml_run_supervised", RUN] == told["parallel_ml_run_finished", RUN] == 0
    assert told["parallel_ml_run_created_timestamp_seconds", RUN] == BEGAN


def test_what_is_not_a_number_is_told_as_such(folder: RunsFolder) -> None:
    """A loss that became NaN is one for Prometheus too; what stands elsewhere in base units is not told twice."""
    told = samples(render(folder, environ={}, now=ENDED))
    found = {labels.split(",")[1]: value for (name, labels), value in told.items() if name == "parallel_ml_job_metric"}
    assert found == {"val_loss": 0.25, "train_loss": pytest.approx(float("nan"), nan_ok=True)}


def test_an_alert_that_fires_is_told(folder: RunsFolder) -> None:
    """One that does not, or whose job has ended, is not."""
    told = samples(render(folder, environ={}, now=ENDED))
    assert [labels for name, labels in told if name == "parallel_ml_job_alert_firing"] == [f"slow,job0,{RUN}"]


def test_a_job_drops_out_an_hour_after_its_end(folder: RunsFolder) -> None:
    """It is still counted; a job that waits is only counted from the beginning."""
    soon = samples(render(folder, environ={}, now=ENDED + 3599))
    late = samples(render(folder, environ={}, now=ENDED + 3601))
    assert {labels.split(",")[0] for name, labels in soon if name == "parallel_ml_job_state"} == {"job0", "job1"}
    assert {labels.split(",")[0] for name, labels in late if name == "parallel_ml_job_state"} == {"job0"}
    assert late["parallel_ml_run_jobs", f"{RUN},failed"] == 1


def test_a_run_that_nobody_drives_drops_out_after_a_day(folder: RunsFolder) -> None:
    """Until then a rule can tell of it."""
    assert "parallel_ml_run_info" in names(render(folder, environ={}, now=ENDED + 86_399))
    assert "parallel_ml_run_info" not in names(render(folder, environ={}, now=ENDED + 86_401))


def test_jobs_are_limited_and_those_that_run_go_first(folder: RunsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many were left out is told."""
    monkeypatch.setattr(prometheus, "MOST_JOBS", 1)
    told = samples(render(folder, environ={}, now=ENDED))
    assert [labels for name, labels in told if name == "parallel_ml_job_state"] == [f"job0,{RUN},running"]
    assert told["parallel_ml_left_out", "jobs"] == 1


def test_any_name_of_a_metric_can_be_told(folder: RunsFolder) -> None:
    """Quotes, line ends, half a surrogate pair, two that are cut to the same; of hundreds the first 20."""
    point = {'"\n\\\ud800': 1, "x" * 100: 2, "x" * 101: 3, **{f"m{place}": place for place in range(300)}}
    metrics = RunLayout(folder.path / RUN).job("job0").metrics
    metrics.write_text(json.dumps({"epoch": 1, **point}) + "\n", encoding="utf-8")
    text = render(folder, environ={}, now=ENDED)
    found = [line for line in text.splitlines() if line.startswith('parallel_ml_job_metric{config="job0"')]
    assert len(found) == len({line.rpartition(" ")[0] for line in found}) == 19
    assert r'metric="\"\n\\\\ud800"' in found[0]


def test_a_run_that_cannot_be_read_is_counted(folder: RunsFolder) -> None:
    """The others are told of all the same."""
    bad = folder.path / "20260101-120001-3fa9"
    bad.mkdir()
    (bad / "events.jsonl").write_text("{", encoding="utf-8")
    os.utime(bad / "events.jsonl", (ENDED, ENDED))
    told = samples(render(folder, environ={}, now=ENDED))
    assert told["parallel_ml_runs_unreadable", ""] == 1
    assert told["parallel_ml_run_info", f"night,{RUN}"] == 1


@pytest.mark.parametrize(
    "told",
    [
        {"epoch": "<b>", "epochs": [1], "val_loss": 1},
        {"epoch": 10**400, "val_loss": 1, "acc": 10**400},
        {"epoch": 1, "val_loss": 1, "acc": None, "nonfinite": {"acc": ["nan"]}},
    ],
)
def test_a_program_that_writes_odd_metrics_spoils_nothing(folder: RunsFolder, told: dict[str, Any]) -> None:
    """What is no number of its line is left out, and all else is told."""
    RunLayout(folder.path / RUN).job("job0").metrics.write_text(json.dumps(told) + "\n", encoding="utf-8")
    found = samples(render(folder, environ={}, now=ENDED))
    assert found["parallel_ml_runs_unreadable", ""] == 0
    assert found["parallel_ml_job_metric", f"job0,val_loss,{RUN}"] == 1
    assert [name for name, labels in found if "acc" in labels.split(",")] == []


@pytest.mark.parametrize("plan", [[1, 2], {"notes": 5}, "x"])
def test_a_plan_that_is_none_spoils_nothing(folder: RunsFolder, plan: object) -> None:
    """The run is told of by what its events say."""
    RunLayout(folder.path / RUN).plan.write_text(json.dumps(plan), encoding="utf-8")
    found = samples(render(folder, environ={}, now=ENDED))
    assert found["parallel_ml_run_info", f"night,{RUN}"] == 1


def test_a_run_that_makes_no_sense_is_counted(folder: RunsFolder) -> None:
    """The others are told of: here an event tells a time that is none, which only the telling shows."""
    odd = folder.path / "20260101-120001-3fa9"
    shutil.copytree(folder.path / RUN, odd)
    (odd / "state.json").unlink(missing_ok=True)
    events = (odd / "events.jsonl").read_text(encoding="utf-8").replace(RUN, odd.name)
    changed = re.sub(r'"accumulation": ?1', '"accumulation":"one"', events)
    assert changed != events
    (odd / "events.jsonl").write_text(changed, encoding="utf-8")
    os.utime(odd / "events.jsonl", (ENDED, ENDED))
    told = samples(render(folder, environ={}, now=ENDED))
    assert told["parallel_ml_runs_unreadable", ""] == 1
    assert told["parallel_ml_run_info", f"night,{RUN}"] == 1


def test_the_file_for_node_exporter_is_replaced_at_once(folder: RunsFolder, tmp_path: Path) -> None:
    """Nothing but the file is left in the folder, which the exporter may read at any moment."""
    target = tmp_path / "textfile" / "parallel_ml.prom"
    target.parent.mkdir()
    target.write_text("old", encoding="utf-8")
    assert main(["--runs-dir", str(folder.path), "metrics", "--output", str(target)]) == 0
    assert "parallel_ml_build_info" in names(target.read_text(encoding="utf-8"))
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(("name", "warned"), [("parallel_ml.prom", False), ("parallel_ml.txt", True)])
def test_a_file_that_node_exporter_would_not_read_is_warned_of(
    folder: RunsFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, *, warned: bool
) -> None:
    """It is written all the same: something else may read it."""
    target = tmp_path / name
    assert main(["--runs-dir", str(folder.path), "metrics", "--output", str(target)]) == 0
    assert "parallel_ml_build_info" in names(target.read_text(encoding="utf-8"))
    assert [line.partition(",")[0] for line in capsys.readouterr().err.splitlines()] == (
        ["warning: node_exporter reads only files named *.prom"] if warned else []
    )


def test_every_asks_for_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal the text again and again helps nobody; and no interval is shorter than a second."""
    assert main(["metrics", "--every", "15s"]) == 2
    assert main(["metrics", "--output", "x.prom", "--every", "0.1s"]) == 2
    assert [line.partition(";")[0] for line in capsys.readouterr().err.splitlines()] == [
        "parallel-ml: --every replaces a file",
        "parallel-ml: --every 0.1s is too often",
    ]


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line, with exit code 2."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["metrics"]) == 2
    told = "parallel-ml: telling Prometheus needs prometheus_client; run: pip install 'parallel-ml[metrics]'\n"
    assert capsys.readouterr() == ("", told)


def rules() -> list[Any]:
    """Return the rules for Prometheus."""
    [group] = yaml.safe_load((CONTRIB / "prometheus/rules.yml").read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def dashboard() -> Any:
    """Return the dashboard for Grafana."""
    return json.loads((CONTRIB / "grafana/dashboard.json").read_text(encoding="utf-8"))


def expressions() -> list[str]:
    """Return every expression of the rules and the dashboard, the queries of its variables too."""
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    variables = [one["definition"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    return [*(rule["expr"] for rule in rules()), *panels, *variables]


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_names_what_is_exported(expression: str) -> None:
    """No rule waits, and no panel stays empty, for a metric that does not exist."""
    used = set(NAME.findall(expression))
    assert used
    assert used <= exported()


def test_every_panel_has_a_place_of_its_own() -> None:
    """None covers another, and their ids differ."""
    taken = [
        (x, y)
        for panel in dashboard()["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus' promtool is not installed")
def test_promtool_finds_nothing_wrong(folder: RunsFolder) -> None:
    """With the metrics (names, units, help), the rules, and what the rules say of a few series."""
    text = render(folder, environ={}, now=ENDED)
    for words, given in (
        (["check", "metrics"], text),
        (["check", "rules", "rules.yml"], None),
        (["test", "rules", "rules_test.yml"], None),
    ):
        here = CONTRIB / "prometheus"
        done = subprocess.run(
            ["promtool", *words], input=given, cwd=here, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
