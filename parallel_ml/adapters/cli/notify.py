"""`notify`: tries the channels that messages go by, and sends what waits."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from parallel_ml.adapters.cli import screen
from parallel_ml.adapters.cli.arguments import add_json, examples
from parallel_ml.adapters.cli.text import safe
from parallel_ml.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument(
        "what",
        choices=("test", "flush"),
        help="test: send one message by each channel and explain each provider's reply; "
        "flush: send what waits in the outboxes of runs",
    )
    parser.add_argument(
        "name", nargs="?", metavar="CHANNEL|RUN", help="test: only this channel; flush: only this run (default: all)"
    )
    parser.add_argument("--dry-run", action="store_true", help="test: only print what would be sent, secrets masked")
    parser.add_argument("--notify", metavar="FILE", help="the settings (default: notifier_config.yaml)")
    add_json(parser, "what became of it")
    examples(parser, "notify test", "notify test dingtalk --dry-run", "notify flush night")


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when everything was sent.

    Raises:
        ConfigError: The settings are not there or wrong.
        UsageError: No channel is switched on, or none has this name.
    """
    return _test(args) if args.what == "test" else _flush(args)


def _test(args: argparse.Namespace) -> int:
    from parallel_ml.notify.compose import Composer  # noqa: PLC0415 - `notify --help` needs none of it
    from parallel_ml.runtime.messages import routes_of, settings_of  # noqa: PLC0415

    settings = settings_of({"file": args.notify}, Path.cwd(), os.environ)
    for line in settings.warnings:
        print(f"warning: {safe(line)}", file=sys.stderr)
    problems: list[str] = []
    routes = [one for one in routes_of(settings, problems.append) if args.name in (None, one.channel.name)]
    for line in problems:
        print(safe(line), file=sys.stderr)
    if not routes:
        names = ", ".join(entry.name for entry in settings.channels)
        if args.name is not None and names and args.name not in names.split(", "):
            raise UsageError(f"there is no channel {args.name}", f"switched on: {names}")
        raise UsageError("no channel is switched on", "write one into notifier_config.yaml; init makes a commented one")
    told, all_sent = [], not problems
    for route in routes:
        channel, message = route.channel, Composer(None, language=route.language).test()
        if args.dry_run:
            fate, text = "dry run", channel.preview(message)
        else:
            reply = channel.deliver(message)
            fate, text = reply.fate.value, reply.text
            all_sent = all_sent and fate == "sent"
        told.append({"channel": channel.name, "fate": fate, "text": text})
        if not args.json:
            shown = "\n".join(safe(line) for line in text.splitlines())
            print(f"{safe(channel.name)}: {fate}{':' if shown else ''} {shown}".rstrip())
    if args.json:
        screen.print_json(told)
    return 0 if all_sent else 1


def _flush(args: argparse.Namespace) -> int:
    """Send what waits in the outbox of one run, or of every run of the folder."""
    from parallel_ml.notify.outbox import waiting  # noqa: PLC0415
    from parallel_ml.runtime.client import RunClient  # noqa: PLC0415
    from parallel_ml.runtime.messages import flush, routes_of, settings_of  # noqa: PLC0415
    from parallel_ml.store.files import read_json  # noqa: PLC0415
    from parallel_ml.store.layout import RunLayout  # noqa: PLC0415
    from parallel_ml.store.runs import run_layouts, runs_folder  # noqa: PLC0415

    if args.name is not None:
        layouts = [RunLayout(RunClient.find(args.name, runs_dir=args.runs_dir).dir)]
    else:
        layouts = list(run_layouts(runs_folder(args.runs_dir, os.environ, Path.cwd()), os.environ))
    lines: list[str] = []
    sent, unsent = 0, []
    for layout in layouts:
        if not waiting(layout.outbox):
            continue
        plan = read_json(layout.plan) or {}
        sources = {"file": args.notify} if args.notify else plan.get("notify") or {}
        settings = settings_of(sources, Path(plan.get("cwd", ".")), os.environ)
        count, left = flush(layout, routes_of(settings, lines.append), lines.append)
        sent += count
        unsent += [f"run {layout.dir.name}: {one.count} by {one.channel}: {one.reason}" for one in left]
    if args.json:
        screen.print_json({"sent": sent, "left": unsent})
        return 1 if unsent else 0
    for line in [*dict.fromkeys(lines), *unsent]:
        print(safe(line), file=sys.stderr)
    print(f"{sent} messages sent" + ("; what could not be sent is kept" if unsent else ""))
    return 1 if unsent else 0
