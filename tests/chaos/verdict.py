"""What must hold of a run that was disturbed and has come to its end: no job lost, doubled or wrong, nothing left."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from parallel_ml.core.model import Attempt, Job, JobState, RunState
from parallel_ml.core.outcome import OutcomeKind
from parallel_ml.core.recovery import LOSS_BUDGET
from parallel_ml.core.state import fold
from parallel_ml.errors import ParallelMLError
from parallel_ml.runtime.sweep import carriers
from parallel_ml.store.files import read_json
from parallel_ml.store.journal import read_records
from parallel_ml.store.orders import OrderKind, pending_orders
from parallel_ml.store.run_view import RunView
from tests.chaos.world import Plan, World

_GOOD = {OutcomeKind.SUCCESS, OutcomeKind.EARLY_STOPPED}
_ASKED = {OutcomeKind.RELEASED, OutcomeKind.STOPPED}
_WITHOUT_RECORD = {OutcomeKind.LOST, OutcomeKind.NEVER_STARTED}


def faults(world: World) -> list[str]:
    """Return everything that is wrong with a run at its end; [] where all is well."""
    state = RunState()
    try:
        records, _ = read_records(world.layout.events)
        for record in records:
            fold(state, record)
        RunView(world.layout).status()
    except (ParallelMLError, KeyError) as error:
        return [f"the log cannot be read: {error!r}"]
    found = [*_of_log(world, [record.seq for record in records], state), *_left_behind(world)]
    for plan in world.plans:
        job = state.jobs[plan.name]
        assert isinstance(plan, Plan), "the others keep no ledger"
        parts = (
            _of_work(world, plan, job),
            _of_attempts(world, job),
            _of_state(world, plan, state),
            _of_files(world, job),
        )
        found += [f"{plan.name}: {fault}" for part in parts for fault in part]
    return found


def _of_log(world: World, seqs: list[int], state: RunState) -> Iterator[str]:
    if seqs != list(range(1, len(seqs) + 1)):
        yield "the events' numbers have a hole or a double"
    if RunView(world.layout).state != state:
        yield "state.json and the log disagree"
    if pending_orders(world.layout):
        yield "orders were left lying"
    for order in world.orders:
        if order.id not in state.orders_done:
            yield f"an order to {order.kind.value} was forgotten"
    for text in (world.layout.log, world.folder / "supervisors.txt"):
        if text.exists() and "Traceback" in (told := text.read_text(errors="replace")):
            yield f"{text.name} has a traceback:\n{told[told.index('Traceback') :][:2000]}"


def _left_behind(world: World) -> Iterator[str]:
    tokens = [
        plan["token"] for path in world.layout.dir.glob("jobs/*/attempt-*/start.json") if (plan := read_json(path))
    ]
    if living := {*(victim.pid for victim in world.processes()), *(pid for token in tokens for pid in carriers(token))}:
        yield f"processes live on: {living}"
    for path in world.layout.dir.rglob("*.tmp"):
        of_the_end = (".state.json.", ".alerts.json.") if world.died_at_the_end else ()
        if path.name.startswith((".report.", *of_the_end)):
            continue  # nobody comes after it who could tidy up
        yield f"a temporary file was left: {path.relative_to(world.layout.dir)}"
    for plan in world.plans:
        with (world.folder / f"{plan.name}.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield f"somebody holds the lock of {plan.name}"
    for path in (world.folder / "home").rglob("leases*.json"):
        if world.layout.dir.name in path.read_text():
            yield "a lease was left"


def _of_work(world: World, plan: Plan, job: Job) -> Iterator[str]:
    """Each unit was done once, one attempt after the other, each attempt started by the log."""
    ledger = world.ledger(plan.name)
    did = [what for _, _, what in ledger]
    if "doubled" in did:
        yield "two processes of it ran at once"
    if did.count("unit") > plan.units or (job.state is JobState.SUCCEEDED and did.count("unit") != plan.units):
        yield f"{did.count('unit')} of {plan.units} units were done"
    numbers = [attempt for attempt, _, what in ledger if what == "start"]
    if any(after <= before for before, after in pairwise(numbers)):
        yield f"an attempt ran twice: {numbers}"
    if not set(numbers) <= {attempt.number for attempt in job.attempts}:
        yield f"attempts ran that the log has not: {numbers}"
    if any(after[0] < before[0] for before, after in pairwise(ledger)):
        yield "attempts worked at once"


def _of_attempts(world: World, job: Job) -> Iterator[str]:
    """Each attempt ended of what was done to it."""
    for attempt in job.attempts:
        if attempt.outcome is None:
            yield f"attempt {attempt.number} has no end"
        elif not _is_true(world, job.name, attempt):
            yield f"attempt {attempt.number} is said to have ended with {attempt.outcome}: {attempt.error}"


def _is_true(world: World, job: str, attempt: Attempt) -> bool:
    assert attempt.outcome is not None
    kind = attempt.outcome.kind
    did = {what for number, _, what in world.ledger(job) if number == attempt.number}
    killed = {victim.role for victim in world.kills if (victim.job, victim.attempt) == (job, attempt.number)}
    asked = {order.kind for order in world.orders if order.job in (None, job)}
    if kind in _GOOD:
        return "done" in did
    return {
        OutcomeKind.ERROR: attempt.outcome.number == 3 and "fail" in did,
        OutcomeKind.SIGNAL: attempt.outcome.number == 9 and "job" in killed,
        OutcomeKind.LOST: "shim" in killed,
        OutcomeKind.STOPPED: OrderKind.STOP in asked,
        OutcomeKind.RELEASED: OrderKind.PAUSE in asked,
        OutcomeKind.NEVER_STARTED: not did,
    }.get(kind, False)


def _of_state(world: World, plan: Plan, state: RunState) -> Iterator[str]:
    """The job is in the state that its attempts, the orders and what it needs lead to."""
    job = state.jobs[plan.name]
    last = job.attempt.outcome.kind if job.attempt is not None and job.attempt.outcome is not None else None
    needed = {state.jobs[name].state for name in plan.depends_on}
    asked = {order.kind for order in world.orders if order.job in (None, plan.name)}
    if job.state is JobState.SUCCEEDED:
        right = last in _GOOD and needed <= {JobState.SUCCEEDED}
    elif job.state is JobState.FAILED:
        right = job.failures >= plan.max_attempts or job.losses >= LOSS_BUDGET or JobState.FAILED in needed
    else:
        right = job.state is JobState.STOPPED and (OrderKind.STOP in asked or JobState.STOPPED in needed)
    if not right:
        yield f"it is {job.state.value} after {job.failures} failures, {job.losses} losses, {last}, orders {asked}"
    if last in _GOOD and job.state is not JobState.SUCCEEDED:
        yield f"it succeeded and is {job.state.value}"
    started = [at for _, at, what in world.ledger(plan.name) if what == "start"]
    for name in plan.depends_on:
        ended = [at for _, at, what in world.ledger(name) if what == "done"]
        if started and (not ended or started[0] < ended[-1]):
            yield f"it started before {name} had ended"


def _of_files(world: World, job: Job) -> Iterator[str]:
    files = world.layout.job(job.name)
    shot = {(victim.job, victim.attempt) for victim in world.kills if victim.role == "shim"}
    for attempt in job.attempts:
        kind = attempt.outcome.kind if attempt.outcome else None
        began = any(number == attempt.number for number, _, _ in world.ledger(job.name))
        if kind in _WITHOUT_RECORD or (kind in _ASKED and not began):
            continue
        if (job.name, attempt.number) not in shot and not files.attempt(attempt.number).exit.exists():
            yield f"attempt {attempt.number} has no record of its end"
    units = [int(unit) for unit in re.findall(r'"message": "unit (\d+)"', _text(files.log))]
    if any(after <= before for before, after in pairwise(units)):
        yield f"its log doubles lines: {units}"
    for path in (files.log, files.metrics):
        for line in _text(path).splitlines():
            try:
                json.loads(line)
            except ValueError:
                yield f"{path.name} has a torn line: {line[:80]!r}"
    epochs = [json.loads(line)["epoch"] for line in _text(files.metrics).splitlines()]
    if any(after <= before for before, after in pairwise(epochs)):
        yield f"its metrics double epochs: {epochs}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
