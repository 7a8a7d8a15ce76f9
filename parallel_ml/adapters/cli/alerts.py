"""`alerts check`: reads alert rules, lists them, and says when they would have fired in a run that is there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from parallel_ml.adapters.cli import failures, screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples, nearest
from parallel_ml.adapters.cli.table import Column, draw
from parallel_ml.adapters.cli.text import safe
from parallel_ml.core.units import format_duration
from parallel_ml.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from parallel_ml.core.alert_rules import AlertRule
    from parallel_ml.core.alerts import AlertNotification

ACTIONS = ("check",)
_DID = {"stop": ", and stopped it", "pause": ", and paused it", "reduce_lr": ", and reduced the learning rate"}
_NOT_REPLAYED = "not replayed, since they look at what is measured of the machine"


@dataclass(frozen=True)
class JobAlerts:
    """What the rules would have told of one job; `began` is when it was started first, or None."""

    name: str
    epochs: int
    told: tuple[AlertNotification, ...]
    began: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"name": self.name, "epochs": self.epochs, "alerts": [self._dict_of(one) for one in self.told]}

    def after_s(self, one: AlertNotification) -> float | None:
        """Return how long after the job's start something was told, None where that is not known."""
        return None if self.began is None else round(one.at - self.began, 3)

    def _dict_of(self, one: AlertNotification) -> dict[str, Any]:
        told = {key: value for key, value in asdict(one).items() if key not in ("id", "at")}
        return {**told, "after_s": self.after_s(one)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument("alert_action", metavar="check", help="what to do; there is only check")
    parser.add_argument("alert_file", metavar="FILE", help="a file of alert rules, or a configuration with alerts:")
    add_run(parser)
    parser.add_argument("--job", metavar="NAME", help="replay over this job alone")
    add_json(parser, "the rules and what they would have told")
    examples(parser, "alerts check alerts.yaml", "alerts check config/config1.yaml night")


def run(args: argparse.Namespace) -> int:
    """Read the rules, and replay them where a run is named.

    Raises:
        UsageError: There is no such action, run or job.
    """
    from parallel_ml.config.alerts import load_alerts  # noqa: PLC0415 - completing this verb needs none of it

    if args.alert_action not in ACTIONS:
        guess = nearest(args.alert_action, ACTIONS)
        raise UsageError(
            f"alerts has no action {args.alert_action!r}", f"did you mean {guess}?" if guess else "write check"
        )
    try:
        rules = load_alerts(args.alert_file).effective()
    except ConfigError as error:
        if args.json:
            screen.print_json({"ok": False, "rules": [], "problems": [asdict(one) for one in error.problems]})
            return 2
        return failures.report(error)
    run_id, jobs = _replayed(args, rules) if args.run or args.job else (None, [])
    left_out = [rule.name for rule in rules if not _can_be_replayed(rule)]
    if args.json:
        told = {"ok": True, "file": args.alert_file, "rules": [rule.to_dict() for rule in rules], "problems": []}
        screen.print_json({**told, "run": run_id, "jobs": [job.to_dict() for job in jobs], "not_replayed": left_out})
        return 0
    print("\n".join(rule_lines(rules, screen.width(sys.stdout))))
    if run_id is not None:
        print("\n".join(["", *replay_lines(rules, jobs)]))
        if left_out:
            print(safe(f"note: {_NOT_REPLAYED}: {', '.join(left_out)}"))
    return 0


def rule_lines(rules: Sequence[AlertRule], width: int | None = None) -> list[str]:
    """Return a table of rules."""
    if not rules:
        return ["no rules"]
    columns = [
        Column("rule", [safe(rule.name) + (" (built in)" if rule.builtin else "") for rule in rules], floor=10),
        Column("expression", [safe(rule.expr) for rule in rules], floor=12),
        Column("for", [str(rule.hold) or "-" for rule in rules]),
        Column("severity", [rule.severity for rule in rules], rank=2),
        Column("action", [rule.action.value for rule in rules], rank=1),
    ]
    return draw(columns, width)


def replay_lines(rules: Sequence[AlertRule], jobs: Sequence[JobAlerts]) -> list[str]:
    """Return a line for each time that a rule would have fired or can never fire, and one where none would have."""
    actions = {rule.name: rule.action.value for rule in rules}
    lines = []
    for job in jobs:
        told = [line for one in job.told if (line := _line(one, job, actions[one.rule]))]
        lines += told or [safe(f"no rule would have fired ({job.name}, {job.epochs} epochs)")]
    return lines


def _line(one: AlertNotification, job: JobAlerts, action: str) -> str | None:
    if one.news == "unknown_metric":
        return safe(f"{one.rule}: {one.summary} ({job.name})")
    after_s = job.after_s(one)
    when = f"at epoch {one.epoch}" if one.epoch else "before the first epoch"
    when += "" if after_s is None else f", {format_duration(after_s)} after the start"
    if one.news == "resolved":
        return safe(f"{one.rule} would have resolved {when} ({job.name})")
    if one.news == "firing":
        return safe(f"{one.rule} would have fired {when}{_DID.get(action, '')} ({job.name})")
    return None


def _replayed(args: argparse.Namespace, rules: Sequence[AlertRule]) -> tuple[str, list[JobAlerts]]:
    from parallel_ml.core.alert_replay import replay  # noqa: PLC0415
    from parallel_ml.runtime.client import RunClient  # noqa: PLC0415
    from parallel_ml.store.layout import RunLayout  # noqa: PLC0415
    from parallel_ml.store.run_past import read_past  # noqa: PLC0415

    client = RunClient.find(args.run, runs_dir=args.runs_dir)
    status = client.status()
    names = [job.name for job in status.jobs]
    if args.job is not None and args.job not in names:
        guess = nearest(args.job, names)
        raise UsageError(f"no job {args.job} in run {status.run}", f"did you mean {guess}?" if guess else "")
    wanted = [rule for rule in rules if _can_be_replayed(rule)]
    found = []
    for job in status.jobs:
        if args.job in (None, job.name):
            past = read_past(RunLayout(client.dir), job.name)
            found.append(JobAlerts(job.name, len(past.points), tuple(replay(wanted, past)), past.began))
    return status.run, found


def _can_be_replayed(rule: AlertRule) -> bool:
    from parallel_ml.core.alert_replay import can_be_replayed  # noqa: PLC0415

    return can_be_replayed(rule)
