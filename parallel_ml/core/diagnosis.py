"""Why an attempt failed, in plain words: a class, the line that shows it, and one thing to try. Pure text work.

The last exception of the output decides. What other ranks or a launcher say after it (NCCL, a worker that was killed)
counts only where nothing before it is clearer: one process out of memory makes all others complain of the network.
The texts themselves are in `failure_texts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parallel_ml.core.failure_texts import ADVICE, ECHO, EXCEPTION, HARMLESS, IGNORED, PREFIX, SIGNS, Sign
from parallel_ml.core.outcome import Diagnosis, FailureClass, Outcome, OutcomeKind

_SIGNALS = {
    4: ("an illegal instruction (SIGILL)", "a package was built for another processor: install one for this machine"),
    6: ("an abort (SIGABRT)", None),
    7: ("a bus error (SIGBUS)", "shared memory may be too small for the data workers: use fewer of them"),
    8: ("a floating-point trap (SIGFPE)", None),
    11: ("a segmentation fault (SIGSEGV)", None),
}
_BY_SHELL = 128
"""A shell ends with this plus the number of the signal that ended its child (POSIX 2.8.2)."""
_PASSED_ON = frozenset({FailureClass.NCCL, FailureClass.KILLED, FailureClass.SEGFAULT})
"""Classes whose words may come from a process that only suffers of another's failure."""
_GOES_ON = ":"
"""The end of an exception's first line, where the next one says what it is about."""
_LONGEST_EVIDENCE = 300


def diagnose(
    outcome: Outcome,
    error: str | None,
    tail: Iterable[str] = (),
    *,
    near_limit: bool = False,
    after: FailureClass | None = None,
) -> Diagnosis | None:
    """Return what a failed attempt looks like; None for one that did not fail.

    Args:
        outcome: How it ended.
        error: What is known of it, in a sentence.
        tail: The last lines of its output and what it said itself, oldest first. Where there are none, `error` is read.
        near_limit: Whether its memory stood near what it was granted when it was last measured.
        after: The lack of memory that an earlier attempt of the same job ended of: a crash is likely to be another.
    """
    fixed = _BY_OUTCOME.get(outcome.kind)
    if fixed is not None:
        return Diagnosis(fixed, _short(error), ADVICE[fixed])
    if outcome.kind not in (OutcomeKind.ERROR, OutcomeKind.SIGNAL):
        return None
    lines = tuple(tail)
    found = read_output(None, lines) if lines else read_output(error)
    if found is not None and not (_is_vague(found) or found.kind is FailureClass.SEGFAULT):
        return found
    number = _signal_number(outcome)
    crashed = found is not None and found.kind is FailureClass.SEGFAULT
    if number in _SIGNALS or crashed:
        what, better = _SIGNALS.get(number, (None, None))
        evidence = found.evidence if found is not None and crashed else what
        memory = FailureClass.OUT_OF_MEMORY if near_limit else after
        if memory is not None:
            return Diagnosis(memory, evidence, ADVICE[memory], suspected=True)
        return Diagnosis(FailureClass.SEGFAULT, evidence, better or ADVICE[FailureClass.SEGFAULT])
    if number:
        return Diagnosis(FailureClass.KILLED, _short(error), ADVICE[FailureClass.KILLED])
    return found or Diagnosis(FailureClass.PROGRAM, _short(error), ADVICE[FailureClass.PROGRAM])


def read_output(error: str | None, tail: Iterable[str] = ()) -> Diagnosis | None:
    """Return what the last lines of a failed program's output say; None where they say nothing.

    Args:
        error: One more line that is later than all of `tail`, or None.
        tail: The last lines, oldest first.
    """
    held: Diagnosis | None = None
    held_by = ""
    below = ""
    words_follow = False
    for line in reversed(list(_telling((*tail, error or "")))):
        said = PREFIX.sub("", line)
        raised = EXCEPTION.search(said) is not None
        sign = next((sign for sign in SIGNS if sign.text.search(said)), None)
        mere_words = sign is not None and not (sign.decides or raised)
        if mere_words and words_follow:
            sign = None
        passed_on = (sign is None or not sign.decides) and ECHO.search(said) is not None
        if passed_on or (sign is not None and (mere_words or sign.kind in _PASSED_ON)):
            if held is None or _is_vague(held):
                held, held_by = _told(sign, line), line
        elif raised and sign is None and held is not None and held_by == below and said.endswith(_GOES_ON):
            return held
        elif sign is not None or raised:
            return _told(sign, line)
        words_follow = words_follow or not (passed_on or line[0].isspace())
        below = line
    return held


def _telling(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines that may say why, without the tracebacks that Python threw away."""
    ignoring = False
    for line in lines:
        said = PREFIX.sub("", line).rstrip()
        if not said or HARMLESS.search(said):
            continue
        if IGNORED.search(said):
            ignoring = True
        elif not ignoring:
            yield line.rstrip()
        elif EXCEPTION.search(said):
            ignoring = False
        elif not (said.startswith("Traceback ") or _is_indented(line)):
            ignoring = False
            yield line.rstrip()


def _is_indented(line: str) -> bool:
    prefix = PREFIX.match(line)
    rest = line[prefix.end() :] if prefix else line
    return line[0].isspace() or rest[:1].isspace()


def _signal_number(outcome: Outcome) -> int:
    """Return the number of the signal that ended it, by itself or within a shell; 0 where none did."""
    number = outcome.number or 0
    if outcome.kind is OutcomeKind.SIGNAL:
        return number
    number -= _BY_SHELL
    return number if number in (9, 15, *_SIGNALS) else 0


def _is_vague(found: Diagnosis) -> bool:
    """Whether it says no more than that something was raised."""
    return found.kind is FailureClass.PROGRAM and found.advice == ADVICE[FailureClass.PROGRAM]


def _told(sign: Sign | None, line: str) -> Diagnosis:
    if sign is None:
        return Diagnosis(FailureClass.PROGRAM, _short(line), ADVICE[FailureClass.PROGRAM])
    return Diagnosis(sign.kind, _short(line), sign.advice or ADVICE[sign.kind], suspected=sign.suspected)


def _short(line: str | None) -> str | None:
    return line.strip()[:_LONGEST_EVIDENCE] if line else None


_BY_OUTCOME = {
    OutcomeKind.OOM_GPU: FailureClass.OUT_OF_MEMORY,
    OutcomeKind.OOM_HOST: FailureClass.OUT_OF_HOST_MEMORY,
    OutcomeKind.DIVERGED: FailureClass.NAN,
    OutcomeKind.TIMEOUT: FailureClass.TIME,
    OutcomeKind.SPAWN_FAILED: FailureClass.START,
    OutcomeKind.LOST: FailureClass.LOST,
    OutcomeKind.GPU_LOST: FailureClass.GPU_LOST,
}
