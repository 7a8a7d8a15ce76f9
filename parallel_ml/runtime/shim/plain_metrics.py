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
    r"(?<![\w.-])epoch(?![A-Za-z_])[\"']?\s*(?:[:=#]\s*)?(?:[\[(#]\s*)?(?P<epoch>\d{1,7})(?:\.0+)?(?![\w%]|[.,:]\d)"
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
_RICH_BAR = re.compile(
    r"^Epoch (?P<epoch>\d{1,7})/(?P<last>\d{1,7})\s+[━╸╺-][━╸╺\s-]*(?P<done>\d+)/(?P<total>\d+)\s+[\d:-]+\s\S\s[\d:-]+"
    r"\s+\S*it/s(?P<figures>.*)$"
)
"""Lightning's bar where rich is installed: it counts from 0, and names the last epoch."""
_WRAPPED = re.compile(r"\s{8,}(?:[A-Za-z]\w*: \S+\s*)+$")
_EVALUATION = re.compile(r"^(?:test|val|valid|validation|dev|eval|evaluation) set:(?P<figures>.*)$", re.IGNORECASE)
_RIGHT_OF_ALL = re.compile(r"(?<![\w.])(?P<right>\d{1,12})/(?P<all>\d{1,12})(?![\w/])(?:\s*\(\s*\d+(?:\.\d+)?\s?%\))?")
_BATCH = re.compile(r"^\s*\[\s*(?P<done>\d{1,12})/(?P<total>\d{1,12})\b")
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


class _Batch(NamedTuple):
    """What a line told of a part of an epoch: how much of it was done, and the figures by then."""

    epoch: int
    epochs: int | None
    done: int
    total: int
    figures: Figures


class PlainReader:
    """Reads one stream, line by line; it remembers the heading that it is under, and the epoch that it is in."""

    def __init__(self) -> None:
        """Start under no heading."""
        self._heading: tuple[int, int | None] | None = None
        self._columns: list[str] = []
        self._wrapped: tuple[int, int] | None = None
        self._batch: _Batch | None = None
        self._newest: tuple[int, int | None] | None = None
        self._evaluated = False
        self._evaluates = True
        """Whether each epoch so far had an evaluation in a line of its own: one at the end alone is of no epoch."""

    @property
    def under_heading(self) -> bool:
        """Whether a line without the word "epoch" may hold something."""
        return self._heading is not None or bool(self._columns) or self._wrapped is not None

    def awaits(self, data: bytes) -> bool:
        """Whether a line may tell of an evaluation after the epoch, which it does not name."""
        return self._evaluates and self._newest is not None and b" set:" in data

    def read(self, line: str) -> Found | None:
        """Return what a line tells of an epoch, or None."""
        bare = _TERMINAL.sub("", line) if "\x1b" in line or "\b" in line else line
        text = bare.strip()
        wrapped, self._wrapped = self._wrapped, None
        if bar := _RICH_BAR.match(text):
            return self._rich(bar, redrawn=bare != line)
        if wrapped is not None and _WRAPPED.match(bare) and (figures := _figures(text)):
            return Found(*wrapped, figures, certain=True)
        if self._columns and (row := self._row(text)) is not _NO_ROW:
            return row
        self._columns = _columns(text)
        found = _bar_of_epochs(text) if "%|" in text else None
        found = found or self._line_of_epoch(text) or self._under_heading(text)
        if found is not None:
            self._enter(found.epoch, found.epochs)
            self._evaluates = self._evaluates and not any(name.startswith("val_") for name in found.figures)
        return found or self._evaluation(text)

    def _enter(self, epoch: int, epochs: int | None) -> None:
        if self._newest is not None and epoch != self._newest[0]:
            self._evaluates, self._evaluated = self._evaluates and self._evaluated, False
        self._newest = epoch, epochs

    def _rich(self, bar: re.Match[str], *, redrawn: bool) -> Found | None:
        """Read the bar of rich, which may go on in the next line.

        Where it is drawn again and again, a full one may still show the figures of the epoch before; one that begins
        shows these for sure, and the last one at the very end its own.
        """
        epoch, epochs = int(bar["epoch"]), int(bar["last"]) + 1
        if redrawn and bar["done"] == "0" and epoch > 0:
            epoch -= 1
        elif bar["done"] != bar["total"] or (redrawn and epoch + 1 < epochs):
            return None
        self._wrapped = epoch, epochs
        return Found(epoch, epochs, _figures(bar["figures"]), certain=True)

    def _of_a_batch(self, epoch: int, epochs: int | None, rest: str, phase: str | None) -> Found | None:
        """Remember the figures of a part of the epoch, and return them where no further part comes."""
        batch = _BATCH.match(rest)
        figures = _figures(rest[batch.end() :], phase) if batch else {}
        if batch is None or not figures:
            return None
        before, now = self._batch, _Batch(epoch, epochs, int(batch["done"]), int(batch["total"]), figures)
        self._batch = now
        self._enter(epoch, epochs)
        goes_on = before is not None and (before.epoch, before.total) == (now.epoch, now.total)
        step = now.done - before.done if before and goes_on else 0
        is_last = step > 0 and now.done + step > now.total
        return Found(epoch, epochs, figures, certain=False) if is_last else None

    def _evaluation(self, text: str) -> Found | None:
        """Read "Test set: Average loss: 0.8, Accuracy: 943/1000 (94%)", as PyTorch's examples print it after an epoch.

        What is looked at after each epoch is a validation, whatever it is called.
        """
        told = _EVALUATION.match(text) if self._evaluates else None
        if told is None or self._newest is None:
            return None
        figures = _figures(_RIGHT_OF_ALL.sub(_share, told["figures"]), "val")
        if self._batch is not None and self._batch.epoch == self._newest[0]:
            figures = {**self._batch.figures, **figures} if figures else {}
        self._evaluated = self._evaluated or bool(figures)
        return Found(*self._newest, figures, certain=False) if figures else None

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
            if not figures and (found := self._of_a_batch(epoch, epochs, rest, _phase_of(head))):
                return found
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


def _share(match: re.Match[str]) -> str:
    right, of = int(match["right"]), int(match["all"])
    return f"{right / of:.8g}" if right <= of != 0 else match[0]


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
