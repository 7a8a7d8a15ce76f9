"""Reading a plain command line without argparse, which costs a short verb a fifth of its time.

It answers what argparse would, or None: then argparse is asked, which also knows help, abbreviations and messages.
"""

from __future__ import annotations

from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class PlainWords:
    """Takes what the verbs of `verbs.PLAIN` tell `argparse.ArgumentParser`: optional words, flags, options.

    Attributes:
        epilog: For the help alone.
    """

    def __init__(self) -> None:
        """Know `--runs-dir`, as every verb does."""
        self.epilog = ""
        self._words: list[str] = []
        self._options: dict[str, tuple[str, Callable[[str], Any] | None]] = {}
        """What each option is called in the answer, and what reads its value; a flag has none."""
        self._values: dict[str, Any] = {}
        self.add_argument("--runs-dir")

    def add_argument(self, *names: str, **how: Any) -> None:
        """Take an argument as argparse does."""
        name = next((one for one in names if one.startswith("--")), names[0]).lstrip("-").replace("-", "_")
        is_flag = "action" in how
        self._values[name] = False if is_flag else None
        if "nargs" in how:
            self._words.append(name)
        else:
            self._options.update({option: (name, None if is_flag else how.get("type", str)) for option in names})

    def read(self, words: Sequence[str]) -> SimpleNamespace | None:
        """Return what the words say, or None where it takes argparse to tell."""
        values, places, rest = dict(self._values), list(self._words), list(words)
        while rest:
            word = rest.pop(0)
            if not word.startswith("-"):
                if not (word and places):
                    return None
                values[places.pop(0)] = word
                continue
            option, equals, value = word.partition("=")
            if option not in self._options:
                return None
            name, kind = self._options[option]
            if kind is None:
                if equals:
                    return None
                values[name] = True
                continue
            value = value if equals else (rest.pop(0) if rest else "")
            if not value or value.startswith("-"):
                return None
            try:
                values[name] = kind(value)
            except Exception:  # noqa: BLE001 - argparse knows how to say it
                return None
        return SimpleNamespace(**values)
