"""What the answers of chat services mean: they say 200 whatever happens, and a code in the body tells the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from parallel_ml.errors import UsageError
from parallel_ml.notify.channel import Fate, Reply
from parallel_ml.notify.escape import clean
from parallel_ml.notify.http import HttpProblem, HttpReply, check_url
from parallel_ml.notify.secret import Secret, mask

_QUOTED = 200
"""Characters of a provider's own words that are worth repeating."""


@dataclass(frozen=True)
class Meaning:
    """What a code means and what to do about it; the code itself is put before the text."""

    fate: Fate
    text: str
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Dialect:
    """How a provider answers.

    Attributes:
        provider: Its name, for people.
        code: The key of the code in the body; 0 is success.
        words: The key of what it says about it.
        meanings: The codes that are known.
    """

    provider: str
    code: str
    words: str
    meanings: Mapping[int, Meaning] = field(default_factory=dict)

    def code_of(self, reply: HttpReply) -> int | None:
        """Return the code in a reply, or None where there is none."""
        found = _body(reply).get(self.code)
        return found if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 10**12 else None

    def words_of(self, reply: HttpReply, secrets: Iterable[Secret | None] = ()) -> str:
        """Return what a reply says, in one short line without any secret."""
        said = _body(reply).get(self.words)
        return mask(clean(said), secrets)[:_QUOTED] if isinstance(said, str) else ""

    def explain(self, reply: HttpReply, secrets: Iterable[Secret | None] = ()) -> Reply:
        """Return what became of a message; only a code of 0 in a successful reply is success."""
        code = self.code_of(reply)
        succeeded = 200 <= reply.status < 300
        if code is None or (code == 0 and not succeeded):
            return self._without_code(reply)
        if code == 0:
            return Reply(Fate.SENT, f"0: {self.provider} took the message")
        meaning = self.meanings.get(code)
        if meaning is not None:
            wait = meaning.retry_after_s if reply.retry_after_s is None else reply.retry_after_s
            return Reply(meaning.fate, f"{code}: {meaning.text}", wait if meaning.fate is Fate.RETRY else None)
        said = self.words_of(reply, secrets)
        fate = Fate.RETRY if reply.status >= 500 else Fate.FAILED
        return Reply(fate, f"{code}: {self.provider} refused the message{': ' if said else ''}{said}")

    def _without_code(self, reply: HttpReply) -> Reply:
        status, name = reply.status, self.provider
        if status in (408, 429) or status >= 500:
            return Reply(Fate.RETRY, f"{name} has no time for this now (HTTP {status})", reply.retry_after_s)
        if status in (401, 403, 404, 410):
            return Reply(Fate.DISABLED, f"{name} does not know this address (HTTP {status}); copy the URL again")
        if 300 <= status < 400:
            text = f"a redirect (HTTP {status}) came instead of an answer of {name}; a log-in page, or a wrong URL"
            return Reply(Fate.RETRY, text)
        if status >= 400:
            return Reply(Fate.FAILED, f"{name} refused the message (HTTP {status})")
        if reply.json() is None:
            text = f"no answer of {name} came, but something else (HTTP {status}); a log-in page, or a wrong URL"
            return Reply(Fate.RETRY, text)
        return Reply(
            Fate.FAILED, f"the answer has no {self.code}, so the message does not count as sent; is the URL right?"
        )


def unreachable(problem: HttpProblem) -> Reply:
    """Return what became of a message that no answer came for."""
    return Reply(Fate.RETRY if problem.passing else Fate.DISABLED, str(problem))


def required_url(url: str | Secret | None, setting: str) -> Secret:
    """Return a provider's URL, which holds a token.

    Raises:
        UsageError: It is missing or none that may be used; the text does not hold it.
    """
    given = Secret(url or "")
    wrong = check_url(given.reveal().strip()) if given else "is missing"
    if wrong is not None:
        raise UsageError(f"{setting} {wrong}", "copy it from the settings of the robot or application")
    return Secret(given.reveal().strip())


def secrets_in(url: Secret) -> tuple[Secret, ...]:
    """Return what must not be told of a provider's URL: itself, the values of its query, and the end of its path.

    >>> [secret.reveal() for secret in secrets_in(Secret("https://host/bot/v2/hook/0a1b2c3d?key=k1"))][1:]
    ['k1', '0a1b2c3d']
    """
    parts = urlsplit(url.reveal())
    end = parts.path.rpartition("/")[2]
    values = [value for _, value in parse_qsl(parts.query)]
    return tuple(Secret(text) for text in (url.reveal(), *values, *([end] if len(end) >= 8 else [])))


def optional_secret(secret: str | Secret | None) -> Secret | None:
    """Return a secret, or None for none or an empty one; blanks around it, from a file or a copy, are cut off.

    Raises:
        UsageError: It holds a character that no secret has; the text does not hold it.
    """
    text = Secret(secret or "").reveal().strip()
    if not text.isprintable():
        raise UsageError("the secret holds a line break or another character that none has", "copy it again")
    return Secret(text) if text else None


def _body(reply: HttpReply) -> dict[str, object]:
    found = reply.json()
    return found if isinstance(found, dict) else {}
