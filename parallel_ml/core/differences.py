"""What differs between configurations: the keys that not all of them have alike, and never a secret.

The values are those that the user wrote: variables such as `${TOKEN}` stand in the run's copies unfilled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from parallel_ml.core.text import cell_width, safe, shorten

MOST_VALUE_CELLS = 24
"""Cells of a value in a table; more only where values that differ would look alike."""
_MOST_CELLS = 1000
_ABSENT, _LEFT_OUT = "-", "…"
_NOT_COMPARED = frozenset({"alerts", "depends_on", "env", "links", "name", "notifications"})
_OUTPUTS = frozenset({"model_training.checkpoint.filepath", "result_analysis.model_path"})
"""Where a job's files go differs in any case."""
_SECRET_KEY = re.compile(
    r"(?:token|secret|password|passwd|passphrase|credentials?|apikey|webhook)$|(?:^|[-_])(?:key|auth)$", re.IGNORECASE
)
_SECRET_TEXT = re.compile(r"(?i)((?:token|secret|passw\w*|api[-_]?key)[=:\s,]+)\S+|(://)[^/\s@]+@")

Rows = list[tuple[str, list[str]]]


def differences(configs: Sequence[Mapping[str, Any]], taken: Collection[str] = ()) -> Rows:
    """Return each key that differs with its value in every configuration, as safe text.

    >>> differences([{"params": {"lr": 0.1, "layers": 2}}, {"params": {"lr": 0.2, "layers": 2}}])
    [('lr', ['0.1', '0.2'])]

    Args:
        configs: The configurations.
        taken: Titles that mean something else where the keys are to stand.
    """
    if not configs:
        return []
    found = _differing((), [_shown(config) for config in configs])
    titles = _titles([path for path, _ in found], taken)
    rows = [(title, [_text(value) for value in values]) for title, (_, values) in zip(titles, found, strict=True)]
    return shortened(rows, _MOST_CELLS)


def shortened(rows: Rows, cells: int = MOST_VALUE_CELLS) -> Rows:
    """Return the rows with values that a table has room for: of long ones what differs, and what is alike left out.

    >>> shortened([("command", ["python train.py --lr 0.11 --seed 7", "python train.py --lr 0.12 --seed 7"])])
    [('command', ['… --lr 0.11 …', '… --lr 0.12 …'])]
    """
    return [(title, _fitted(values, cells)) for title, values in rows]


def _shown(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _without_secrets(value) for key, value in config.items() if key not in _NOT_COMPARED}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items() if not _SECRET_KEY.search(str(key))}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


def _differing(path: tuple[str, ...], values: Sequence[Any]) -> list[tuple[tuple[str, ...], list[Any]]]:
    """Return the paths that differ; a section that some configurations lack is followed, a mapping below it is not."""
    present = [value for value in values if value is not None]
    if all(value == values[0] for value in values) or ".".join(path) in _OUTPUTS:
        return []
    if not all(isinstance(value, dict) for value in (values if len(path) > 1 else present)):
        return [(path, list(values))]
    keys = dict.fromkeys(key for value in present for key in value)
    found = []
    for key in keys:
        found += _differing((*path, str(key)), [None if value is None else value.get(key) for value in values])
    return found


def _titles(paths: Sequence[tuple[str, ...]], taken: Collection[str]) -> list[str]:
    """Return the last parts of paths, as many as tell them apart and are not taken."""
    titles = []
    for path in paths:
        endings = [path[-count:] for count in range(1, len(path) + 1)]
        alone = (end for end in endings if sum(other[-len(end) :] == end for other in paths) == 1)
        titles.append(safe(".".join(next((end for end in alone if ".".join(end) not in taken), path))))
    return titles


def _text(value: Any) -> str:
    text = _SECRET_TEXT.sub(lambda found: f"{found[1] or found[2]}***" + ("@" if found[2] else ""), _plain_text(value))
    return safe(text)


def _plain_text(value: Any) -> str:
    if value is None:
        return _ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        words = all(isinstance(inner, str) for inner in value)
        return " ".join(value) if words else f"[{', '.join(map(_plain_text, value))}]"
    return str(value)


def _fitted(values: Sequence[str], cells: int) -> list[str]:
    """Return values in so many cells each, or in as many more as it takes that no two of them become alike."""
    texts = [text for text in dict.fromkeys(values) if text != _ABSENT]
    parts = texts
    for reduced in (_differing_words, _differing_ends):
        if len(texts) > 1 and max(map(cell_width, parts)) > cells:
            parts = reduced(parts)
    cut = [shorten(part, cells) for part in parts]
    while len(set(cut)) < len(texts) and cells < _MOST_CELLS:
        cells *= 2
        cut = [shorten(part, cells) for part in parts]
    by_text = {_ABSENT: _ABSENT, **dict(zip(texts, cut, strict=True))}
    return [by_text[text] for text in values]


def _differing_words(texts: Sequence[str]) -> list[str]:
    """Return texts without the words that all of them have: by their places, else at the beginning and the end."""
    found = [text.split(" ") for text in texts]
    shortest, longest = min(map(len, found)), max(map(len, found))
    if shortest == longest:
        alike = [len(set(words)) == 1 for words in zip(*found, strict=True)]
        return [_without(words, alike) for words in found]
    first = _alike(found)
    last = min(_alike([words[::-1] for words in found]), shortest - first)
    masks = ([not first <= place < len(words) - last for place in range(len(words))] for words in found)
    return [_without(words, mask) for words, mask in zip(found, masks, strict=True)]


def _without(words: Sequence[str], alike: Sequence[bool]) -> str:
    """Return words without those that are alike, but with the option (`--lr`) that a word is the value of."""
    kept: list[str] = []
    for place, word in enumerate(words):
        if not alike[place] or (word.startswith("-") and not all(alike[place + 1 : place + 2])):
            kept.append(word)
        elif kept[-1:] != [_LEFT_OUT]:
            kept.append(_LEFT_OUT)
    return " ".join(kept)


def _differing_ends(texts: Sequence[str]) -> list[str]:
    """Return texts from the word or number on within which they begin to differ."""
    begin = texts[0][: _alike(texts)]
    word = re.search(r"[\w.+-]*$", begin)
    alike = word.start() if word and len(word[0]) < MOST_VALUE_CELLS // 2 else len(begin)
    return [_LEFT_OUT + text[alike:] for text in texts] if alike > len("… ") else list(texts)


def _alike(rows: Sequence[Sequence[str]]) -> int:
    """Return how many items all rows have alike from their beginning on."""
    columns = enumerate(zip(*rows, strict=False))
    return next((place for place, items in columns if len(set(items)) > 1), min(map(len, rows)))
