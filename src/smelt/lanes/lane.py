"""The asyncio part of a lane: the queue of waiting requests, and the events about waiting."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Self

from smelt.engine.events import Event, Resumed, Waiting
from smelt.engine.limiter import Slot, TooLong
from smelt.lanes.caps import Caps
from smelt.lanes.pacer import Pacer, Wait
from smelt.lanes.queue import Alarm, call_on, running_loop, time_of
from smelt.loop.driver import PausingLoop
from smelt.providers.base import Billing, CallFailed, Reply, Usage

# Requests that a run may send although the circuit breaker is open, one at a time, until one reaches the provider. They
# do not load a failing provider, because they do not reach it. There must be at least as many as the engine makes
# before it gives up a server that it never reached: up to 16 in parallel, then the four of `Policy.free_retries`.
_TRIES = 20
_IN_SECONDS = 60.0  # Seconds: longer times are shown in minutes, as people say them.
# Seconds: shorter waits are normal pacing and are not reported. Chosen, not measured: nobody reads a line for less.
_QUIET = 1.0
# Iterations of the event loop before each request during the start phase. Building a request takes milliseconds of CPU;
# connecting, sending and reading a refusal take about a dozen iterations, and every request that is sent in the
# meantime would be refused, too. Chosen, not measured: a few more than a dozen.
TURNS = 16
# Seconds: what a run reads after a longer pause teaches nothing. So long it may hold places, too, if nobody knows how
# long a reply takes. Chosen, not measured: a limit that was announced a second ago is still about the present.
PAUSE = 1.0
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
        self._runs: dict[RunLane, None] = {}
        self._asleep: dict[RunLane, None] = {}
        self._holding: dict[RunLane, None] = {}  # Those of them that have requests in flight.
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

    def limit_to(self, run: RunLane, caps: Caps) -> None:
        """Replace the caps of *run*."""
        with self._lock:
            run.caps = caps
            self._cap()
        self._pump()

    def leave(self, run: RunLane) -> None:
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

    def caps(self, runs: Collection[RunLane]) -> Caps:
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

    async def admit(self, run: RunLane, estimate: Usage, since: float | None = None) -> Slot:
        """Wait until a request of *run* may be sent. Raises `TooLong` if the run would wait too long."""
        if (slot := self.admit_now(run, estimate)) is not None:
            return slot
        waiter = self.enqueue(run, estimate, since)
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            self.withdraw(waiter)
            raise

    def enqueue(self, run: RunLane, estimate: Usage, since: float | None = None) -> Waiter:
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

    def admit_now(self, run: RunLane, estimate: Usage) -> Slot | None:
        """Admit a request of *run* if it need not wait."""
        with self._lock:
            return self._at_once(run, estimate)

    def complete(self, run: RunLane, slot: Slot, outcome: Reply | CallFailed) -> None:
        """Free the slot of a request that ended, and learn from its outcome."""
        with self._lock:
            run.unsent.discard(slot.number)
            has_lapsed = slot.number in run.late
            if (kept := (run.late if has_lapsed else run.slots).pop(slot.number, None)) is not None:
                run.note(outcome)
                self._complete(run, kept, outcome, has_lapsed=has_lapsed)
        self._pump()

    def _complete(self, run: RunLane, slot: Slot, outcome: Reply | CallFailed, *, has_lapsed: bool) -> None:
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

    def sent(self, run: RunLane, number: int) -> None:
        """A request of *run* is sent now."""
        with self._lock:
            run.unsent.discard(number)
            slot, now = run.slots.get(number), _now()
            if slot is not None and now - slot.left_at > _TOLD:
                run.slots[number] = replace(slot, started=now)

    def hold(self, run: RunLane) -> None:
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

    def go_on(self, run: RunLane) -> None:
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

    def lapse(self, run: RunLane) -> None:
        """Free the places of *run*, which is paused."""
        with self._lock:
            self._lapse(run, run.now())
        self._pump()

    def _lapse(self, run: RunLane, now: float) -> None:
        """What was not sent gets a place later; what was sent and has probably ended has none. Its cost stays."""
        for number in run.unsent & run.slots.keys():
            self.pacer.released(run.slots.pop(number))
            run.gone.add(number)
        run.unsent.clear()
        if self._usual or now - run.paused_at >= PAUSE:
            for number in [number for number, slot in run.slots.items() if now - slot.sent_at >= self._usual]:
                run.late[number] = run.slots.pop(number)
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

    def release(self, run: RunLane, slot: Slot, *, is_counted: bool = False) -> None:
        """Free the slot of a request that was not sent, or was cancelled."""
        with self._lock:
            run.unsent.discard(slot.number)
            run.late.pop(slot.number, None)
            if run.slots.pop(slot.number, None) is not None:
                self.pacer.released(slot, is_counted=is_counted)
        self._pump()

    def _at_once(self, run: RunLane, estimate: Usage) -> Slot | None:
        if self._waiting and not self._is_first(run):
            return None
        now = _now()
        wait = self._wait(run, now, estimate)
        is_free = wait.seconds <= 0 and run.lost_patience(now, wait) is None
        return self._take_slot(run, now, estimate) if is_free else None

    def _wait(self, run: RunLane, now: float, estimate: Usage) -> Wait:
        rest = run.rest if len(self._runs) - len(self._asleep) == 1 else math.inf
        wait = self.pacer.wait(now, estimate, is_trying=run.is_trying, rest=rest)
        if wait.seconds <= 0 or not self._holding:
            return wait
        for one in list(self._holding):
            self._lapse(one, now)
        return self.pacer.wait(now, estimate, is_trying=run.is_trying, rest=rest)

    def _take_slot(self, run: RunLane, now: float, estimate: Usage) -> Slot:
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

    def _admit_all(self) -> list[tuple[RunLane, Event]]:
        news: list[tuple[RunLane, Event]] = []
        wait: Wait | None = None
        while self._waiting:
            waiter = self._next()
            now = time_of(waiter.loop)
            wait = self._wait(waiter.run, now, waiter.estimate)
            if (problem := waiter.run.lost_patience(now, wait)) is not None:
                self._waiting.remove(waiter)
                waiter.end(problem)
            elif wait.seconds > 0:
                if wait.seconds < math.inf:
                    wait = wait._replace(seconds=min(wait.seconds, waiter.run.patience(now)))
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

    def _is_first(self, run: RunLane) -> bool:
        return self.pacer.is_failing and run.is_trying

    def _stall(self, wait: Wait) -> list[tuple[RunLane, Event]]:
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

    def _resume(self) -> list[tuple[RunLane, Event]]:
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


@dataclass(eq=False, repr=False)
class RunLane:
    """One run's access to a lane, and a context manager. Implements `engine.limiter.Limiter`.

    Attributes:
        lane: The lane.
        caps: The limits that the run sets.
        tell: Receives the events about waiting; called on the run's own loop.
        is_stalled: Whether the run was told that it waits, and not yet that the wait is over.
        slots: Its requests in flight, by number.
        late: Its requests that were in flight when it was paused, and have probably ended: they hold no place.
        unsent: The numbers of its requests that were admitted and not sent yet.
        gone: The numbers of those of them that lost their places while it was paused.
        aside: Its requests that wait for the end of its pause.
        paused_at: When it was paused last.
        loop: Its event loop; None before its first request.
        thread: The thread of that loop.
        rest: The expected number of requests still to be sent, including the next; infinite if unknown.
    """

    lane: Lane
    caps: Caps
    tell: Callable[[Event], None]
    is_stalled: bool = False
    slots: dict[int, Slot] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop | None = None
    thread: int | None = None
    rest: float = math.inf
    late: dict[int, Slot] = field(default_factory=dict)
    unsent: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    aside: list[Waiter] = field(default_factory=list)
    paused_at: float = -math.inf
    _again: dict[int, Slot] = field(default_factory=dict)  # For those that were gone: the places that they got later.
    _slept: tuple[float, float] = (-math.inf, -math.inf)  # The last pause that was long.
    _began: float = 0.0
    _estimate: Usage = Usage()
    _tries: int = 0
    _noticed: int = field(init=False)

    def __post_init__(self) -> None:
        self._noticed = len(self.lane.pacer.notices)

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

    def now(self) -> float:
        """The time, also while its loop is paused."""
        return time_of(self.loop or asyncio.get_running_loop())

    def woke(self, now: float) -> bool:
        """Note that a pause is over. Returns whether it was long."""
        is_long = now - self.paused_at > PAUSE
        if is_long:
            self._slept = self.paused_at, now
            self._began = now  # It was not the provider that was silent.
        return is_long

    def has_slept(self, now: float, slot: Slot) -> bool:
        """Whether a request that ends now may have ended long ago, because the run was paused until just now."""
        paused_at, back_at = self._slept
        return slot.left_at <= paused_at and now < back_at + PAUSE

    @property
    def is_trying(self) -> bool:
        """Whether its next request may ignore the breaker: none has reached the provider yet, and none is in flight."""
        return self._tries < _TRIES and not self.slots

    def note(self, outcome: Reply | CallFailed) -> None:
        """Count the end of a request, to know whether one has reached the provider."""
        # A reply that is not of the protocol, such as a web page, does not come from the provider, either.
        is_nobody = isinstance(outcome, CallFailed) and (
            outcome.billing is Billing.NOT_SENT or outcome.kind == "protocol"
        )
        self._tries = self._tries + 1 if is_nobody else _TRIES

    def hear(self, event: Event) -> None:
        """Pass *event* to the run, on its own loop."""
        if self.loop is not None:
            call_on(self.loop, self.tell, event)

    def lost_patience(self, now: float, wait: Wait) -> TooLong | None:
        """Why the run stops waiting: *wait* is too long, or nothing was answered for `max_wait` seconds. Else None."""
        silence = self.lane.pacer.silence
        if wait.fact and self.caps.max_wait < wait.seconds < math.inf:
            return TooLong(
                f"{wait.fact} longer than this run waits (max_wait). Run again in {_in_words(wait.seconds)}."
            )
        if silence is not None and self.patience(now) <= 0:
            silent = _in_words(now - max(silence.since, self._began))
            return TooLong(f"has not answered a request for {silent}; the last one: {silence.last}")
        return None

    def patience(self, now: float) -> float:
        """Seconds that the run still waits for any answer; infinite while the provider answers."""
        silence = self.lane.pacer.silence
        return math.inf if silence is None else max(silence.since, self._began) + self.caps.max_wait - now

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lane.leave(self)


def hides(thread: int | None, loop: asyncio.AbstractEventLoop | None) -> bool:
    """Whether *loop* runs on this *thread*, and waits for the one that runs inside it."""
    is_here = loop is not None and thread == threading.get_ident() and loop is not running_loop()
    return is_here and loop is not None and loop.is_running()


def _now() -> float:
    return time_of(asyncio.get_running_loop())


def _in_words(seconds: float) -> str:
    if seconds < _IN_SECONDS:
        return f"{math.ceil(seconds)} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@dataclass(eq=False, repr=False)
class Waiter:
    """A request that waits for admission.

    Attributes:
        run: Its run.
        estimate: Its estimated tokens.
        loop: The event loop on which it waits.
        since: When it took its place in line.
        slot: Its slot after admission; set before it is woken.
        turn: The future that it awaits.
    """

    run: RunLane
    estimate: Usage
    loop: asyncio.AbstractEventLoop
    since: float
    slot: Slot | None = None
    turn: asyncio.Future[Slot] = field(init=False)

    def __post_init__(self) -> None:
        self.turn = self.loop.create_future()

    def end(self, result: Slot | TooLong) -> None:
        """Wake the waiter on its own loop. Sets `slot` at once: a waiter cancelled before it wakes must free it."""
        self.slot = result if isinstance(result, Slot) else None
        call_on(self.loop, self._wake, result)

    def _wake(self, result: Slot | TooLong) -> None:
        if self.turn.done():
            return
        if isinstance(result, Slot):
            self.turn.set_result(result)
        else:
            self.turn.set_exception(result)
