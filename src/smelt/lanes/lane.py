"""The thin part of a lane that knows asyncio: a queue of those who wait, and who is told about it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from smelt.engine.events import Event, Resumed, Waiting
from smelt.engine.lane import Slot, TooLong
from smelt.lanes.caps import Caps
from smelt.lanes.pacer import Pacer, Wait
from smelt.lanes.queue import Alarm, call_on, running_loop
from smelt.providers.base import Billing, CallFailed, Reply, Usage

# Requests of a run that look whether anybody is there, whatever other runs have met: as long as none reaches the provider, which
# therefore is not hammered. No fewer than the engine makes before it gives up a server that was never reached: a few side by side, and
# then those of `Policy.free_retries`.
_TRIES = 8
_IN_SECONDS = 60.0  # Seconds: what takes longer is told in minutes.
_QUIET = 1.0  # Seconds: shorter waits are pacing, and not worth a word.
# Turns of the loop that requests which left get before the next one does, as long as these come ever faster: to make one takes
# milliseconds of CPU, to connect, ask and hear a refusal a dozen turns, and every one that leaves in between is refused, too.
_TURNS = 16


class Lane:
    """Admits the requests of all runs that joined it, in the order in which they asked.

    Runs may be on different loops in different threads of the caller, so the state is guarded by a lock, which is never held
    while anything is awaited or told; a waiter is woken on its own loop. Who waits holds no slot, and who is cancelled leaves
    no trace.

    Args:
        pacer: Decides.
    """

    def __init__(self, pacer: Pacer) -> None:
        self.pacer = pacer
        self._lock = threading.Lock()
        self._waiting: deque[Waiter] = deque()
        self._runs: dict[RunLane, None] = {}
        self._alarm: Alarm | None = None
        self._told: float | None = None  # Until when the runs have been told to wait.

    def join(self, caps: Caps, tell: Callable[[Event], None]) -> RunLane:
        """A run's own door to the lane; to be closed when the run is over. The tightest caps of all that joined hold."""
        run = RunLane(self, caps, tell)
        with self._lock:
            self._runs[run] = None
            self._cap()
        return run

    def leave(self, run: RunLane) -> None:
        """A run is over; its caps no longer hold, and what it still had in flight is not waited for."""
        with self._lock:
            self._runs.pop(run, None)
            for slot in run.slots.values():
                self.pacer.released(slot)
            run.slots.clear()
            self._cap()
            if not self._runs:
                self.pacer.rest()
        self._pump()

    @property
    def is_hidden(self) -> bool:
        """Whether a run is on another loop of this thread, which therefore stands still until this one is done."""
        return any(run.thread == threading.get_ident() and run.loop is not running_loop() for run in self._runs)

    async def admit(self, run: RunLane, estimate: Usage) -> Slot:
        """Wait for a request's turn."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if not self._waiting or self._is_first(run):
                now = loop.time()
                wait = self._wait(run, now, estimate)
                if wait.seconds <= 0 and run.lost_patience(now, wait) is None:
                    return self._leave(run, now, estimate)
            waiter = Waiter(run, estimate, loop)
            self._waiting.append(waiter)
        self._pump()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def settle(self, run: RunLane, slot: Slot, outcome: Reply | CallFailed) -> None:
        """Take back the slot of a request that ended."""
        with self._lock:
            if run.slots.pop(slot.number, None) is not None:
                run.met(outcome)
                self.pacer.landed(_now(), slot, outcome)
        self._pump()

    def release(self, run: RunLane, slot: Slot) -> None:
        """Take back the slot of a request that never left."""
        with self._lock:
            if run.slots.pop(slot.number, None) is not None:
                self.pacer.released(slot)
        self._pump()

    def _wait(self, run: RunLane, now: float, estimate: Usage) -> Wait:
        rest = run.rest if len(self._runs) == 1 else math.inf
        return self.pacer.wait(now, estimate, is_trying=run.is_trying, rest=rest)

    def _leave(self, run: RunLane, now: float, estimate: Usage) -> Slot:
        slot = self.pacer.left(now, estimate)
        run.slots[slot.number] = slot
        return slot

    def _cap(self) -> None:
        if self._runs:
            self.pacer.cap(Caps.tightest(run.caps for run in self._runs))

    def _pump(self) -> None:
        """Admit whoever may leave, and set the alarm for the next one."""
        if not self._waiting and self._told is None:  # The common case, without a lock.
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
                waiter.end(self._leave(waiter.run, now, waiter.estimate))
        self._set_alarm(wait)
        news.extend(self._stall(wait) if self._waiting and wait is not None else self._resume())
        return news

    def _next(self) -> Waiter:
        """Who is to leave next: in an outage one of a run that has not seen for itself, else the one that has waited longest."""
        return next((one for one in self._waiting if self._is_first(one.run)), self._waiting[0])

    def _is_first(self, run: RunLane) -> bool:
        return self.pacer.is_failing and run.is_trying

    def _stall(self, wait: Wait) -> list[tuple[RunLane, Event]]:
        """Tell the runs that wait: each of them once, and again where it takes longer than they were told."""
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

    def _withdraw(self, waiter: Waiter) -> None:
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        if waiter.slot is not None:  # Admitted in the same moment.
            self.release(waiter.run, waiter.slot)
        self._pump()


@dataclass(eq=False, repr=False)
class RunLane:
    """One run's door to a lane; what the engine sees of it (`engine.lane.Lane`). A context manager, too.

    Attributes:
        lane: The lane.
        caps: What the run allows at the most.
        tell: Takes the events of waiting; called on the run's own loop.
        is_stalled: Whether the run was told to wait, and not yet that it is over.
        slots: The requests that it has in flight, by their numbers.
        loop: Where it runs, from its first request on.
        thread: The thread of that loop.
        rest: How many requests the run will yet send, the next one included, as far as is known.
    """

    lane: Lane
    caps: Caps
    tell: Callable[[Event], None]
    is_stalled: bool = False
    slots: dict[int, Slot] = field(default_factory=dict)
    loop: asyncio.AbstractEventLoop | None = None
    thread: int | None = None
    rest: float = math.inf
    _began: float = 0.0
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
        """Requests of this run that will be in flight at a time: as many as now are, but at the start the most."""
        return self.most if self.lane.pacer.is_starting else len(self.slots) or 1

    @property
    def notices(self) -> list[str]:
        """Sentences that the caller should see, of what happened since the run joined."""
        return list(dict.fromkeys(self.lane.pacer.notices[self._noticed :]))

    async def admit(self, estimate: Usage) -> Slot:
        """Wait until a request of this size may leave, and count it as in flight."""
        if self.loop is None:
            self.loop, self.thread, self._began = asyncio.get_running_loop(), threading.get_ident(), _now()
        if self.lane.pacer.is_starting:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        return await self.lane.admit(self, estimate)

    def settle(self, slot: Slot, outcome: Reply | CallFailed) -> None:
        """Take back the slot of a request that ended, and learn from how."""
        self.lane.settle(self, slot, outcome)

    def release(self, slot: Slot) -> None:
        """Take back the slot of a request that never left, or was broken off."""
        self.lane.release(self, slot)

    @property
    def is_trying(self) -> bool:
        """Whether its next request looks if anybody is there: none of its own has reached the provider."""
        return self._tries < _TRIES and not self.slots

    def met(self, outcome: Reply | CallFailed) -> None:
        """A request of this run ended."""
        is_nobody = isinstance(outcome, CallFailed) and (
            outcome.billing is Billing.NOT_SENT
            or outcome.kind == "protocol"  # A web page: not from the provider, either.
        )
        self._tries = self._tries + 1 if is_nobody else _TRIES

    def hear(self, event: Event) -> None:
        """Pass *event* on, on the run's own loop."""
        if self.loop is not None:
            call_on(self.loop, self.tell, event)

    def lost_patience(self, now: float, wait: Wait) -> TooLong | None:
        """Why the run waits no longer, if so: *wait* is too long, or there was no answer for too long since it began."""
        silence = self.lane.pacer.silence
        if wait.fact and self.caps.max_wait < wait.seconds < math.inf:
            return TooLong(f"{wait.fact} longer than this run waits. Come back in {_in_words(wait.seconds)}.")
        if silence is not None and self.patience(now) <= 0:
            silent = _in_words(now - max(silence.since, self._began))
            return TooLong(f"has not answered a request for {silent}; the last one: {silence.last}")
        return None

    def patience(self, now: float) -> float:
        """Seconds for which the run still goes without an answer."""
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
    """A request that waits for its turn.

    Attributes:
        run: Whose it is.
        estimate: What it is thought to take.
        loop: Where it waits.
        slot: Its slot, once it was admitted; set before it wakes.
        turn: What it awaits.
    """

    run: RunLane
    estimate: Usage
    loop: asyncio.AbstractEventLoop
    slot: Slot | None = None
    turn: asyncio.Future[Slot] = field(init=False)

    def __post_init__(self) -> None:
        self.turn = self.loop.create_future()

    def end(self, result: Slot | TooLong) -> None:
        """Wake the waiter, on its own loop. It finds its slot even where it is cancelled before it wakes."""
        self.slot = result if isinstance(result, Slot) else None
        call_on(self.loop, self._wake, result)

    def _wake(self, result: Slot | TooLong) -> None:
        if self.turn.done():
            return
        if isinstance(result, Slot):
            self.turn.set_result(result)
        else:
            self.turn.set_exception(result)
