"""Check on real NVIDIA cards what tests without one cannot: `scripts/gpu_check` sets up and calls this.

It uses the command line as a user does. A line a check; all of it, with what `gpus` and `doctor` say, in the report.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
MIB = 1 << 20
PATIENCE_S = 60.0
SLACK_BYTES = 256 * MIB
"""What a driver may keep, or move, beside what programs hold."""

PROBE = '''\
"""A small model that tells what its process sees of the cards before it trains."""
import json, os
import keras
import tensorflow as tf

def build(shape, classes):
    gpus = tf.config.list_physical_devices("GPU")
    pools = [part.memory_limit for gpu in gpus for part in tf.config.get_logical_device_configuration(gpu) or []]
    beyond = None
    if pools and pools[0]:
        try:
            tf.fill([pools[0] + 256, 1 << 18], 1.0)  # rows of 1 MiB
            beyond = "granted"
        except tf.errors.ResourceExhaustedError:
            beyond = "refused"
    seen = {"gpus": len(gpus), "visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "pools": pools, "beyond": beyond}
    print("GPU_CHECK " + json.dumps(seen), flush=True)
    layers = keras.layers
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(classes, activation="softmax")])
'''
FOREIGN = """\
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
for call in (
    lambda: cuda.cuInit(0),
    lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
    lambda: cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device),
    lambda: cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(int(sys.argv[1]))),
):
    if code := call():
        sys.exit(f"CUDA error {code}")
