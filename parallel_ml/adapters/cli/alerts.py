"""`alerts check`: reads alert rules, lists them, and says when they would have fired in a run that is there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parallel_ml.adapters.cli import failures, screen
from parallel_ml.adapters.cli.arguments import add_json, add_run, examples, nearest
from parallel_ml.adapters.cli.table import Column, draw
from parallel_ml.adapters.cli.text import safe
from parallel_ml.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from parallel_ml.core.alert_rules import AlertRule
    from parallel_ml.core.alerts import AlertNotification

ACTIONS = ("check",)
_DID = {"stop": ", and stopped it", "pause": ", and paused it", "reduce_lr": ", and reduced the learning rate"}


@dataclass(frozen=True)
class JobAlerts:
    """What the rules would have told of one job."""

    name: str
    epochs: int
    told: tuple[AlertNotification, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        told = [{key: value for key, value in asdict(one).items() if key not in ("id", "at")} for one in self.told]
        return {"name": self.name, "epochs": self.epochs, "alerts": told}


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
            print(safe(f"note: not replayed, since they watch the machine and the clock: {', '.join(left_out)}"))
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
        told = [line for one in job.told if (line := _line(one, job.name, actions[one.rule]))]
        lines += told or [safe(f"no rule would have fired ({job.name}, {job.epochs} epochs)")]
    return lines


def _line(one: AlertNotification, job: str, action: str) -> str | None:
    if one.news == "unknown_metric":
        return safe(f"{one.rule}: {one.summary} ({job})")
    if one.news == "resolved":
        return safe(f"{one.rule} would have resolved at epoch {one.epoch} ({job})")
    if one.news == "firing":
        return safe(f"{one.rule} would have fired at epoch {one.epoch}{_DID.get(action, '')} ({job})")
    return None


def _replayed(args: argparse.Namespace, rules: Sequence[AlertRule]) -> tuple[str, list[JobAlerts]]:
    from parallel_ml.core.alerts import replay  # noqa: PLC0415
    from parallel_ml.runtime.client import RunClient  # noqa: PLC0415
    from parallel_ml.store.run_view import read_metrics  # noqa: PLC0415

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
            points = read_metrics(Path(job.paths["metrics"] or ""))
            found.append(JobAlerts(job.name, len(points), tuple(replay(wanted, points))))
    return status.run, found


def _can_be_replayed(rule: AlertRule) -> bool:
    from parallel_ml.core.alerts import is_about_epochs  # noqa: PLC0415

    return is_about_epochs(rule)
