"""The figures of an epoch in what a program prints for people: Keras, Lightning, tqdm, tables and hand-written lines.

A guess, and a careful one: a figure is taken only with the number of its epoch, by a name that figures of a training
have, and when the epoch is over; a line that leaves any of it open is left alone. Nothing is read or written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

Figures = dict[str, float]

_METRICS = frozenset(
    "acc accuracy auc auprc auroc bce bleu cer dice elbo f1 fid iou kappa logloss loss mae map mape mcc miou mse msle "  # noqa: SIM905
    "nll perplexity ppl precision psnr r2 recall reward rmse ssim wer".split()
)
_NUMBERED_METRIC = re.compile(r"(?:acc|top|f|hit)@?\d{1,2}")
_SHARES = frozenset(("accuracy", "dice", "f1", "iou", "miou", "precision", "recall"))
"""Metrics that some programs print in percent."""
_PHASES = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_AVERAGES = frozenset(("avg", "average", "mean", "epoch"))
_STEPS = frozenset(("batch", "batch_idx", "global_step", "it", "iter", "iteration", "iterations", "step", "steps"))
_ASIDES = frozenset("best counter early from highest improved lowest patience prev previous saved saving to".split())  # noqa: SIM905
"""What stands behind such a word is of another epoch."""
_HEAD_WORDS = frozenset(
    ("cuda", "end", "gpu", "main", "rank", "root", "stderr", "stdout", "t", "worker", "z", *_PHASES)
)
"""What may stand before the word "epoch", besides the head of a log line."""

_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x08")
_EPOCH = re.compile(
    r"(?<![\w.-])epoch(?![A-Za-z_])[\"']?\s*[:=#]?\s*[\[(#]?\s*(?P<epoch>\d{1,7})(?:\.0+)?(?![\w%]|[.,:]\d)"
    r"(?:\s*(?:/|of\b)\s*(?P<epochs>\d{1,7})(?![\w%]|[.,:]\d))?[\])]?",
    re.IGNORECASE,
)
_LEVEL = re.compile(r"\b(?:INFO|DEBUG|I\d{4})\b")
_LOGGER = re.compile(r"^[\s:|\])\d.-]*[A-Za-z_<][\w.<>]*(?::[\w.<>]+)*\s*[:|\])-]+")
_ANOTHER_EPOCH = re.compile(r"best|checkpoint|from|last|load|previous|restor|resum|sav|stop", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+")
_PAIRS = re.compile(r"(?:[A-Za-z][\w/@]*\s*[:=]\s*[^\s,;:=|]+(?:[\s,;|]+|$)){2,}")
_NUMBER = r"[-+]?(?:(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?\d{1,4})?|nan\b|inf(?:inity)?\b)"
_TOKEN = re.compile(
    r"(?P<name>[A-Za-z](?:[\w/@-]*\w)?)[\"']?(?:\s*[:=]\s*|\s+)?"
    rf"(?:(?:tensor\()?(?P<number>{_NUMBER})(?P<percent>\s?%)?(?![\w/:%]|[.,]\d))?",
    re.IGNORECASE,
)
_FRACTION = re.compile(r"(?<![\w.])(\d+)\s*/\s*(\d+)(?![\w.])")
_BAR = r"\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+)\s*\[(?P<inner>[^\]]*)"
_BATCH_BAR = re.compile(r"^(?P<what>[A-Za-z ]{0,30})[:\s]*100%" + _BAR)
_EPOCH_BAR = re.compile(r"^(?P<what>[^|]{0,60}?)\d{1,3}%" + _BAR)
_ENDS_WITH_EPOCH = re.compile(r"\bepochs?\W*$", re.IGNORECASE)
_UNIT_EPOCH = re.compile(r"s/epoch|epochs?/s", re.IGNORECASE)
_KERAS = re.compile(r"^(?P<done>\d+)/(?P<total>\d+)\s.*?\s-\s(?P<figures>.*)$")
_KERAS_PACE = re.compile(r"\d(?:s|ms|us|μs)/(?:step|epoch)")
_COLUMN = re.compile(r"[A-Za-z][\w/@.-]*")
_RULE = re.compile(r"[\s|+=:-]+")


class Found(NamedTuple):
    """Figures of one epoch.

    Attributes:
        epoch: As printed.
        epochs: How many there will be; None where the line does not say.
        figures: By the names of `metrics.jsonl`; may hold nan and infinities.
        certain: Whether the epoch stands in the line itself. Other figures never replace what is known already.
    """

    epoch: int
    epochs: int | None
    figures: Figures
    certain: bool


class PlainReader:
    """Reads one stream, line by line; it remembers the heading that it is under."""

    def __init__(self) -> None:
        """Start under no heading."""
        self._heading: tuple[int, int | None] | None = None
        self._columns: list[str] = []

    @property
    def under_heading(self) -> bool:
        """Whether a line without the word "epoch" may hold something."""
        return self._heading is not None or bool(self._columns)

    def read(self, line: str) -> Found | None:
        """Return what a line tells of an epoch, or None."""
        text = (_TERMINAL.sub("", line) if "\x1b" in line or "\b" in line else line).strip()
        if self._columns and (row := self._row(text)) is not _NO_ROW:
            return row
        self._columns = _columns(text)
        found = _bar_of_epochs(text) if "%|" in text else None
        return found or self._line_of_epoch(text) or self._under_heading(text)

    def _line_of_epoch(self, text: str) -> Found | None:
        match = _EPOCH.search(text)
        if match is None:
            return None
        epoch, epochs = int(match["epoch"]), int(match["epochs"]) if match["epochs"] else None
        head, rest = text[: match.start()], text[match.end() :]
        if epochs is not None and epoch > epochs:
            return None
        if text.startswith("{") or _PAIRS.fullmatch(text):
            figures = _figures(f"{head} {rest}")
        elif not _is_head(head):
            return None
        elif not rest.strip(" \t:;,.|=#*>-…"):
            self._heading = epoch, epochs
            return None
        else:
            figures = _figures(rest, _phase_of(head))
        if not figures:
            return None
        self._heading = None
        return Found(epoch, epochs, figures, certain=True)

    def _under_heading(self, text: str) -> Found | None:
        """Read a line that belongs to the epoch of the heading: a bar that is full, or one of figures alone."""
        if self._heading is None:
            return None
        figures: Figures = {}
        if keras := _KERAS.match(text):
            if keras["done"] == keras["total"] and _KERAS_PACE.search(text):
                figures = _figures(keras["figures"], any_name=True)
        elif bar := _BATCH_BAR.match(text):
            if bar["done"] == bar["total"]:
                figures = _figures(bar["inner"], _phase_of(bar["what"]))
        elif _is_of_a_phase(text):
            figures = _figures(text, _PHASES[re.split(r"[^a-z]", text.lower())[0]])
        return Found(*self._heading, figures, certain=False) if figures else None

    def _row(self, text: str) -> Found | None:
        """Return what a row of the table tells; `_NO_ROW` where the table has ended."""
        if not text or _RULE.fullmatch(text):
            return None if text else _NO_ROW
        cells = _cells(text)
        if len(cells) != len(self._columns):
            return _NO_ROW
        row = dict(zip(self._columns, cells, strict=True))
        if not re.fullmatch(r"\d{1,7}(?:\.0+)?", row["epoch"]):
            return _NO_ROW
        told = "; ".join(f"{name}={cell}" for name, cell in row.items() if name != "epoch" and _named(name, None)[0])
        figures = _figures(told)
        return Found(int(float(row["epoch"])), None, figures, certain=True) if figures else None


_NO_ROW = Found(-1, None, {}, certain=False)


def _figures(text: str, phase: str | None = None, *, any_name: bool = False) -> Figures:
    """Return the figures of a text; none where it is of a part of the epoch, or has no more than a learning rate."""
    figures: Figures = {}
    end = len(text)
    for token, name in _tokens(text):
        if name in _ASIDES:
            end = token.start()
            break
        phase = _PHASES.get(name, phase)
        if token["number"] is None:
            continue
        if name in _STEPS:
            return {}
        key, share = _named(token["name"], phase)
        if any_name and not key:
            key = token["name"]
        if not key or (token["percent"] and not share):
            continue
        number = float(token["number"])
        figures.setdefault(key, round(number / 100, 8) if token["percent"] else number)
    if any(int(done) < int(total) for done, total in _FRACTION.findall(text[:end])):
        return {}
    return figures if any(_named(name, None)[0] not in {"", "learning_rate"} for name in figures) else {}


def _tokens(text: str) -> Iterator[tuple[re.Match[str], str]]:
    return ((token, token["name"].lower()) for token in _TOKEN.finditer(text))


def _named(name: str, phase: str | None) -> tuple[str, bool]:
    """Return what a figure is called in `metrics.jsonl`, "" where the name is none of a figure; and if it is a share.

    >>> _named("valAcc", None), _named("train_loss_epoch", None), _named("batch_size", None)
    (('val_accuracy', True), ('train_loss', False), ('', False))
    """
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("/", "_").replace("-", "_").split("_")
    if parts in (["lr"], ["learning", "rate"]):
        return "learning_rate", False
    if parts[0] in _PHASES:
        phase = _PHASES[parts.pop(0)]
    parts = [part for part in parts if part not in _AVERAGES]
    last = parts[-1] if parts else ""
    # loss_g and loss_d of a GAN
    of_one_part = len(parts) == 2 and len(last) == 1 and parts[0] in _METRICS
    if not (last in _METRICS or _NUMBERED_METRIC.fullmatch(last) or of_one_part):
        return "", False
    if last == "acc":
        parts[-1] = last = "accuracy"
    kind = "_".join(parts)
    share = last in _SHARES or _NUMBERED_METRIC.fullmatch(last) is not None
    if phase is None and kind in {"loss", "accuracy"}:
        phase = "train"
    return (f"{phase}_{kind}" if phase else kind), share


def _is_head(head: str) -> bool:
    """Whether nothing but the head of a log line and the name of a phase stands before the word "epoch"."""
    if len(head) > 160 or _ANOTHER_EPOCH.search(head):
        return False
    words = list(_WORD.finditer(head))
    if level := _LEVEL.search(head):
        after = head[level.end() :]
        words = list(_WORD.finditer(_LOGGER.sub("", after)))
    return all(word[0].lower() in _HEAD_WORDS for word in words)


def _phase_of(text: str) -> str | None:
    return next((_PHASES[word] for word in reversed(text.lower().split()) if word in _PHASES), None)


def _is_of_a_phase(text: str) -> bool:
    """Whether a line is the name of a phase and figures, and nothing else."""
    tokens = list(_tokens(text))
    if not tokens or re.split(r"[^a-z]", tokens[0][1])[0] not in _PHASES or tokens[0][0].start() != 0:
        return False
    known = all(
        _named(token["name"], None)[0] if token["number"] else name in _PHASES or name in _METRICS or name in _AVERAGES
        for token, name in tokens
    )
    return known and not re.search(r"\d", _TOKEN.sub("", text))


def _bar_of_epochs(text: str) -> Found | None:
    """Read a bar whose steps are epochs: its description or its unit says so."""
    bar = _EPOCH_BAR.match(text)
    if bar is None or not (_ENDS_WITH_EPOCH.search(bar["what"]) or _UNIT_EPOCH.search(bar["inner"])):
        return None
    figures, done, total = _figures(bar["inner"]), int(bar["done"]), int(bar["total"])
    return Found(done, total, figures, certain=False) if figures and 0 < done <= total else None


def _columns(text: str) -> list[str]:
    """Return the columns of a table that this line heads; [] where it heads none."""
    if ":" in text or "=" in text:
        return []
    cells = [cell.lower() for cell in _cells(text)]
    if cells.count("epoch") != 1 or len(set(cells)) != len(cells) or not all(map(_COLUMN.fullmatch, cells)):
        return []
    return cells if any(_named(cell, None)[0] for cell in cells) else []


def _cells(text: str) -> list[str]:
    if "," in text:
        return [cell.strip() for cell in text.split(",")]
    return text.replace("|", " ").split()