print("held", flush=True)
sys.stdin.read()
"""


class Report:
    """The lines of the report; those of checks are printed as they come."""

    def __init__(self) -> None:
        """Start with no line."""
        self.lines: list[str] = []
        self.failed = 0

    def note(self, text: str) -> None:
        """Add what was seen."""
        self.lines.append(text)

    def check(self, name: str, *, good: bool | None, seen: str) -> None:
        """Add a check; `good` None is one that could not be made here."""
        word = {True: "ok", False: "FAILED", None: "not measurable here"}[good]
        self.failed += good is False
        self.lines.append(f"{name}: {word}: {seen}")
        print(self.lines[-1], flush=True)


class Tool:
    """The command line, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Work in `folder`."""
        self.folder = folder
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "PARALLEL_ML_RUNS": str(folder / "runs")}

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """Start it."""
        argv = [sys.executable, "-m", "parallel_ml", *words]
        return subprocess.Popen(argv, cwd=self.folder, env={**self.env, **env}, stdout=subprocess.PIPE, text=True)

    def say(self, *words: str, **env: str) -> str:
        """Return what it prints."""
        return self.start(*words, **env).communicate(timeout=PATIENCE_S)[0]

    def cards(self, **env: str) -> list[dict[str, Any]]:
        """Return the cards as they are now, as the tool sees them in such an environment."""
        return list(json.loads(self.say("gpus", "--json", **env))["gpus"])

    def job(self) -> dict[str, Any]:
        """Return the first job of the newest run."""
        return dict(json.loads(self.say("status", "--json"))["jobs"][0])

    def config(self, name: str, **content: Any) -> str:
        """Write a configuration (JSON is YAML) and return its name."""
        (self.folder / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")
        return f"{name}.yaml"


def check_sharing(tool: Tool, report: Report, cards: list[dict[str, Any]]) -> None:
    """Train one job more than there are cards, so that two share one, and look at them from both sides."""
    (tool.folder / "probe.py").write_text(PROBE, encoding="utf-8")
    configs = [
        tool.config(
            f"share{number}",
            data_preprocessing={"image_dir": str(ROOT / "sample_data" / "images"), "batch_size": 32},
            model_training={"epochs": 5, "model": "probe:build", "checkpoint": {"filepath": "best.keras"}},
            result_analysis={"model_path": "best.keras"},
            resources={"gpus": 1, "jobs_per_gpu": 2, "allow_cpu": False},
        )
        for number in range(len(cards) + 1)
    ]
    run = tool.start("run", *configs, "--json")
    peaks: dict[str, int] = {}
    while run.poll() is None:
        for job in (job for card in tool.cards() for job in card["jobs"] if job["used_bytes"] is not None):
            peaks[job["job"]] = max(peaks.get(job["job"], 0), job["used_bytes"])
    told = run.stdout.read() if run.stdout else ""
    jobs = json.loads(told)["jobs"] if told else []
    states = ", ".join(f"{job['name']} {job['state']} {job['error'] or ''}".strip() for job in jobs) or "no run"
    report.check("trainings", good=run.returncode == 0, seen=states)
    grants = {job["name"]: job["allocation"] for job in jobs if (job["allocation"] or {}).get("gpu_uuid")}
    check_grants(report, grants, cards)
    for job in jobs:
        check_inside(report, job, grants.get(job["name"]))
    check_energy(report, jobs)
    for name, grant in grants.items():
        peak = peaks.get(name)
        good = None if not peak else peak <= grant["memory_limit"] * MIB
        seen = f"{(peak or 0) // MIB} MiB of {grant['memory_limit']} MiB granted"
        report.check(f"{name} stays within its grant", good=good, seen=seen)


def check_grants(report: Report, grants: dict[str, Any], cards: list[dict[str, Any]]) -> None:
    """Two jobs are on one card, and no card has granted more than was free."""
    by_card: dict[str, list[int]] = {}
    for grant in grants.values():
        by_card.setdefault(grant["gpu_uuid"], []).append(grant["memory_limit"] * MIB)
    free = {card["uuid"]: card["free_bytes"] for card in cards}
    seen = "; ".join(f"{uuid}: {[size // MIB for size in sizes]} MiB" for uuid, sizes in by_card.items())
    shared = any(len(sizes) > 1 for sizes in by_card.values())
    within = all(sum(sizes) <= free.get(uuid, 0) + SLACK_BYTES for uuid, sizes in by_card.items())
    report.check(
        "two jobs share a card, within what was free", good=shared and within, seen=seen or "no job had a card"
    )


def check_inside(report: Report, job: dict[str, Any], grant: dict[str, Any] | None) -> None:
    """TensorFlow in the job sees its card alone, and is refused more than its pool."""
    log = Path(job["paths"]["log"])
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    messages = [str(json.loads(line)["message"]) for line in lines]
    told = next((text.partition(" ")[2] for text in messages if text.startswith("GPU_CHECK ")), None)
    if told is None or grant is None:
        report.check(f"{job['name']} from inside", good=False, seen="it had no card, or did not come to its model")
        return
    seen = json.loads(told)
    own = seen["gpus"] == 1 and seen["visible"] == grant["gpu_uuid"]
    report.check(f"{job['name']} sees its card alone", good=own, seen=f"{seen['gpus']} GPU, {seen['visible']}")
    limited = bool(seen["pools"]) and 0 < (seen["pools"][0] or 0) <= grant["memory_limit"]
    text = f"a pool of {seen['pools']} MiB in a grant of {grant['memory_limit']} MiB, more is {seen['beyond']}"
    report.check(f"{job['name']} is limited", good=limited and seen["beyond"] == "refused", seen=text)


def check_foreign(tool: Tool, report: Report) -> None:
    """What another program holds is seen, not granted, and granted once it is free."""
    before = tool.cards()
    with ExitStack() as stack:
        try:
            pids = {stack.enter_context(holding(card["uuid"], card["free_bytes"] // 2)) for card in before}
        except RuntimeError as error:
            report.check("another program's memory", good=False, seen=f"could not be taken: {error}")
            return
        held = tool.cards()
        for old, new in zip(before, held, strict=True):
            less = old["free_bytes"] - new["free_bytes"]
            seen = f"{less // MIB} MiB less are free, {old['free_bytes'] // 2 // MIB} MiB were taken"
            report.check(f"GPU {old['index']} counts others", good=less >= old["free_bytes"] // 2, seen=seen)
        listed = {program["pid"] for card in held for program in card["programs"] or ()}
        good = True if pids <= listed else None  # a container may number processes in another way
        report.check("other programs are listed", good=good, seen=f"{len(pids & listed)} of {len(pids)}")
        wanted = max(card["free_bytes"] for card in held) // MIB + 256
        needs = {"gpus": 1, "gpu_memory": f"{wanted}MiB", "allow_cpu": False}
        tool.say("run", tool.config("waits", command=["true"], resources=needs), "--detach")
        job = until(tool, lambda job: bool(job["waiting"]) or job["state"] != "pending")
        report.check("a job waits for that memory", good=job["state"] == "pending", seen=str(job["waiting"]))
    job = until(tool, lambda job: job["state"] in {"completed", "failed"})
    report.check("it starts when the memory is free", good=job["state"] == "completed", seen=job["state"])


@contextmanager
def holding(uuid: str, size_bytes: int) -> Iterator[int]:
    """Hold memory of a card by a process that no run knows; give its number."""
    env = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": uuid}
    pipe = subprocess.PIPE
    argv = [sys.executable, "-c", FOREIGN, str(size_bytes)]
    with subprocess.Popen(argv, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        if process.stdout is None or process.stdout.readline() != "held\n":
            complaint = process.communicate()[1].strip().splitlines()
            raise RuntimeError(complaint[-1] if complaint else "it ended")
        try:
            yield process.pid
        finally:
            process.communicate()  # closes its input, on which it ends


def until(tool: Tool, holds: Any) -> dict[str, Any]:
    """Return the job once something holds of it, or as it is when patience is over."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds(job := tool.job()) and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return job


