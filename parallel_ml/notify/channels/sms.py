"""What all text-message providers have in common: the variables of a template, the numbers one by one, a daily cap.

A provider sends no free text: it fills the variables of a template that it has approved, each of a few characters, and
charges for each message. So little is said (which job, what happened), and the rest stands in the other channels.
"""

from __future__ import annotations

import queue
import re
import threading
import time
import unicodedata
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from string import Formatter

from parallel_ml.errors import MissingPackage
from parallel_ml.notify.channel import BaseChannel, Fate, Limits, Reply, endpoint_of
from parallel_ml.notify.message import Kind, Level, Message
from parallel_ml.notify.secret import Secret

DAILY_CAP = 10
"""More messages in a day say nothing new, and cost."""
TIMEOUT_S = 10.0
DAY_S = 86400
_UTC_PLUS_8_S = 8 * 3600
_REMEMBERED = 64
WORDS = {
    "en": {
        Kind.STARTED: "start",
        Kind.NEW_BEST: "best",
        Kind.FINISHED: "done",
        Kind.FAILED: "failed",
        Kind.INTERRUPTED: "halted",
        Kind.OUT_OF_MEMORY: "OOM",
        Kind.ALERT: "alert",
        Kind.ALERT_RESOLVED: "ok",
        Kind.RUN_DONE: "ended",
        Kind.DIGEST: "digest",
        Kind.TEST: "test",
        Kind.OWN: "note",
    },
    "zh": {
        Kind.STARTED: "开始",
        Kind.NEW_BEST: "新最佳",
        Kind.FINISHED: "完成",
        Kind.FAILED: "失败",
        Kind.INTERRUPTED: "中断",
        Kind.OUT_OF_MEMORY: "显存不足",
        Kind.ALERT: "告警",
        Kind.ALERT_RESOLVED: "已恢复",
        Kind.RUN_DONE: "全部结束",
        Kind.DIGEST: "摘要",
        Kind.TEST: "测试",
        Kind.OWN: "消息",
    },
}
"""What happened, in at most six characters: the least that a provider leaves a variable."""
VALUES = ("job", "run", "status", "time", "title")
"""What `{...}` in a template's variables may name."""


@dataclass(frozen=True)
class Meaning:
    """What a provider's code means.

    Attributes:
        fate: What becomes of the message.
        sentence: Why, and what to do about it.
        retry_after_s: With `retry`: not before so many seconds have passed.
    """

    fate: Fate
    sentence: str
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Account:
    """Who sends to whom.

    Attributes:
        api_key: The key's id.
        api_secret: The key.
        phone_numbers: Who is told.
        sign_name: The approved signature that stands before each text.
    """

    api_key: Secret
    api_secret: Secret
    phone_numbers: Sequence[str]
    sign_name: str


