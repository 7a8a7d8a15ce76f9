"""Secrets taken out of what jobs print, before it leaves the machine or is written into an outbox."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from parallel_ml.notify.secret_parts import parts_of

MASK = "***"
_LEAST_SECRET = 6
"""Characters; a shorter value (`1`, `yes`) would mask half of a log."""
_LONGEST_LINE = 4000
_SECRET_NAME = re.compile(
    r"(?:token|secret|passw(?:or)?d|passphrase|pwd|credentials?|api_?key|access_?key|private_?key|webhook|auth)s?$"
    r"|(?:^|[-_])key$",
    re.IGNORECASE,
)
# Tokens of a text (max_tokens, pad_token, token_type_ids, tokenizer) are everywhere in training, and no secret.
_AUTHORISING = (
    r"(?<!(?:pad|eos|bos|unk|sep|cls|per|num|max|min|new)[-_])(?<!(?:mask|next|stop)[-_])(?<!start[-_])"
    r"token(?!s|i[sz]|[-_](?:id|type|count|embed|acc|loss|len|per|dim|drop|mix|level|class|shift|rate|ratio|prob|label))"
)
# Where the shell works (PWD=/data/me) is no password.
_WORDS = (
    r"(?:secret(?!ar)|passw(?:or)?d|passphrase|pwd(?![\"']?\s*[:=]\s*[\"']?[/~.])|credential|api[-_]?key"
    r"|access[-_]?key)"
)
_VALUE = r"(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s\"',;&)}\]]+)"
_FIGURE = r"[-+]?(?:\d{1,7}|\d*\.\d+(?:e[-+]?\d+)?|\d+(?:\.\d*)?e[-+]?\d+|nan|inf)%?(?![\w.-])"
# What stands beside a name with "token" in it may be a figure of the training; beside a password it is one.
_NAMED = (rf"[\w.-]*{_WORDS}[\w.-]*", ""), (rf"[\w.-]*{_AUTHORISING}[\w.-]*", rf"(?!{_FIGURE})")
_KEY_OF_THE_ENVIRONMENT = r"(?![/.~<])(?=\S*[0-9])(?=\S*[A-Za-z])[^\s\"',;:()]{8,}"
_KEY_ALONE = r"(?=[^\s\"',;]*[0-9])(?=[^\s\"',;]*[A-Za-z])[^\s\"',;:()\[\]{}<>/=]{8,}(?![\w/])"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # what a provider's tokens look like
    (
        re.compile(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{16,}"
            r"|sk-(?=[\w-]*[0-9])[\w-]{16,}|sk_(?:live|test)_\w{10,}|xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}"
            r"|(?:AKIA|ASIA)[A-Z0-9]{12,}|LTAI[A-Za-z0-9]{12,}|AKID[A-Za-z0-9]{12,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}"
            r"|npm_[A-Za-z0-9]{20,}|pypi-(?=[\w-]*[A-Z])[\w-]{20,}|dop_v1_[a-f0-9]{20,}|SEC[a-f0-9]{32,}"
            r"|wandb_v1_\w{20,}|SG\.[\w-]{16,}\.[\w-]{16,}|[0-9]{8,10}:AA[\w-]{30,})"
        ),
        MASK,
    ),
    (re.compile(r"\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?"), MASK),
    # what stands beside a name
    (
        re.compile(r"(?i)\b((?:proxy-)?authorization[\"']?\s*[:=]?\s*[\"']?)(?:digest|aws4-hmac-sha256|negotiate)\s.*"),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)(?:(bearer|basic|token|apikey)\s+)?[^\s\"',;]+"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?i)\b(authorization\s+(?:bearer|basic|token)\s+)[^\s\"',;]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer\s+)(?=\S*[0-9]|\S{20})[\w.~+/=-]{6,}"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b((?:set-)?cookie:\s*)\S.*"), rf"\1{MASK}"),
    *(
        (re.compile(rf"(?i)(?<![\w.-])({name}[\"']?\s*(?::(?!/)|=>|=)\s*){no}{_VALUE}"), rf"\1{MASK}")
        for name, no in _NAMED
    ),
    *((re.compile(rf"(?i)((?<!\S)--?{name}\s+)(?!-){no}{_VALUE}"), rf"\1{MASK}") for name, no in _NAMED),
    # ['--password', 'x'], as Python shows a command
    *((re.compile(rf"(?i)([\"']--?{name}[\"'],\s*)(?![\"']-){_VALUE}"), rf"\1{MASK}") for name, _ in _NAMED),
    # WANDB_API_KEY 0123456789abcdef, as a script prints its environment, and "password hunter22"
    (
        re.compile(rf"\b([A-Z][A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|_KEY)[ \t]+){_KEY_OF_THE_ENVIRONMENT}"),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            r"(?i)\b((?:api[-_ ]?key|(?:access|auth|secret)[-_ ](?:token|key)|passw(?:or)?d)[ \t]*:?[ \t]+)"
            rf"{_KEY_ALONE}"
        ),
        rf"\1{MASK}",
    ),
    # URLs: user:pass@, and the parameters that robots are called with
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@\"']+@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)([?&](?:key|sig|sign|signature|code|auth|x-amz-[a-z-]+)=)[^&\s\"']+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(/open-apis/bot/v2/hook/)[\w/-]{8,}"), rf"\1{MASK}"),
    (re.compile(r"(/services/)T[A-Z0-9]{5,}/B[A-Z0-9]{5,}/\w+"), rf"\1{MASK}"),
    (re.compile(r"(?i)(/api/webhooks/)[0-9]+/[\w-]+"), rf"\1{MASK}"),
)
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE = re.compile(r"\s*[A-Za-z0-9+/]{40,}={0,2}\s*")


class Scrubber:
    """Masks the secrets that are known, and whatever looks like one.

    >>> Scrubber(["hunter22"]).line("login hunter22 with password=abc to https://bob:x@host/")
    'login *** with password=*** to https://***@host/'
    """

    def __init__(self, secrets: Iterable[str] = (), env: Mapping[str, str] | None = None) -> None:
        """Know some secrets.

        Args:
            secrets: Those of the settings.
            env: A job's own environment variables: the values of those that are named like a secret.
        """
        named = [value for name, value in (env or {}).items() if _SECRET_NAME.search(name)]
        parts = {part for secret in (*secrets, *named) for part in parts_of(secret)}
        known = sorted((part for part in parts if len(part.strip()) >= _LEAST_SECRET), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def line(self, text: str) -> str:
        """Return a line without secrets; a very long one is cut."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        if len(text) > _LONGEST_LINE:
            text = f"{text[:_LONGEST_LINE]}…"
        for pattern, shown in _PATTERNS:
            text = pattern.sub(shown, text)
        return _KEY_BEGINS.sub(MASK, text) if _KEY_ENDS.search(text) is None else _whole_key(text)

    def lines(self, lines: Iterable[str]) -> list[str]:
        """Return lines without secrets; a private key becomes one line, also where its begin is cut off."""
        given = list(lines)
        end = next((at for at, line in enumerate(given) if _KEY_ENDS.search(line)), None)
        begins = any(_KEY_BEGINS.search(line) for line in given[: end + 1]) if end is not None else True
        kept: list[str] = []
        within = not begins
        for line in given:
            if _KEY_BEGINS.search(line) and not _KEY_ENDS.search(line):
                within = True
                kept.append(MASK)
            elif within and (_KEY_ENDS.search(line) or _KEY_LINE.fullmatch(line)):
                within = not _KEY_ENDS.search(line)
                if not kept or kept[-1] != MASK:
                    kept.append(MASK)
            else:
                kept.append(self.line(line))
        return kept


def _whole_key(text: str) -> str:
    begin, end = _KEY_BEGINS.search(text), _KEY_ENDS.search(text)
    if end is None:
        return text
    start = begin.start() if begin is not None and begin.start() < end.start() else 0
    return text[:start] + MASK + text[end.end() :]
