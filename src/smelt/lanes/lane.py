"""The asyncio part of a lane: the queue of waiting requests, and the events about waiting."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from smelt.engine.events import Event, Resumed, Waiting
from smelt.engine.limiter import Slot, TooLong
from smelt.lanes.caps import Caps
from smelt.lanes.pacer import Pacer, Wait
from smelt.lanes.queue import Alarm, call_on, running_loop
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
# Seconds: a run that is paused for longer no longer counts as one that looks at its replies. Chosen, not measured: by
# so much at most it can hold up others, and a limit that is announced in a second is still about the present.
PAUSE = 1.0
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
            for slot in run.slots.values():
                self.pacer.released(slot)
            run.slots.clear()
            run.late.clear()
            self._cap()
            if not self._runs:
                self.pacer.rest()
        self._pump()

    def caps(self, of_runs: Sequence[Caps]) -> Caps:
        """The caps that apply to *of_runs* together."""
        return Caps.tightest(of_runs)

    @property
    def is_idle(self) -> bool:
        """Whether no run is registered."""
        return not self._runs

    @property
    def is_hidden(self) -> bool:
        """Whether a run uses another loop of this thread. That loop cannot run until this one ends."""
        return any(run.thread == threading.get_ident() and run.loop is not running_loop() for run in self._runs)

    async def admit(self, run: RunLane, estimate: Usage) -> Slot:
        """Wait until a request of *run* may be sent. Raises `TooLong` if the run would wait too long."""
        if (slot := self.admit_now(run, estimate)) is not None:
            return slot
        waiter = self.enqueue(run, estimate)
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            self.withdraw(waiter)
            raise

    def enqueue(self, run: RunLane, estimate: Usage, since: float | None = None) -> Waiter:
        """Let a request of *run* wait in line; *since*: when it took its place, if that was before."""
        waiter = Waiter(run, estimate, asyncio.get_running_loop(), _now() if since is None else since)
        with self._lock:
            at = len(self._waiting)
            while at and self._waiting[at - 1].since > waiter.since:
                at -= 1
            self._waiting.insert(at, waiter)
        self._pump()
        return waiter

    def admit_now(self, run: RunLane, estimate: Usage) -> Slot | None:
        """Admit a request of *run* if it need not wait."""
        with self._lock:
            return self._at_once(run, estimate)

    def complete(self, run: RunLane, slot: Slot, outcome: Reply | CallFailed) -> None:
        """Free the slot of a request that ended, and learn from its outcome."""
        with self._lock:
            now, is_late = _now(), run.late.pop(slot.number, None) is not None
            if run.slots.pop(slot.number, None) is not None:
                run.note(outcome)
                if is_late := run.has_slept(now, slot):
                    self.pacer.lapsed()
                else:
                    self._learn(now, slot, outcome)
                    self.pacer.completed(now, slot, outcome)
            if is_late:
                self.pacer.late(slot, outcome)
        self._pump()

    def lapse(self, run: RunLane) -> set[int]:
        """Requests of *run*, which is paused, that have probably ended: they are no longer in flight. Their cost stays.

        Returns:
            The numbers of their slots.
        """
        with self._lock:
            now = _now()
            lapsed = {number for number, slot in run.slots.items() if now - slot.sent_at >= self._usual}
            for number in lapsed:
                run.late[number] = run.slots.pop(number)
                self.pacer.lapsed()
        self._pump()
        return lapsed

    def _learn(self, now: float, slot: Slot, outcome: Reply | CallFailed) -> None:
        if isinstance(outcome, Reply):
            seconds = now - slot.sent_at
            self._usual = max(seconds, _MEMORY * self._usual + (1 - _MEMORY) * seconds)

    def release(self, run: RunLane, slot: Slot, *, is_counted: bool = False) -> None:
        """Free the slot of a request that was not sent, or was cancelled."""
        with self._lock:
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
        rest = run.rest if len(self._runs) == 1 else math.inf
        return self.pacer.wait(now, estimate, is_trying=run.is_trying, rest=rest)

    def _take_slot(self, run: RunLane, now: float, estimate: Usage) -> Slot:
        slot = self.pacer.left(now, estimate)
        run.slots[slot.number] = slot
        return slot

    def _cap(self) -> None:
        if self._runs:
            self.pacer.cap(self.caps([run.caps for run in self._runs]))

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
            now = waiter.loop.time()
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
        is_long, until = _QUIET <= wait.seconds < math.inf, self._waiting[0].loop.time() + wait.seconds
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
        if self._waiting and wait is not None and wait.seconds < math.inf:
            self._alarm = Alarm(self._waiting[0].loop, wait.seconds, self._pump)

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
        late: Its requests that were in flight when it was paused, and have probably ended.
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
    _paused_at: float = 0.0
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
        self._estimate = estimate

    async def sending(self, slot: Slot) -> None:
        """Do nothing: a lane of this process gives up no place."""

    def complete(self, slot: Slot, outcome: Reply | CallFailed, cost_usd: float | None = None) -> None:
        """Free the slot of a request that ended, and adapt the limits to its outcome."""
        self.lane.complete(self, slot, outcome)

    def release(self, slot: Slot, *, is_counted: bool = False) -> None:
        """Free the slot of a request that was not sent or was cancelled; do nothing if it is free already."""
        self.lane.release(self, slot, is_counted=is_counted)

    def limit_to(self, caps: Caps) -> None:
        """Replace the limits that the run sets."""
        self.lane.limit_to(self, caps)

    def pause(self) -> None:
        """The run looks at no reply from now on. Its waiting requests must have been withdrawn."""
        self._paused_at = _now()

    def go_on(self) -> float:
        """The run looks at its replies again. Returns for how many seconds it did not."""
        now = _now()
        if (seconds := now - self._paused_at) > PAUSE:
            self._slept = self._paused_at, now
            self._began = now  # It was not the provider that was silent.
        return seconds

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


def _now() -> float:
    return asyncio.get_running_loop().time()


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
