"""A run as its lane knows it: its requests in flight and in line, its pauses, and how long it waits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from smelt.engine.events import Event
from smelt.engine.limiter import Slot, TooLong
from smelt.lanes.caps import Caps
from smelt.lanes.pacer import Silence, Wait
from smelt.lanes.queue import call_on, time_of
from smelt.providers.base import Billing, CallFailed, Reply, Usage

# Requests that a run may send although the circuit breaker is open, one at a time, until one reaches the provider. They
# do not load a failing provider, because they do not reach it. There must be at least as many as the engine makes
# before it gives up a server that it never reached: up to 16 in parallel, then the four of `Policy.free_retries`.
_TRIES = 20
_IN_SECONDS = 60.0  # Seconds: longer times are shown in minutes, as people say them.
# Seconds: what a run reads after a longer pause teaches nothing. So long it may hold places, too, if nobody knows how
# long a reply takes. Chosen, not measured: a limit that was announced a second ago is still about the present.
PAUSE = 1.0


@dataclass(eq=False, repr=False)
class JoinedRun:
    """A run that joined a lane.

    Attributes:
        caps: The limits that the run sets.
        tell: Receives the events about waiting; called on the run's own loop.
        is_stalled: Whether the run was told that it waits, and not yet that the wait is over.
        slots: Its requests in flight, by number.
        loop: Its event loop; None before its first request.
        thread: The thread of that loop.
        rest: The expected number of requests still to be sent, including the next; infinite if unknown.
        late: Its requests that were in flight when it was paused, and have probably ended: they hold no place.
        unsent: The numbers of its requests that were admitted and not sent yet.
        gone: The numbers of those of them that lost their places while it was paused.
        aside: Its requests that wait for the end of its pause.
        paused_at: When it was paused last.
    """

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
    _slept: tuple[float, float] = (-math.inf, -math.inf)  # The last pause that was long.
    _began: float = 0.0
    _tries: int = 0

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

    def lose_unsent(self) -> list[Slot]:
        """Take the places of what was not sent yet, which gets others later. Returns them."""
        lost = [self.slots.pop(number) for number in self.unsent & self.slots.keys()]
        self.gone.update(slot.number for slot in lost)
        self.unsent.clear()
        return lost

    def lapse(self, now: float, usual: float) -> int:
        """Move what was sent in or before a pause and has probably ended to `late`. Returns how many that are.

        Args:
            now: The time.
            usual: Seconds that a reply takes; zero if nobody knows.
        """
        if not usual and now - self.paused_at < PAUSE:
            return 0
        ended = [number for number, slot in self.slots.items() if now - slot.sent_at >= usual]
        for number in ended:
            self.late[number] = self.slots.pop(number)
        return len(ended)

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

    def lost_patience(self, now: float, wait: Wait, silence: Silence | None) -> TooLong | None:
        """Why the run stops waiting: *wait* is too long, or nothing was answered for `max_wait` seconds. Else None."""
        if wait.fact and self.caps.max_wait < wait.seconds < math.inf:
            return TooLong(
                f"{wait.fact} longer than this run waits (max_wait). Run again in {_in_words(wait.seconds)}."
            )
        if silence is not None and self.patience(now, silence) <= 0:
            silent = _in_words(now - max(silence.since, self._began))
            return TooLong(f"has not answered a request for {silent}; the last one: {silence.last}")
        return None

    def patience(self, now: float, silence: Silence | None) -> float:
        """Seconds that the run still waits for any answer; infinite while the provider answers."""
        return math.inf if silence is None else max(silence.since, self._began) + self.caps.max_wait - now


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

    run: JoinedRun
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


def _in_words(seconds: float) -> str:
    if seconds < _IN_SECONDS:
        return f"{math.ceil(seconds)} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
