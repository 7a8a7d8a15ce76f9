"""`run`: trains configurations side by side and waits for their end."""

from __future__ import annotations

import argparse

from parallel_ml.adapters.cli.arguments import add_json, at_least_one, examples


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be given."""
    parser.add_argument(
        "configs", nargs="*", metavar="CONFIG", help="files, folders or globs (default: config/config.yaml)"
    )
    parser.add_argument("--max-parallel", type=at_least_one, metavar="N", help="the most jobs at once")
    parser.add_argument("--name", help="a name for the run, by which the other verbs find it")
    parser.add_argument("--gpus", metavar="GPUS", help="the GPUs to use: auto, none, or simulated ones: sim:2x16GiB")
    parser.add_argument("--detach", action="store_true", help="leave the run in the background and return at once")
    parser.add_argument(
        "--no-snapshot", action="store_true", help="run the code as it is when each job starts, not as it is now"
    )
    parser.add_argument("--notify", metavar="FILE", help="settings for messages, in place of the configurations' own")
    parser.add_argument("--alerts", metavar="FILE", help="alert rules for all jobs, beside the configurations' own")
    warmth = parser.add_mutually_exclusive_group()
    warmth.add_argument(
        "--keep-warm",
        nargs="?",
        const="30min",
        metavar="TIME",
        help="keep what has imported TensorFlow for the next run, so long after this one (30min)",
    )
    warmth.add_argument("--cold", action="store_true", help="start every job in an interpreter of its own")
    add_json(parser, "nothing but the status at the end")
    examples(
        parser,
        "run config/config1.yaml config/config2.yaml",
        "run configs/ --name night --detach",
        "run a.yaml --gpus sim:2x16GiB",
    )


def run(args: argparse.Namespace) -> int:
    """Start the run and drive it to its end; with `--detach` leave that to a process of its own.

    Raises:
        ConfigError: All that is wrong with the configurations; nothing was started.
        UsageError: An option makes no sense.
        PlacementError: A job can never fit on this machine.
    """
    from parallel_ml.adapters.cli.drive import drive  # noqa: PLC0415 - `run --help` needs none of it
    from parallel_ml.runtime.executor import ParallelMLExecutor  # noqa: PLC0415

    executor = ParallelMLExecutor(
        args.configs or None,
        runs_dir=args.runs_dir,
        name=args.name,
        max_parallel=args.max_parallel,
        gpus=args.gpus,
        snapshot=not args.no_snapshot,
        notify=args.notify,
        alerts=args.alerts,
        warm=_warmth(args),
    )
    return drive(executor, as_json=args.json, detach=args.detach)


def _warmth(args: argparse.Namespace) -> bool | float:
    """Return whether jobs are forked, or for how many seconds longer they could be.

    Raises:
        UsageError: The time is none.
    """
    from parallel_ml.core.units import parse_duration  # noqa: PLC0415 - `run --help` needs none of it
    from parallel_ml.errors import UsageError  # noqa: PLC0415

    if args.keep_warm is None:
        return not args.cold
    try:
        return parse_duration(args.keep_warm)
    except ValueError as error:
        raise UsageError(f"--keep-warm {args.keep_warm}: {error}") from None
