"""The asyncio part of a lane: the queue of waiting requests, the events about waiting, and the access of each run."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Self

from smelt.engine.events import Event, Resumed, Waiting
from smelt.engine.limiter import Slot
from smelt.lanes.caps import Caps
from smelt.lanes.joinedrun import PAUSE, JoinedRun, Waiter
from smelt.lanes.pacer import Pacer, Wait
from smelt.lanes.queue import Alarm, hides, time_of
from smelt.loop.driver import PausingLoop
from smelt.providers.base import CallFailed, Reply, Usage

# Seconds: shorter waits are normal pacing and are not reported. Chosen, not measured: nobody reads a line for less.
_QUIET = 1.0
# Iterations of the event loop before each request during the start phase. Building a request takes milliseconds of CPU;
# connecting, sending and reading a refusal take about a dozen iterations, and every request that is sent in the
# meantime would be refused, too. Chosen, not measured: a few more than a dozen.
TURNS = 16
_TOLD = 1e-3  # Seconds between admission and sending (a ledger write) that may count as those of the provider.
_SOON = 0.01  # Seconds: the least between two looks at whether a request of a paused run has probably ended.
_MEMORY = 0.9  # Weight of the old value when the usual time of a reply falls.


class Lane:
    """Admits the requests of all runs that joined it, in the order in which they asked.

    Runs may use different event loops in different threads of the caller, so a lock guards the state. It is not held
    during an await or a callback; each waiter is woken on its own loop. A waiting request holds no slot, and cancelling
    it leaves no trace.

    Args:
        pacer: Decides when a request may be sent.
    """

    def __init__(self, pacer: Pacer) -> None:
        self.pacer = pacer
        self._lock = threading.Lock()
        self._waiting: deque[Waiter] = deque()
        self._runs: dict[JoinedRun, None] = {}
        self._asleep: dict[JoinedRun, None] = {}
        self._holding: dict[JoinedRun, None] = {}  # Those of them that have requests in flight.
        self._alarm: Alarm | None = None
        self._usual = 0.0  # Seconds that a reply takes: it rises at once and falls slowly.
        self._told: float | None = None  # The time until which the runs were last told to wait; None if they were not.

    def join(self, caps: Caps, tell: Callable[[Event], None]) -> RunLane:
        """Register a run. The tightest caps of all registered runs apply.

        Returns:
            Its access to the lane, to be closed at the end of the run.
        """
        run = RunLane(self, caps, tell)
        with self._lock:
            self._runs[run] = None
            self._cap()
        return run

    def limit_to(self, run: JoinedRun, caps: Caps) -> None:
        """Replace the caps of *run*."""
        with self._lock:
            run.caps = caps
            self._cap()
        self._pump()

    def leave(self, run: JoinedRun) -> None:
        """Remove a run and its caps, and free the slots of requests that it still has in flight."""
        with self._lock:
            self._runs.pop(run, None)
            self._asleep.pop(run, None)
            self._holding.pop(run, None)
            for slot in run.slots.values():
                self.pacer.released(slot)
            run.slots.clear()
            run.late.clear()
            self._cap()
            if not self._runs:
                self.pacer.rest()
        self._pump()

    def caps(self, runs: Collection[JoinedRun]) -> Caps:
        """The caps that apply to *runs* together. How many requests a paused run may have in flight binds no other."""
        awake = [run.caps.concurrency for run in runs if run not in self._asleep]
        together = Caps.tightest([run.caps for run in runs])
        return replace(together, concurrency=min(awake)) if awake else together

    @property
    def is_idle(self) -> bool:
        """Whether no run is registered."""
        return not self._runs

    @property
    def is_hidden(self) -> bool:
        """Whether a run uses another loop of this thread. That loop cannot run until this one ends.

        A loop that is paused hides nothing: its run has said so.
        """
        return any(hides(run.thread, run.loop) for run in self._runs)

    async def admit(self, run: JoinedRun, estimate: Usage, since: float | None = None) -> Slot:
        """Wait until a request of *run* may be sent. Raises `TooLong` if the run would wait too long."""
        if (slot := self.admit_now(run, estimate)) is not None:
            return slot
        waiter = self.enqueue(run, estimate, since)
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            self.withdraw(waiter)
            raise

    def enqueue(self, run: JoinedRun, estimate: Usage, since: float | None = None) -> Waiter:
        """Let a request of *run* wait in line; *since*: when it took its place, if that was before."""
        waiter = Waiter(run, estimate, asyncio.get_running_loop(), _now() if since is None else since)
        with self._lock:
            self._put(waiter)
        self._pump()
        return waiter

    def _put(self, waiter: Waiter) -> None:
        at = len(self._waiting)
        while at and self._waiting[at - 1].since > waiter.since:
            at -= 1
        self._waiting.insert(at, waiter)

    def admit_now(self, run: JoinedRun, estimate: Usage) -> Slot | None:
        """Admit a request of *run* if it need not wait."""
        with self._lock:
            return self._at_once(run, estimate)

    def complete(self, run: JoinedRun, slot: Slot, outcome: Reply | CallFailed) -> None:
        """Free the slot of a request that ended, and learn from its outcome."""
        with self._lock:
            run.unsent.discard(slot.number)
            has_lapsed = slot.number in run.late
            if (kept := (run.late if has_lapsed else run.slots).pop(slot.number, None)) is not None:
                run.note(outcome)
                self._complete(run, kept, outcome, has_lapsed=has_lapsed)
        self._pump()

    def _complete(self, run: JoinedRun, slot: Slot, outcome: Reply | CallFailed, *, has_lapsed: bool) -> None:
        now = _now()
        if run.has_slept(now, slot):
            if not has_lapsed:
                self.pacer.lapsed()
            self.pacer.late(slot, outcome)
            return
        if has_lapsed:
            self.pacer.retaken()
        if isinstance(outcome, Reply) and slot.left_at > run.paused_at:  # Else a pause is in this time.
            seconds = now - slot.sent_at
            self._usual = max(seconds, _MEMORY * self._usual + (1 - _MEMORY) * seconds)
        self.pacer.completed(now, slot, outcome)

    def sent(self, run: JoinedRun, number: int) -> None:
        """A request of *run* is sent now."""
        with self._lock:
            run.unsent.discard(number)
            slot, now = run.slots.get(number), _now()
            if slot is not None and now - slot.left_at > _TOLD:
                run.slots[number] = replace(slot, started=now)

    def hold(self, run: JoinedRun) -> None:
        """*run* looks at nothing from now on: its requests wait apart from the others."""
        with self._lock:
            if run not in self._runs:
                return
            run.paused_at = run.now()
            self._asleep[run] = None
            if run.slots:
                self._holding[run] = None
            run.aside = [waiter for waiter in self._waiting if waiter.run is run]
            for waiter in run.aside:
                self._waiting.remove(waiter)
            self._cap()
        self._pump()

    def go_on(self, run: JoinedRun) -> None:
        """*run* looks at its replies again: its requests wait as before; after a long pause, behind the others."""
        with self._lock:
            if run not in self._asleep:
                return
            del self._asleep[run]
            self._holding.pop(run, None)
            now = run.now()
            is_long = run.woke(now)
            for waiter in run.aside:
                waiter.since = now if is_long else waiter.since
                self._put(waiter)
            run.aside = []
            self._cap()
        self._pump()

    def lapse(self, run: JoinedRun) -> None:
        """Free the places of *run*, which is paused."""
        with self._lock:
            self._lapse(run, run.now())
        self._pump()

    def _lapse(self, run: JoinedRun, now: float) -> None:
        """What was not sent gets a place later; what was sent and has probably ended has none. Its cost stays."""
        for slot in run.lose_unsent():
            self.pacer.released(slot)
        for _ in range(run.lapse(now, self._usual)):
            self.pacer.lapsed()
        if not run.slots:
            self._holding.pop(run, None)

    @property
    def _next_lapse(self) -> float:
        """Seconds until the next request of a paused run has probably ended."""
        times = [slot.sent_at for run in self._holding for slot in run.slots.values()]
        if not times or not self._usual:
            return PAUSE
        return min(PAUSE, max(_SOON, min(times) + self._usual - time_of(self._waiting[0].loop)))

    def release(self, run: JoinedRun, slot: Slot, *, is_counted: bool = False) -> None:
        """Free the slot of a request that was not sent, or was cancelled."""
        with self._lock:
            run.unsent.discard(slot.number)
            run.late.pop(slot.number, None)
            if run.slots.pop(slot.number, None) is not None:
                self.pacer.released(slot, is_counted=is_counted)
        self._pump()

    def _at_once(self, run: JoinedRun, estimate: Usage) -> Slot | None:
        if self._waiting and not self._is_first(run):
            return None
        now = _now()
        wait = self._wait(run, now, estimate)
        is_free = wait.seconds <= 0 and run.lost_patience(now, wait, self.pacer.silence) is None
        return self._take_slot(run, now, estimate) if is_free else None

    def _wait(self, run: JoinedRun, now: float, estimate: Usage) -> Wait:
        rest = run.rest if len(self._runs) - len(self._asleep) == 1 else math.inf
        wait = self.pacer.wait(now, estimate, is_trying=run.is_trying, rest=rest)
        if wait.seconds <= 0 or not self._holding:
            return wait
        for one in list(self._holding):
            self._lapse(one, now)
        return self.pacer.wait(now, estimate, is_trying=run.is_trying, rest=rest)

    def _take_slot(self, run: JoinedRun, now: float, estimate: Usage) -> Slot:
        slot = self.pacer.left(now, estimate)
        run.slots[slot.number] = slot
        run.unsent.add(slot.number)
        return slot

    def _cap(self) -> None:
        if self._runs:
            self.pacer.cap(self.caps(self._runs))

    def _pump(self) -> None:
        """Admit the requests that may be sent now, and set the timer for the next one."""
        if not self._waiting and self._told is None:  # The common case: no lock is needed.
            return
        with self._lock:
            news = self._admit_all()
        for run, event in news:
            run.hear(event)

    def _admit_all(self) -> list[tuple[JoinedRun, Event]]:
        news: list[tuple[JoinedRun, Event]] = []
        wait: Wait | None = None
        while self._waiting:
            waiter = self._next()
            now = time_of(waiter.loop)
            wait = self._wait(waiter.run, now, waiter.estimate)
            if (problem := waiter.run.lost_patience(now, wait, self.pacer.silence)) is not None:
                self._waiting.remove(waiter)
                waiter.end(problem)
            elif wait.seconds > 0:
                if wait.seconds < math.inf:
                    wait = wait._replace(seconds=min(wait.seconds, waiter.run.patience(now, self.pacer.silence)))
                break
            else:
                news.extend(self._resume())
                self._waiting.remove(waiter)
                waiter.end(self._take_slot(waiter.run, now, waiter.estimate))
        self._set_alarm(wait)
        news.extend(self._stall(wait) if self._waiting and wait is not None else self._resume())
        return news

    def _next(self) -> Waiter:
        """The waiter that waits longest; while the breaker is open, one of a run that has not yet tried for itself."""
        return next((one for one in self._waiting if self._is_first(one.run)), self._waiting[0])

    def _is_first(self, run: JoinedRun) -> bool:
        return self.pacer.is_failing and run.is_trying

    def _stall(self, wait: Wait) -> list[tuple[JoinedRun, Event]]:
        """Events that tell waiting runs about the wait: once each, and again if it becomes longer than last told."""
        is_long, until = _QUIET <= wait.seconds < math.inf, time_of(self._waiting[0].loop) + wait.seconds
        if self._told is None and not is_long:
            return []
        is_news = is_long and (self._told is None or until > self._told + _QUIET)
        self._told = until if is_news else self._told
        said = Waiting(seconds=wait.seconds, reason=wait.reason)
        runs = {waiter.run: None for waiter in self._waiting if is_news or not waiter.run.is_stalled}
        for run in runs:
            run.is_stalled = True
        return [(run, said) for run in runs]

    def _resume(self) -> list[tuple[JoinedRun, Event]]:
        if self._told is None:
            return []
        self._told = None
        runs = [run for run in self._runs if run.is_stalled]
        for run in runs:
            run.is_stalled = False
        return [(run, Resumed()) for run in runs]

    def _set_alarm(self, wait: Wait | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        seconds = math.inf if wait is None else wait.seconds
        if self._waiting and self._holding:
            seconds = min(seconds, self._next_lapse)
        if self._waiting and seconds < math.inf:
            self._alarm = Alarm(self._waiting[0].loop, seconds, self._pump)

    def withdraw(self, waiter: Waiter) -> None:
        """Take a request out of the line; if it was admitted at the same moment, free its slot."""
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        if waiter.slot is not None:
            self.release(waiter.run, waiter.slot)
        self._pump()


class RunLane(JoinedRun):
    """One run's access to a lane, and a context manager. Implements `engine.limiter.Limiter`.

    Attributes:
        lane: The lane.
    """

    def __init__(self, lane: Lane, caps: Caps, tell: Callable[[Event], None]) -> None:
        super().__init__(caps, tell)
        self.lane = lane
        self._again: dict[int, Slot] = {}  # For those that were gone: the places that they got later.
        self._estimate = Usage()
        self._noticed = len(lane.pacer.notices)

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self.lane.pacer.limit

    @property
    def most(self) -> int:
        """Requests that may ever be in flight."""
        return self.caps.concurrency

    @property
    def workers(self) -> int:
        """Requests of this run in flight, and those that may leave at once; in the start phase all that it may have."""
        pacer = self.lane.pacer
        if pacer.is_starting:
            return self.most
        return max(1, len(self.slots) + pacer.limit - pacer.in_flight)

    @property
    def is_paced(self) -> bool:
        """Whether a rate limit decides how soon the rest of this run's requests have left."""
        return self.lane.pacer.is_paced(_now(), self._estimate, self.rest)

    @property
    def notices(self) -> list[str]:
        """Notices for the caller about what happened since the run joined."""
        return list(dict.fromkeys(self.lane.pacer.notices[self._noticed :]))

    async def admit(self, estimate: Usage) -> Slot:
        """Wait until a request of this size may be sent, and count it as in flight."""
        self._begin(estimate)
        if self.lane.pacer.is_starting:
            for _ in range(TURNS):
                await asyncio.sleep(0)
        return await self.lane.admit(self, estimate)

    def admit_now(self, estimate: Usage) -> Slot | None:
        """Count a request of this size as in flight, if it may be sent now."""
        self._begin(estimate)
        return self.lane.admit_now(self, estimate)

    def _begin(self, estimate: Usage) -> None:
        if self.loop is None:
            self.loop, self.thread, self._began = asyncio.get_running_loop(), threading.get_ident(), _now()
            if isinstance(self.loop, PausingLoop):
                self.loop.paused.add(self)
        self._estimate = estimate

    async def sending(self, slot: Slot) -> None:
        """The request of *slot* is sent now. Waits if its place was given up meanwhile."""
        if slot.number in self.gone:
            self.gone.discard(slot.number)
            self._again[slot.number] = await self.lane.admit(self, slot.estimate, slot.left_at)  # Where it was.
        self.lane.sent(self, self._again.get(slot.number, slot).number)

    def complete(self, slot: Slot, outcome: Reply | CallFailed, cost_usd: float | None = None) -> None:
        """Free the slot of a request that ended, and adapt the limits to its outcome."""
        self.lane.complete(self, self._last(slot), outcome)

    def release(self, slot: Slot, *, is_counted: bool = False) -> None:
        """Free the slot of a request that was not sent or was cancelled; do nothing if it is free already."""
        self.lane.release(self, self._last(slot), is_counted=is_counted)

    def _last(self, slot: Slot) -> Slot:
        """The place that a request has now, which ends."""
        self.gone.discard(slot.number)
        return self._again.pop(slot.number, slot)

    def limit_to(self, caps: Caps) -> None:
        """Replace the limits that the run sets."""
        self.lane.limit_to(self, caps)

    def hold(self) -> None:
        """The run looks at nothing from now on, because its loop pauses, so nobody must wait for it."""
        self.lane.hold(self)

    def go_on(self) -> None:
        """The run looks at its replies again."""
        self.thread = threading.get_ident()
        self.lane.go_on(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lane.leave(self)


def _now() -> float:
    return time_of(asyncio.get_running_loop())
