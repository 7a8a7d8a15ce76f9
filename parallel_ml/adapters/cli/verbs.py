"""The verbs by name, without loading what they do."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    class Verb(Protocol):
        """What the module of a verb has."""

        def add_arguments(self, parser: argparse.ArgumentParser) -> None:
            """Say what can be given."""

        def run(self, args: argparse.Namespace) -> int:
            """Do it and return the exit code."""


SUMMARIES = {
    "run": "train configurations side by side and wait for their end",
    "status": "show how a run stands",
    "logs": "show what the jobs print",
    "stop": "end a run, or one job of it",
    "pause": "save and end a run, or one job of it, to go on later; its GPU is free",
    "resume": "let paused jobs go on, or take over a run whose supervisor is gone",
    "retry": "try failed or stopped jobs again, from their last checkpoint",
    "rerun": "repeat one job of a run, with its code and its seed",
    "list": "show all runs, newest first",
    "report": "write the report of a run, or of several that are compared",
    "validate": "check configurations, start nothing",
    "gpus": "show the GPUs, what is free on them and who holds what",
    "doctor": "say what this machine offers and what to do about what is missing",
    "notify": "try the channels for messages, and send what waits",
    "alerts": "check alert rules, and say when they would have fired in a run",
    "metrics": "print the runs for Prometheus, or keep a file for node_exporter",
    "mcp": "serve runs to assistants, by the Model Context Protocol",
    "init": "write a commented configuration to begin with",
    "serve": "show and steer runs in a browser, and by REST and WebSocket",
    "clean": "remove finished runs by age, number or size",
    "completion": "print a script that completes words in bash, zsh or fish",
}
"""Each verb with its line in the help."""

HIDDEN = {"__complete": "complete"}
"""What the completion scripts call, with the module that answers: not shown, and never guessed at."""

PLAIN = frozenset({"list", "logs", "pause", "retry", "status", "stop"})
"""Verbs that take words and options of the plainest kinds alone, so that it rarely takes argparse to read them."""


def load(name: str) -> Verb:
    """Return the verb's module; only the one that is used is imported."""
    module: Any = import_module(f"parallel_ml.adapters.cli.{name}")
    verb: Verb = module
    return verb


def load_hidden(name: str) -> Callable[[Sequence[str]], int]:
    """Return what answers a hidden verb: it takes the words that follow as they are."""
    module = import_module(f"parallel_ml.adapters.cli.{HIDDEN[name]}")
    answer: Callable[[Sequence[str]], int] = module.run
    return answer