def check_health(report: Report, cards: list[dict[str, Any]]) -> None:
    """Which of the figures a card tells; one that it does not tell is null, never 0."""
    names = ("temperature_c", "power_w", "energy_j", "ecc_uncorrected", "repair_pending", "slowed_by", "last_xid")
    for card in cards:
        seen = ", ".join(f"{name} {json.dumps(card[name])}" for name in names)
        plausible = card["temperature_c"] is None or 0 < card["temperature_c"] < 120
        report.check(f"GPU {card['index']} is {card['health']}", good=plausible, seen=seen)


def check_energy(report: Report, jobs: list[dict[str, Any]]) -> None:
    """Each training has taken some energy of its card, as far as the card tells of it."""
    for job in jobs:
        energy_wh = job["resources"].get("energy_wh")
        how = "estimated" if job["resources"].get("energy_estimated") else "measured"
        good = None if energy_wh is None else energy_wh > 0
        report.check(f"{job['name']} has taken energy", good=good, seen=f"{energy_wh} Wh, {how}")


def check_visible(tool: Tool, report: Report, cards: list[dict[str, Any]]) -> None:
    """CUDA_VISIBLE_DEVICES where the tool is called leaves the card that it names, and none with -1."""
    last = cards[-1]
    for value, expected in ((last["uuid"], [last["index"]]), ("-1", [])):
        seen = [card["index"] for card in tool.cards(CUDA_VISIBLE_DEVICES=value)]
        report.check(f"CUDA_VISIBLE_DEVICES={value}", good=seen == expected, seen=f"GPUs {seen}")


def check_nothing_left(tool: Tool, report: Report, before: list[dict[str, Any]]) -> None:
    """No lease of ours, and the cards as full as they were."""
    after = tool.cards()
    ours = {path.name for path in (tool.folder / "runs").glob("*")}
    leases = [job["job"] for card in after for job in card["jobs"] if job["run"] in ours]
    report.check("no lease is left", good=not leases, seen=", ".join(leases) or "none")
    for old, new in zip(before, after, strict=True):
        known = old["used_bytes"] is not None and new["used_bytes"] is not None
        more = new["used_bytes"] - old["used_bytes"] if known else 0
        seen = f"{more // MIB} MiB more in use than before (other users' programs count, too)"
        report.check(f"GPU {old['index']} is left as it was", good=more <= SLACK_BYTES if known else None, seen=seen)


def main() -> int:
    """Make all checks and return the exit code."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "gpu_check_report.txt").resolve()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="gpu_check-") as folder:
        tool = Tool(Path(folder))
        cards = tool.cards()
        if not cards:
            print(f"gpu_check: nothing was checked: {tool.say('gpus').strip()}", file=sys.stderr)
            return 2
        for text in (time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), tool.say("doctor"), tool.say("gpus")):
            report.note(text.rstrip())
            print(report.lines[-1], end="\n\n", flush=True)
        check_health(report, cards)
        check_visible(tool, report, cards)
        check_sharing(tool, report, cards)
        check_foreign(tool, report)
        check_nothing_left(tool, report, cards)
    report.note(f"{report.failed} checks failed" if report.failed else "all is well")
    path.write_text("\n".join(report.lines) + "\n", encoding="utf-8")
    print(f"{report.lines[-1]}; the report is in {path}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
