"""The supervisor: the one loop that drives a run. It carries facts to the state machine and effects to the back end.

Each turn: orders, news of attempts and the time become stimuli; `decide` answers with events and effects; the events
of the turn are made durable with one fsync; only then the effects are carried out.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from parallel_ml.core import events as ev
from parallel_ml.core.machine import TRANSITIONS, decide, due, ended_dependencies, on_lost_devices
from parallel_ml.core.model import JobState, ProcessId, RunState
from parallel_ml.core.recovery import ExitFacts
from parallel_ml.core.stimuli import (
    Effect,
    Ended,
    Placed,
    StartAttempt,
    Started,
    Stimulus,
    TellShim,
    WriteRates,
)
from parallel_ml.core.units import MIB
from parallel_ml.errors import BackendError, ConfigError, StoreError
from parallel_ml.monitor.limits import near_limit
from parallel_ml.monitor.process_monitor import ProcessMonitor
from parallel_ml.monitor.samples import Sampler
from parallel_ml.runtime.alerting import Alerting, Rules
from parallel_ml.runtime.backend import AttemptRef, Backend
from parallel_ml.runtime.clock import SteadyClock
from parallel_ml.runtime.grants import Grants, losses
from parallel_ml.runtime.order_desk import OrderDesk
from parallel_ml.runtime.prepare import AttemptPreparer, write_rates
from parallel_ml.runtime.translate import stimulus_of, told_again
from parallel_ml.runtime.watchers import Watchers
from parallel_ml.store.cleaning import remove_temporaries
from parallel_ml.store.files import free_bytes
from parallel_ml.store.identity import identify
from parallel_ml.store.orders import Order, OrderKind
from parallel_ml.store.run_store import RunStore

TURN_S = 0.2
"""The longest sleep between two looks at orders and metrics."""
LOOK_S = 0.5
CARD_LOOK_S = 0.25
"""Memory of cards that other programs free is seen within this time; a job starts in a fifth of a second after that."""
CLOCK_SLACK_S = 0.5
"""What slows a clock down or speeds it up does the same to the time since boot; only setting it takes them apart."""
LAST_PATIENCE_S = 60.0
"""How long a finished run waits for room on a full disk before it gives up writing its end."""
_WAITS_FOR_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Supervisor:
    """Drives one run to its end. It holds the run's lock by its store."""

    def __init__(
        self,
        store: RunStore,
        grants: Grants,
        backend: Backend,
        preparer: AttemptPreparer,
        monitor: ProcessMonitor,
        log: Any,
        rules: Rules = lambda _: (),
    ) -> None:
        """Keep the parts; nothing happens before `drive`."""
        self.store, self.grants, self.backend, self.preparer = store, grants, backend, preparer
        self.monitor, self.watchers, self.log = monitor, Watchers(monitor), log
        self.sampler = Sampler(store.layout, grants.gpus.samples, grants.leased)
        self.alerting = Alerting(store.layout, rules, monitor, grants.gpus.samples)
        self.index, self.clock = store.index, SteadyClock()
        self.desk = OrderDesk(store.layout, log)
        self._inbox: list[Stimulus] = []
        self._effects: list[Effect] = []
        self._blocked: str | None = None
        self._starting = True
        self._leaving: str | None = None
        self._place_at = 0.0
        self._grants_problem = ""
        self._room, self._room_at = True, 0.0

    @property
    def state(self) -> RunState:
        """The run as it stands."""
        return self.store.state

    def submit(self, order: Order) -> None:
        """Take an order from within this process; may be called from any thread and from a signal handler."""
        self.desk.submit(order)
        self.backend.wake()

    def leave(self, reason: str) -> None:
        """Let go of the run at the end of this turn; what runs goes on. From any thread or a signal handler."""
        self._leaving = reason
        self.backend.wake()

    def drive(self, only: Order | None = None) -> RunState:
        """Drive the run until every job has finished (or `leave`), and return its state.

        Args:
            only: Carry out this stop or pause and leave as soon as what it names has ended; start nothing meanwhile.

        Raises:
            StoreError: The end could not be written.
        """
        try:
            self._take_over()
            if only is not None:
                self._starting = False
                self.submit(only)
            else:
                self._take_orders()  # a finished run may have been asked for more
            while not self._done(only):
                self.turn()
                if not self._done(only):
                    self.backend.wait(self._nap_s())
                elif self._leaving is None:
                    self._take_orders()  # one that came in this moment may mean more to do
        except BaseException as error:
            self._leave(f"{type(error).__name__}: {error}")
            raise
        self._leave(self._leaving or ("its stop was carried out" if only else "every job has finished"))
        self._flush_last()
        return self.state

    def _done(self, only: Order | None) -> bool:
        if self._leaving is not None:
            return True
        if only is None:
            return self.index.finished
        jobs = self.state.jobs
        named = [jobs[only.job]] if only.job in jobs else jobs.values()
        at_rest = {JobState.PAUSED} if only.kind is OrderKind.PAUSE else set()
        return all(job.state.finished or job.state in at_rest for job in named)

    def _leave(self, reason: str) -> None:
        """Say in the log that nobody drives the run any more, and bring up to date what is derived."""
        if self.index.finished:
            for job in self.state.jobs:
                self.monitor.unwatch(job)
        self.monitor.poll(last=True)
        self.alerting.close()
        self._apply_events([ev.SupervisorLeft(reason)])
        if self._flush():
            self.desk.file()
        self.store.snapshot(self.clock.now(), at_once=True)
        if self.index.finished:
            remove_temporaries(self.store.layout)
        self.log.info("supervisor left", reason=reason, state=self.state.word)

    def turn(self) -> None:
        """Take in everything that has happened and act on it."""
        self._take_orders()
        inbox, self._inbox = self._inbox, []
        self._apply(inbox)
        self._apply(self.backend.poll())
        now = self.clock.now()
        self._apply(list(due(self.state, now, self.index.due(now))))
        while ended := list(ended_dependencies(self.state, self.index.doubtful())):
            self._apply(ended)
        self._place()
        if self._flush():
            self.desk.file()
            self._act()
        living = self.index.living
        self.sampler.poll(living)
        changed = self.index.changed()
        self.watchers.tell_jobs(changed)
        self.watchers.look(time.monotonic())
        for job in changed:
            if job.state.finished:
                self.alerting.ended(job.name)
        self._inbox += self.alerting.poll(living, self.clock.now())
        self.store.snapshot(self.clock.now())

    # --- taking in

    def _take_over(self) -> None:
        """Begin, or go on where another supervisor left the run."""
        me = identify()
        now = self.clock.now()
        refs = []
        if self.state.booted_at is not None:  # somebody drove the run before us, and may have been killed
            remove_temporaries(self.store.layout, of_supervisors=True)
        if me is not None:
            clock_set_s = self._clock_set_s(me)
            self._apply_events([ev.SupervisorStarted(me, self.clock.booted_at, clock_set_s)])
            if clock_set_s:
                self.log.warning("the clock was set", by_s=clock_set_s)
        self.grants.take_over(self.state)
        self._apply_events([ev.MachineSeen(self.grants.look(self.index.living))])
        for job in list(self.state.jobs.values()):
            attempt = job.attempt
            if attempt is not None and attempt.ended_at is None:
                files = self.store.layout.job(job.name).attempt(attempt.number)
                refs.append(AttemptRef(job.name, attempt.number, files, started=attempt.process is not None))
                self.monitor.watch(job.name)
                command = told_again(job, ordered=files.order.exists())
                if command is not None:  # the one before us may not have come to telling it
                    self._effects.append(TellShim(job.name, attempt.number, command))
                if job.rate_cuts:
                    self._effects.append(WriteRates(job.name))
            elif job.state is JobState.RETRYING and (job.due_at or 0.0) > now + job.spec.backoff_s * 2**job.failures:
                self._apply_events([ev.RetryScheduled(job.name, now, "the clock was set back")])
        self.backend.adopt(refs)
        self.log.info("supervisor started", run=self.state.run_id, jobs=len(self.state.jobs), adopted=len(refs))

    def _clock_set_s(self, me: ProcessId) -> float:
        """Return by how much the wall clock was set since the last supervisor started; 0 where that cannot be told."""
        before = self.state.booted_at
        if before is None or not me.boot_id or self.state.boot_id != me.boot_id:
            return 0.0
        by_s = self.clock.booted_at - before
        return by_s if abs(by_s) > CLOCK_SLACK_S else 0.0

    def _take_orders(self) -> None:
        for order in self.desk.take():
            if order.id not in self.state.orders_done:
                self._take_order(order)

    def _take_order(self, order: Order) -> None:
        self.log.info("order", order=order.id, kind=order.kind.value, job=order.job)
        if order.job is not None and order.job not in self.state.jobs:
            reason = f"there is no job {order.job}"
            self._apply_events([ev.CommandRejected(order.id, order.kind.value, reason, order.job)])
            return
        names = [order.job] if order.job is not None else list(self.state.jobs)
        stimuli = [stimulus_of(order, name) for name in names]
        if order.job is None:
            stimuli = [one for one in stimuli if (self.state.jobs[one.job].state, type(one)) in TRANSITIONS]
            if not stimuli:
                reason = f"no job can be asked to {order.kind.value}"
                self._apply_events([ev.CommandRejected(order.id, order.kind.value, reason)])
                return
        self._apply(stimuli)
        if order.id not in self.state.orders_done:
            self._apply_events([ev.OrderDone(order.id, order.kind.value)])

    def _apply(self, stimuli: Iterable[Stimulus]) -> None:
        for arrived in stimuli:
            stimulus = self._with_evidence(arrived) if isinstance(arrived, Ended) else arrived
            decision = decide(self.state, stimulus, self.clock.now())
            self._apply_events(decision.events)
            if isinstance(stimulus, Started):
                self.grants.started(stimulus.job, stimulus.attempt, stimulus.shim)
            elif isinstance(stimulus, Ended):
                self.grants.ended(stimulus.job, stimulus.attempt)
                self.sampler.ended(stimulus.job, stimulus.attempt)
                self.monitor.unwatch(stimulus.job)  # its history is whole before the log says that it has ended
            self._effects += decision.effects

    def _with_evidence(self, ended: Ended) -> Ended:
        """Add to the facts of an end what only this side knows: trouble of its card, memory near its limit."""
        ended = self.grants.with_xids(self.state, ended)
        attempt = self.state.jobs[ended.job].attempt
        if attempt is None or ended.facts.code == 0 or attempt.number != ended.attempt:
            return ended
        files = self.store.layout.job(ended.job).attempt(ended.attempt)
        return replace(ended, facts=replace(ended.facts, near_limit=near_limit(files, attempt)))

    def _apply_events(self, events: Iterable[ev.Event]) -> None:
        events = list(events)
        for event in events:
            self.watchers.tell_event(event)
        if events:
            self.store.add(events, self.clock.now())
            self._place_at = 0.0

    def _place(self) -> None:
        """Start what there is room for; looked at when something changed, and again and again for foreign memory."""
        now = self.clock.now()
        if self._blocked is not None or not self._starting or now < self._place_at:
            return
        self._place_at = now + self._look_s
        living = self.index.living
        if not self.index.lanes and not any((holds := job.holds) and holds.shares for job in living):
            return
        self.grants.keep()
        machine = self.grants.look(living)
        if self.grants.worth_telling(self.state.machine, machine, now):
            for text in losses(self.state.machine, machine):
                self.watchers.note(text)
            self._apply_events([ev.MachineSeen(machine)])
        self._apply(list(on_lost_devices(self.state, machine, living)))
        for one in self.grants.place(self.state, machine, self.index):
            batch = one.batch_size, one.accumulation, one.evaluation_batch_size
            self._apply([Placed(one.job, one.allocation, *batch)])
        self._place_at = now + self._look_s
        if self.grants.problem != self._grants_problem:
            self._grants_problem = self.grants.problem
            if self._grants_problem:
                self.watchers.note(self._grants_problem)

    # --- acting

    def _flush(self) -> bool:
        """Make the turn's events durable; return whether they are."""
        try:
            self.store.flush()
        except StoreError as error:
            self._block(error)
            self._act(only_to_end=True)
            return False
        if self._has_room():
            self._unblock()
        else:
            self._block(StoreError(self.store.layout.dir, "writing", "less than 1 MiB is free on this disk"))
        return True

    def _has_room(self) -> bool:
        """Look at the disk once a second: a shim that cannot write how its attempt ended waits, and cannot say so."""
        if self.clock.now() >= self._room_at:
            self._room_at = self.clock.now() + 1.0
            self._room = free_bytes(self.store.layout.dir) >= MIB
        return self._room

    def _flush_last(self) -> None:
        """Make the end durable; give a full disk a while to get room.

        Raises:
            StoreError: It had none. The next supervisor reads the end again from the attempts' own files.
        """
        give_up_at = self.clock.now() + LAST_PATIENCE_S
        while not self._flush() and self.clock.now() < give_up_at:
            self.backend.wait(TURN_S)
        self.store.flush()

    def _act(self, *, only_to_end: bool = False) -> None:
        """Carry out effects. On a full disk only those that end something: no start without its intent on disk."""
        effects, self._effects = self._effects, []
        for effect in effects:
            if isinstance(effect, TellShim):
                self.backend.tell(effect.job, effect.command)
            elif isinstance(effect, WriteRates):
                self._write_rates(effect)
            elif self.state.jobs[effect.job].state is not JobState.STARTING:  # it was stopped before it was started
                self._inbox.append(Ended(effect.job, effect.attempt, ExitFacts(never_started=True)))
            elif only_to_end:
                self._effects.append(effect)
            else:
                self._start(effect)

    def _write_rates(self, effect: WriteRates) -> None:
        try:
            write_rates(self.store.layout.job(effect.job), self.state.jobs[effect.job])
        except StoreError as error:
            self._block(error)
            self._effects.append(effect)

    def _start(self, effect: StartAttempt) -> None:
        try:
            self.backend.start(self.preparer.prepare(self.state.jobs[effect.job]))
        except (StoreError, BackendError, ConfigError) as error:
            if isinstance(error, StoreError) and getattr(error.__cause__, "errno", None) in _WAITS_FOR_ROOM:
                self._block(error)
                self._effects.append(effect)
                return
            self.log.warning("start failed", job=effect.job, error=str(error))
            self._inbox.append(Ended(effect.job, effect.attempt, ExitFacts(spawn_error=str(error))))
            self.backend.wake()
            return
        self.monitor.watch(effect.job)

    def _block(self, error: StoreError) -> None:
        if self._blocked is None:
            self._blocked = str(error)
            self.log.error("blocked", error=str(error))
            self.watchers.note(f"{error}; what runs goes on, no further job starts until it works again")

    def _unblock(self) -> None:
        if self._blocked is not None:
            self._blocked = None
            self.watchers.note("the run's directory can be written again; jobs start again")

    def _nap_s(self) -> float:
        if self._inbox or self.desk.waiting:
            return 0.0
        soonest = [] if (due_at := self.index.next_due) is None else [due_at]
        if self._blocked is None and self._starting:
            soonest.append(self._place_at)
        return max(0.0, min([TURN_S, self.watchers.owed_s(), *(at - self.clock.now() for at in soonest)]))

    @property
    def _look_s(self) -> float:
        return CARD_LOOK_S if self.state.machine.devices else LOOK_S
