"""What happens in a run as messages: which facts each tells, in English or Chinese, links and templates applied.

Everything that a job printed, named or reported passes the scrubber here; escaping is the renderers' business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from parallel_ml.core.status import JobResult, JobStatus, RunStatus
from parallel_ml.notify.best import NewBest, best_epoch, finite, measure_of, told_metrics
from parallel_ml.notify.figures import as_text, batch_of, epoch_time, epochs_of, peak_of, time_of, values_of
from parallel_ml.notify.message import Block, Excerpt, Facts, Kind, Level, Links, Message, Text
from parallel_ml.notify.output import MOST_LINES, last_output, place_of
from parallel_ml.notify.scrub import Scrubber
from parallel_ml.notify.scrubbed import scrubbed
from parallel_ml.notify.standing import counted, device_of, figure, results_table
from parallel_ml.notify.templates import fill
from parallel_ml.notify.words import cause_of, known, step_of, word

_NOT_FIGURES = frozenset({"learning_rate", "time_per_epoch", "memory_usage", "gpu_utilization", "epoch", "epochs"})
_MOST_FIGURES = 12


class Composer:
    """Writes the messages of one run in one language."""

    def __init__(
        self,
        run: str | None,
        *,
        language: str = "en",
        links: Iterable[tuple[str, str]] = (),
        templates: Mapping[Kind, str] | None = None,
        scrubber: Scrubber | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Know the run and the settings.

        Args:
            run: The run's id; None where there is none (`TrainingMonitor`).
            language: `en` or `zh`.
            links: Labels (`tensorboard`, `page`, `model`, or a user's own) with URL patterns: `{run}`, `{job}`.
            templates: A user's own words; `templates.problem_of` finds nothing wrong with them. Their first line is
                the title; where there are more, they take the place of all that the message says.
            scrubber: What takes secrets out.
            clock: Seconds since the epoch.
        """
        self.run, self.language = run, language
        self._links, self._templates = tuple(links), dict(templates or {})
        self._scrubber, self._clock = scrubber or Scrubber(), clock

    def started(self, job: JobStatus) -> Message:
        """A training runs for the first time."""
        facts = self._facts(
            ("device", device_of(job.allocation)),
            ("batch", batch_of(job)),
            ("epochs", job.epochs),
            ("seed", job.seed),
            ("dir", job.paths.get("dir")),
        )
        return self._of_job(
            Kind.STARTED,
            Level.INFO,
            job,
            self._word("started", job=job.name),
            [facts],
            {"summary": device_of(job.allocation)},
        )

    def new_best(self, job: JobStatus, best: NewBest) -> Message:
        """A metric has improved; `BestTracker` knows when that is worth a message."""
        value, before = figure(best.value), figure(best.before)
        title = self._word("new_best", job=job.name, metric=best.metric, value=value)
        facts = self._facts(("epoch", epochs_of(best.epoch, job.epochs)), ("before", before))
        summary = f"{best.metric} {value}"
        told = {"metric": best.metric, "value": value, "before": before, "summary": summary}
        part = f"{best.metric}/{best.epoch}"
        return self._of_job(Kind.NEW_BEST, Level.INFO, job, title, [facts], told, part)

    def finished(self, job: JobStatus, result: JobResult | None = None) -> Message:
        """A training came to its own end.

        Args:
            job: As it stands.
            result: With its history, for the best epoch and the time of one.
        """
        history = result.history if result is not None else {}
        measure = measure_of(told_metrics(history))
        best = best_epoch(history, measure) if measure else None
        pace = epoch_time(job, history)
        best_value = figure(best[0]) if best else ""
        figures = self._figures({**job.metrics, **(result.metrics if result is not None else {})})
        facts = Facts(
            self._facts(
                ("time", time_of(job)),
                ("epoch_time", pace),
                ("epochs", epochs_of(job.epoch, job.epochs)),
                ("best_epoch", best[1] if best else None),
            ).rows
            + (((self._word("label_best", metric=measure), best_value),) if best else ())
            + figures
            + self._facts(
                ("memory", peak_of(job, "memory")),
                ("gpu_memory", peak_of(job, "gpu_memory")),
                ("model", job.paths.get("model")),
                ("log", job.paths.get("log")),
            ).rows
        )
        told = {
            "metric": measure or "",
            "best_value": best_value,
            "best_epoch": str(best[1]) if best and best[1] is not None else "",
            "epoch_time": pace or "",
            "figures": "\n".join(": ".join(row) for row in figures),
            "summary": f"{measure} {best_value}" if best else "",
        }
        title = self._word("finished", job=job.name)
        return self._of_job(Kind.FINISHED, Level.INFO, job, title, [facts], told)

    def failed(self, job: JobStatus, output: Sequence[str] | None = None) -> Message:
        """A training failed, and is not tried again by itself.

        Args:
            job: As it stands.
            output: The last lines of its output; None reads them from its log.
        """
        lines = last_output(job.paths.get("log")) if output is None else list(output)
        cause, advice = cause_of(job.failure, self.language) if job.failure else ("", "")
        evidence = str((job.failure or {}).get("evidence") or "")
        error = evidence or job.error or job.outcome or ""
        place = place_of(lines) or ""
        facts = self._facts(("cause", cause), ("error", error), ("place", place), ("advice", advice))
        again = self._word("retry_by", run=self.run, job=job.name) if self.run else ""
        shown = lines[-MOST_LINES:]
        blocks: list[Block] = [
            facts,
            self._facts(
                ("epoch", epochs_of(job.epoch, job.epochs)), ("time", time_of(job)), ("log", job.paths.get("log"))
            ),
            *([Text(again)] if again else []),
            *([Excerpt(self._word("last_lines"), tuple(shown))] if shown else []),
        ]
        title = self._word("failed" if cause else "failed_plain", job=job.name, cause=cause)
        summary = self._word("colon").join(part for part in (cause, error) if part)
        told = {"cause": cause, "advice": advice, "error": error, "place": place, "summary": summary}
        told["lines"] = "\n".join(shown)
        return self._of_job(Kind.FAILED, Level.CRITICAL, job, title, blocks, told)

    def interrupted(self, job: JobStatus) -> Message:
        """A training was stopped or paused."""
        key = job.state if job.state in ("stopped", "paused") else "interrupted"
        facts = self._facts(
            ("epoch", epochs_of(job.epoch, job.epochs)),
            ("time", time_of(job)),
            ("error", job.error),
            ("log", job.paths.get("log")),
        )
        blocks: list[Block] = [facts]
        if job.state == "paused" and self.run:
            blocks.append(Text(self._word("as_saved", run=self.run)))
        title = self._word(key, job=job.name)
        told = {"summary": known(f"state_{job.state}", self.language, job.state)}
        return self._of_job(Kind.INTERRUPTED, Level.WARNING, job, title, blocks, told, f"{job.state}/{job.epoch}")

    def supervisor_ended(self, status: RunStatus) -> Message:
        """Nobody drives the run any more, and it is not finished."""
        title = self._word("supervisor_ended", run=status.run)
        counts = counted(status.jobs, self.language)
        facts = self._facts(("state", counts), ("dir", status.dir))
        blocks = (Text(self._word("run_on", run=status.run)), facts)
        told = {"counts": counts, "dir": status.dir, "summary": counts}
        identity = f"ended/{self._clock():.0f}"
        return self._message(Kind.INTERRUPTED, Level.WARNING, title, blocks, identity, told)

    def out_of_memory(self, job: JobStatus, text: str, attempt: int) -> Message:
        """A training ran out of memory, and something was done about it.

        Args:
            job: As it stands.
            text: What was done, in a sentence (of the event).
            attempt: To which attempt it happened.
        """
        done = step_of(text, self.language)
        facts = self._facts(("done", done), ("attempt", attempt), ("epoch", epochs_of(job.epoch, job.epochs)))
        title = self._word("out_of_memory", job=job.name)
        told = {"done": done, "summary": done}
        return self._of_job(Kind.OUT_OF_MEMORY, Level.WARNING, job, title, [facts], told, f"{attempt}")

    def alert(  # noqa: PLR0913 - what there is to tell
        self,
        name: str,
        text: str,
        *,
        job: str | None = None,
        level: Level = Level.WARNING,
        value: str = "",
        number: int | str = 0,
        action: str = "",
        resolved: bool = False,
    ) -> Message:
        """An alert fires, or is over.

        Args:
            name: The rule's.
            text: What it says about itself.
            job: Whose it is; None for the whole run.
            level: Its severity; one that is over is only an information.
            value: What was measured.
            number: Which time it is that this is told, in the run: a repetition is a message of its own.
            action: What is done about it (`stop`, `pause`, `reduce_lr`); `notify` is what happens in any case.
            resolved: It is over.
        """
        kind = Kind.ALERT_RESOLVED if resolved else Kind.ALERT
        title = self._word(kind.value, job=job or self.run or "", alert=name)
        severity = self._word(f"level_{level.value}")
        done = "" if action == "notify" else action
        facts = self._facts(("value", value), ("severity", severity), ("action", done))
        blocks = (Text(text), facts) if text else (facts,)
        told = {"alert": name, "severity": severity, "value": value, "text": text, "summary": text or name}
        shown = Level.INFO if resolved else level
        return self._message(kind, shown, title, blocks, f"{name}/{number}", told, job)

    def run_done(self, status: RunStatus, results: Sequence[JobResult]) -> Message:
        """A run is over: one table, the best job marked."""
        jobs = status.jobs
        table, winner = results_table(jobs, results, self.language)
        counts = counted(jobs, self.language)
        good = all(job.state == "completed" for job in jobs)
        key = ("run_done_one" if len(jobs) == 1 else "run_done") if good else "run_ended"
        title = self._word(key, run=status.name or status.run, count=len(jobs), counts=counts)
        best = f"{winner[0]} ({winner[1]})" if winner else ""
        blocks: list[Block] = [table, self._facts(("winner", best), ("dir", status.dir))]
        told = {"counts": counts, "winner": best, "dir": status.dir, "table": as_text(table), "summary": best or counts}
        level = Level.INFO if good else Level.WARNING
        # A run may end more than once: after a retry there are more attempts.
        identity = "/".join([status.state, *(str(job.attempt) for job in jobs)])
        return self._message(Kind.RUN_DONE, level, title, blocks, identity, told)

    def test(self) -> Message:
        """What `notify test` sends."""
        blocks = [Text(self._word("test_text"))]
        return self._message(Kind.TEST, Level.INFO, self._word("test"), blocks, f"{self._clock():.6f}", {})

    def _of_job(
        self,
        kind: Kind,
        level: Level,
        job: JobStatus,
        title: str,
        blocks: Sequence[Block],
        told: Mapping[str, str],
        part: str = "",
    ) -> Message:
        """Return a message about a job; the attempt, and what part of it, tell it from others of its kind."""
        identity = f"{job.attempt}/{part}" if part else str(job.attempt)
        return self._message(kind, level, title, blocks, identity, {**values_of(job), **told}, job.name)

    def _message(
        self,
        kind: Kind,
        level: Level,
        title: str,
        blocks: Sequence[Block],
        identity: str,
        told: Mapping[str, str],
        job: str | None = None,
    ) -> Message:
        links = self._links_of(job)
        told = {"run": self.run or "", "job": job or "", "level": level.value, "summary": "", **told}
        kept = tuple(block for block in blocks if not isinstance(block, Facts) or block.rows)
        # Links before what may be long, so that they are not what is cut.
        at = next((at for at, block in enumerate(kept) if isinstance(block, Excerpt)), len(kept))
        shown = (*kept[:at], *([links] if links.rows else []), *kept[at:])
        message = Message(
            id="/".join(filter(None, [self.run or "here", job, kind.value, identity])),
            kind=kind,
            level=level,
            title=title,
            blocks=shown,
            created=self._clock(),
            run=self.run,
            job=job,
            data={**told, "language": self.language},
        )
        message = self._by_template(message, {**told, "title": title}, links)
        return scrubbed(message, self._scrubber)

    def _by_template(self, message: Message, values: Mapping[str, str], links: Links) -> Message:
        template = self._templates.get(message.kind)
        if template is None:
            return message
        shown = "\n".join(": ".join(row) for row in links.rows)
        title, _, body = fill(template.strip(), {**values, "links": shown}).partition("\n")
        return replace(message, title=title, blocks=(Text(body.strip("\n")),) if body.strip() else message.blocks)

    def _links_of(self, job: str | None) -> Links:
        rows = []
        for label, pattern in self._links:
            if ("{job}" in pattern and job is None) or ("{run}" in pattern and self.run is None):
                continue
            url = pattern.replace("{run}", quote(self.run or "", safe="")).replace("{job}", quote(job or "", safe=""))
            rows.append((known(f"link_{label}", self.language, label), url))
        return Links(tuple(rows))

    def _figures(self, metrics: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        odd = metrics.get("nonfinite")
        shown = {**metrics, **(odd if isinstance(odd, dict) else {})}
        rows = [
            (name, figure(value))
            for name, value in shown.items()
            if name not in _NOT_FIGURES and (finite(value) is not None or (isinstance(odd, dict) and name in odd))
        ]
        return tuple(rows[:_MOST_FIGURES])

    def _facts(self, *rows: tuple[str, object]) -> Facts:
        """Return what is known of some labels of the catalogue."""
        return Facts(tuple((self._word(f"label_{key}"), str(value)) for key, value in rows if value not in (None, "")))

    def _word(self, key: str, **values: object) -> str:
        return word(key, self.language, **values)