class SmsChannel(BaseChannel, ABC):
    """Sends one text message to each number; a number that got it is not sent it again by a second attempt."""

    min_severity = Level.CRITICAL
    """What the settings may lower: a text message wakes people, and costs."""
    accepted: str
    """The code of a message that was accepted."""
    meanings: Mapping[str, Meaning]
    max_chars: int
    """The length of a template's variable."""

    def __init__(
        self,
        name: str,
        account: Account,
        *,
        daily_cap: int = DAILY_CAP,
        language: str = "en",
        base_url: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Keep whom to send to.

        Args:
            name: As the user knows it.
            account: Keys and numbers.
            daily_cap: Messages a day, at most; the day is that of the providers (UTC+8).
            language: `en` or `zh`.
            base_url: Where the provider is, for tests and proxies; None is its own address.
            now: The time, in seconds since the epoch.
        """
        self.name, self._account = name, account
        self.limits = Limits(per_day=daily_cap)
        self.endpoint = endpoint_of(type(self).__name__, account.api_key)
        self._words = WORDS.get(language, WORDS["en"])
        self._base_url, self._now = base_url, now
        self._reached: OrderedDict[str, set[str]] = OrderedDict()
        self._day, self._sent_today = 0, 0

    def deliver(self, message: Message) -> Reply:
        """Send to every number; the worst that became of one is told, the others' numbers masked."""
        if self._cap_is_used_up():
            left_s = DAY_S - (self._now() + _UTC_PLUS_8_S) % DAY_S
            return Reply(Fate.RETRY, f"today's {self.limits.per_day} text messages are used up", left_s)
        reached = self._reached.setdefault(message.id, set())
        while len(self._reached) > _REMEMBERED:
            self._reached.popitem(last=False)
        before, until = len(reached), time.monotonic() + TIMEOUT_S
        failed: dict[str, Meaning] = {}
        for number in self._account.phone_numbers:
            if number in reached:
                continue
            left_s = until - time.monotonic()
            if left_s < 1:
                failed[number] = Meaning(Fate.RETRY, "the provider is slow")
                continue
            code = self._sent_in_time(number, message, left_s, reached)
            if code is None:
                failed[number] = Meaning(Fate.RETRY, "the provider did not answer in time")
            elif code != self.accepted:
                failed[number] = self.explain(code)
        self._sent_today += len(reached) > before
        return _reply(len(self._account.phone_numbers), failed)

    def preview(self, message: Message) -> str:
        """Return the request for each number, without keys."""
        numbers = ", ".join(masked(number) for number in self._account.phone_numbers)
        return f"to {numbers}: [{self._account.sign_name}] {self.describe(message)}"

    def explain(self, code: str) -> Meaning:
        """Return what a code of the provider means."""
        known = self.meanings.get(code)
        if known is not None:
            return Meaning(known.fate, f"{code}: {known.sentence}", known.retry_after_s)
        general = next((self.meanings[start] for start in self.meanings if code.startswith(f"{start}.")), None)
        if general is not None:
            return Meaning(general.fate, f"{code}: {general.sentence}", general.retry_after_s)
        return Meaning(Fate.FAILED, f"{code}: a code that is not known here; the provider's documentation explains it")

    def _sent_in_time(self, number: str, message: Message, timeout_s: float, reached: set[str]) -> str | None:
        """Send to one number; return the provider's code, or None where it is not there in time.

        The SDKs' time-outs are for each read, so that a server which sends a byte now and then would hold us for ever.
        A yes that comes late counts all the same: the number is not sent the message again.
        """
        codes: queue.SimpleQueue[str] = queue.SimpleQueue()

        def send() -> None:
            code = self._send(number, message, timeout_s)
            if code == self.accepted:
                reached.add(number)
            codes.put(code)

        threading.Thread(target=send, name="parallel_ml-sms", daemon=True).start()
        try:
            return codes.get(timeout=timeout_s)
        except queue.Empty:
            return None

    @abstractmethod
    def describe(self, message: Message) -> str:
        """Return the template and its variables, for people."""

    @abstractmethod
    def _send(self, number: str, message: Message, timeout_s: float) -> str:
        """Send to one number; return the provider's code, or one of ours for what its SDK raises. Never raises."""

    def _filled(self, pattern: str, message: Message) -> str:
        """Return a variable's value, as short as it must be."""
        values = {
            "job": message.job or message.run or "run",
            "run": message.run or "",
            "status": self._words[message.kind],
            "time": time.strftime("%H:%M", time.localtime(message.created)),
            "title": message.title,
        }
        return fitted(pattern.format_map(values), self.max_chars)

    def _cap_is_used_up(self) -> bool:
        day = int((self._now() + _UTC_PLUS_8_S) // DAY_S)
        if day != self._day:
            self._day, self._sent_today = day, 0
        return self.limits.per_day is not None and self._sent_today >= self.limits.per_day


def fitted(text: str, max_chars: int) -> str:
    """Return a text as a template's variable may be: no signs that providers refuse, and no longer than allowed.

    Of what is too long the beginning and the end are kept: names of a sweep differ at their end.

    >>> fitted("resnet50-lr0.01-v2", 6)
    'res-v2'
    """
    plain = unicodedata.normalize("NFKC", text)
    # A full stop between letters makes a word look like an address, and addresses are refused.
    plain = re.sub(r"(?<=\D)\.(?=\D)", "-", plain)
    plain = " ".join(re.sub(r"[^\w\-.: ]", " ", plain).split()) or "-"
    if len(plain) <= max_chars:
        return plain
    return plain[: (max_chars + 1) // 2] + plain[-(max_chars // 2) :]


def check_patterns(patterns: Sequence[str]) -> None:
    """Refuse variables that name what is not there.

    Raises:
        ValueError: One does; the text says which, and what there is.
    """
    for pattern in patterns:
        try:
            parsed = list(Formatter().parse(pattern))
        except ValueError as error:
            raise ValueError(f"{pattern!r}: {error}") from None
        for _, name, spec, conversion in parsed:
            if name is not None and (name not in VALUES or spec or conversion):
                wanted = ", ".join(f"{{{value}}}" for value in VALUES)
                raise ValueError(f"{pattern!r}: {{{name}}} is not known; there are {wanted}")


def need(module: str, package: str, extra: str) -> None:
    """See that a provider's SDK is there, without loading it.

    Raises:
        MissingPackage: It is not.
    """
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingPackage(package, "sending text messages", extra)


def code_of(value: object) -> str:
    """Return a provider's code as something that can be shown; the text beside it is not, since it may hold keys."""
    return re.sub(r"[^\w.\-]", "", str(value or ""))[:80] or "no code"


def masked(number: str) -> str:
    """Return a number that its owner recognises and nobody else can call.

    >>> masked("13800138000")
    '138****8000'
    """
    return f"{number[:3]}****{number[-4:]}" if len(number) > 8 else "****"


_WORST = (Fate.DISABLED, Fate.FAILED, Fate.RETRY)


def _reply(count: int, failed: Mapping[str, Meaning]) -> Reply:
    if not failed:
        return Reply(Fate.SENT, f"accepted for {count} number{'' if count == 1 else 's'}")
    # As long as one may still get it, the message is kept; those that have it are not sent it again.
    fates = {meaning.fate for meaning in failed.values()}
    fate = Fate.RETRY if Fate.RETRY in fates else next(one for one in _WORST if one in fates)
    waits = [meaning.retry_after_s for meaning in failed.values() if meaning.retry_after_s is not None]
    text = "; ".join(f"{masked(number)}: {meaning.sentence}" for number, meaning in failed.items())
    return Reply(fate, text, max(waits) if waits and fate is Fate.RETRY else None)
