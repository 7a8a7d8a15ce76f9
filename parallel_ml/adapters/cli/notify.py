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
        "flush: send what waits, of runs and of TrainingMonitor, wherever it was left",
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="CHANNEL|RUN|DIR",
        help="test: only this channel; flush: only this run, or the reports of TrainingMonitor in this folder "
        "(training_reports); default: all",
    )
    parser.add_argument("--dry-run", action="store_true", help="test: only print what would be sent, secrets masked")
    parser.add_argument("--notify", metavar="FILE", help="the settings (default: notifier_config.yaml)")
    add_json(parser, "what became of it")
    examples(
        parser, "notify test", "notify test dingtalk --dry-run", "notify flush night", "notify flush training_reports"
    )


def run(args: argparse.Namespace) -> int:
    """Do it; 0 when everything was sent.

    Raises:
        ConfigError: The settings are not there or wrong.
        UsageError: No channel is switched on, or none has this name.
    """
    return _test(args) if args.what == "test" else _flush(args)


def _test(args: argparse.Namespace) -> int:
    from parallel_ml.notify.compose import Composer  # noqa: PLC0415 - `notify --help` needs none of it
    from parallel_ml.notify.endpoint import delivered_now  # noqa: PLC0415
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
            reply = delivered_now(channel, message)
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
    """Send what waits in the outbox of one run or one folder of reports, or in all that are known."""
    from parallel_ml.adapters.cli.flushing import Flushing  # noqa: PLC0415 - `notify --help` needs none of it

    flushing = Flushing(args.notify, args.runs_dir)
    if args.name is None:
        flushing.all()
    else:
        flushing.only(args.name)
    if args.json:
        screen.print_json({"sent": flushing.sent, "left": flushing.unsent, "quiet": flushing.quiet})
        return 1 if flushing.unsent else 0
    for line in [*dict.fromkeys(flushing.said), *flushing.unsent, *flushing.quiet]:
        print(safe(line), file=sys.stderr)
    count = f"{flushing.sent} message{'' if flushing.sent == 1 else 's'} sent"
    print(count + ("; what could not be sent is kept" if flushing.unsent else ""))
    return 1 if flushing.unsent else 0
