"""One run of a process elsewhere at a pacer: its requests, from when they are wanted to their ends."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from smelt.engine.events import Event, Waiting
from smelt.engine.limiter import Slot
from smelt.lanes.allowance import Allowance, Spent
from smelt.lanes.caps import Caps
from smelt.lanes.jobs import SharedJob
from smelt.lanes.joinedrun import PAUSE, Waiter
from smelt.lanes.lane import Lane
from smelt.lanes.lines import caps_of, dollars_of, outcome_of, tokens_of
from smelt.providers.base import Billing, CallFailed, Reply, Usage

_MOST_WANTED = 20_000  # Requests of one run.


class Wanted(NamedTuple):
    """A request of a run, from its first line to its end.

    Attributes:
        estimate: Its estimated tokens.
        spent: What it is expected to take of the job's limits, if there are any.
        since: When it came.
    """

    estimate: Usage
    spent: Spent | None
    since: float


class SharedRun:
    """A run, between its connection, its lane and its job.

    Attributes:
        job: The job that it is a part of; None if it is alone.
        waiting: The requests that wait for the lane, by the client's numbers.
        bids: The numbers of those that wait for the limits of the job.
        is_paused: Whether it looks at nothing that is said now.
        is_limited: Whether it knows of such limits.
        is_halted: Whether the driver of its job was interrupted.
        is_shown: Whether it shows how far the job is.
        waits: Until when it waits, and for what; no words if it does not wait.
        say: Says a line to its process.
    """

    def __init__(
        self,
        lane: Lane,
        caps: Caps,
        job: SharedJob | None,
        name: str,
        say: Callable[..., None],
        *,
        is_limited: bool = False,
    ) -> None:
        """Join *lane* and *job*; *name*: what the run is called."""
        self.job = job
        self.waiting: dict[int, Waiter] = {}
        self.bids: set[int] = set()
        self.is_limited = is_limited
        self.is_halted = self.is_paused = self.is_shown = False
        self.waits = (0.0, "")
        self.say = say
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._slots: dict[int, Slot] = {}
        self._wanted: dict[int, Wanted] = {}  # All its requests, and of these
        self._unsent: set[int] = set()  # those that it had not sent when it paused,
        self._lapsed: list[int] = []  # those of them that lost their places,
        self._again: list[int] = []  # and those that queue again when it looks again.
        if job is not None:
            job.runs.add(self)
            self.is_halted = job.is_halted(self._loop.time())
        self._run = lane.join(caps, self._tell)

    @property
    def in_flight(self) -> int:
        """Its requests in flight."""
        return len(self._slots)

    def is_called(self, name: str) -> bool:
        """Whether it is called *name*."""
        return self._name == name

    def hear(self, what: str, rest: list[Any]) -> None:
        """It said a line. Raises ValueError, TypeError or IndexError if that is none of a run."""
        match what:
            case "a":
                self._admit(*rest)
            case "d":
                if (slot := self._slots.pop(rest[0], None)) is not None:
                    self._completed(rest[0], slot, dollars_of(rest[1]), outcome_of(rest[2:]))
            case "r":
                self._released(*rest)
            case "c":
                self._cancelled(rest[0])
            case "l":
                self._run.limit_to(caps_of(*rest))
            case "n":
                if self.job is not None:
                    self.is_shown = True
                    self.job.headway.hear(self._name, rest)
            case "h":
                self._pause(*rest)
            case "g":
                self._go_on()

    def close(self) -> None:
        """Free what it had in flight: its connection has ended."""
        self._withdraw()
        self._run.lane.leave(self._run)
        if (job := self.job) is None:
            return
        job.runs.discard(self)
        job.headway.forget(self._name)
        if job.headway.speaker is self:
            job.headway.speaker = None
        lost = self._lost()
        if lost:
            job.hear(self._name, {"possible_duplicates": len(lost)}, 0.0)
        for number in lost:
            self._charge(number, None, None)
        for number in self._slots.keys() - set(lost):
            self._free(number)
        self.bids.clear()
        self._pump()

    def _lost(self) -> list[int]:
        """The requests that it may have sent and that did not end.

        It sends no more at a time than its own limit: later places became free, and were given to it, after its death.
        """
        return [number for number in self._slots if number not in self._unsent][: self._run.caps.concurrency]

    def beat(self) -> None:
        """Show a sign of life; or, to a process that has looked away for long, nothing."""
        if self.waiting or self.bids:
            self.say(".")
        if self.is_paused and self._loop.time() - self._run.paused_at >= PAUSE:
            self._lapse()

    def decided(self, number: int, why: list[Any] | None) -> None:
        """The request is within the limits of the job, or *why* not."""
        self.bids.discard(number)
        if why is None:
            self._enter(number, self._wanted[number])
        else:
            self._refuse(number, *why)

    def give_up(self) -> None:
        """Refuse the requests that wait for the lane, if the job is over."""
        job, now = self.job, self._loop.time()
        if job is None or (why := job.refusal(now, is_limited=self.is_limited, is_halted=self.is_halted)) is None:
            return
        for number in self._withdraw():
            self._refuse(number, *why)

    def _admit(
        self, number: int, input_tokens: object, output_tokens: object, rest: object, cost: object = None
    ) -> None:
        if number in self._wanted or len(self._wanted) >= _MOST_WANTED or self.is_paused:
            raise ValueError("The request is there already, or there are too many, or it is paused.")
        self._run.rest = math.inf if rest is None else float(tokens_of(rest) or 0)
        estimate = Usage(input_tokens=tokens_of(input_tokens), output_tokens=tokens_of(output_tokens))
        tokens = (estimate.input_tokens or 0) + (estimate.output_tokens or 0)
        spent = Spent(dollars_of(cost) or 0.0, tokens) if tokens else None
        wanted = self._wanted[number] = Wanted(estimate, spent, self._loop.time())
        self._bid(number, wanted)

    def _bid(self, number: int, wanted: Wanted) -> None:
        """Queue for the limits of the job, if there is one, and then for the lane."""
        if self.job is None:
            self._enter(number, wanted)
            return
        self.bids.add(number)
        self.job.line.append((self, number, wanted.spent))
        self._pump()

    def _enter(self, number: int, wanted: Wanted) -> None:
        slot = self._run.admit_now(wanted.estimate)
        if slot is not None:
            self._grant(number, slot)
        else:
            waiter = self.waiting[number] = self._run.lane.enqueue(self._run, wanted.estimate, wanted.since)
            waiter.turn.add_done_callback(partial(self._turned, number))

    def _turned(self, number: int, turn: asyncio.Future[Slot]) -> None:
        problem = None if turn.cancelled() else turn.exception()
        if self.waiting.pop(number, None) is None or turn.cancelled():
            return  # It was withdrawn.
        if problem is not None:
            self._free(number)
            self._refuse(number, "t", str(problem))
        else:
            self._grant(number, turn.result())

    def _grant(self, number: int, slot: Slot) -> None:
        self._slots[number] = slot
        if self.job is not None:
            self.job.grant((self, number))
        self._run.unsent.discard(slot.number)  # Its process says what it has sent.
        pacer = self._run.lane.pacer
        self.say("s", number, pacer.limit, pacer.in_flight, pacer.is_starting, self._run.is_paced)

    def _refuse(self, number: int, what: str, *words: Any) -> None:
        del self._wanted[number]
        self.say(what, number, *words)

    def _completed(self, number: int, slot: Slot, cost_usd: float | None, outcome: Reply | CallFailed) -> None:
        self._wanted.pop(number, None)
        self._run.complete(slot, outcome)
        if self.job is None:
            return
        usage, is_gratis = outcome.usage, is_free(outcome)
        is_billed = isinstance(outcome, Reply) or usage.is_reported  # Else nobody knows, and no run counts dollars.
        self.job.hear(self._name, _counts(outcome), cost_usd if is_billed else 0.0)
        if is_gratis:
            self._free(number)
        else:
            self._charge(number, cost_usd, (usage.input_tokens or 0) + (usage.output_tokens or 0))
            self._pump()

    def _released(self, number: int, is_counted: object, is_sent: object) -> None:
        """A request was cancelled. If it was sent, it may be billed, unless the provider refused it."""
        self._wanted.pop(number, None)
        if (slot := self._slots.pop(number, None)) is None:
            return
        self._run.release(slot, is_counted=bool(is_counted))
        if self.job is None or is_counted or not is_sent:
            self._free(number)
            return
        self.job.hear(self._name, {"requests": 1, "possible_duplicates": 1}, 0.0)
        self._charge(number, None, None)
        self._pump()

    def _cancelled(self, number: int) -> None:
        self._wanted.pop(number, None)
        self.bids.discard(number)
        if (waiter := self.waiting.pop(number, None)) is not None:
            self._run.lane.withdraw(waiter)
        elif (slot := self._slots.pop(number, None)) is not None:
            self._run.release(slot)
        self._free(number)

    def _withdraw(self) -> list[int]:
        """Take the requests that wait out of the lane."""
        numbers = [*self.waiting]
        for number in numbers:
            self._run.lane.withdraw(self.waiting.pop(number))
            if (allowance := self._allowance) is not None:
                allowance.free((self, number))
        return numbers

    def _pause(self, waiting: list[int], unsent: list[int]) -> None:
        """It looks at nothing from now on. What waits must not be admitted, nor hold what others wait for."""
        if self.is_paused:
            raise ValueError("It is paused already.")
        self.is_paused = True
        self.bids.clear()
        self._withdraw()
        for number in waiting:
            if (slot := self._slots.pop(number, None)) is not None:  # It has not seen that it may send this one.
                self._run.release(slot)
                self._free(number)
        self._again = [number for number in waiting if number in self._wanted]
        self._unsent = self._slots.keys() & set(unsent)
        self._run.hold()
        self._pump()

    def _lapse(self) -> None:
        """Free the places of a run that has looked away for long: what it has sent has ended, or soon will."""
        for number in self._unsent & self._slots.keys():
            self._run.release(self._slots.pop(number))
            self._free(number)
            self._wanted.pop(number, None)
            self._lapsed.append(number)
        self._unsent = set()
        self._run.lane.lapse(self._run)
        if (allowance := self._allowance) is not None and self._run.late:
            for number, slot in self._slots.items():
                if slot.number in self._run.late:
                    allowance.lapse((self, number))
            self._pump()

    def _go_on(self) -> None:
        """It looks again: what waited queues again, after a short pause where it was."""
        if not self.is_paused:
            raise ValueError("It is not paused.")
        self.is_paused = False
        self.say("g", self._lapsed)
        self._run.go_on()
        is_long = self._loop.time() - self._run.paused_at > PAUSE
        again, self._again, self._lapsed, self._unsent = self._again, [], [], set()
        for number in again:
            if (wanted := self._wanted.get(number)) is not None:
                wanted = wanted._replace(since=self._loop.time()) if is_long else wanted
                self._bid(number, wanted)

    @property
    def _allowance(self) -> Allowance | None:
        return None if self.job is None else self.job.allowance

    def _charge(self, number: int, cost_usd: float | None, tokens: int | None) -> None:
        if self.job is not None:
            self.job.charge((self, number), cost_usd, tokens)

    def _free(self, number: int) -> None:
        """The request costs nothing."""
        if (allowance := self._allowance) is not None:
            allowance.free((self, number))
            self._pump()

    def _pump(self) -> None:
        if self.job is not None:
            self.job.pump(self._loop.time())

    def _tell(self, event: Event) -> None:
        self.waits = (0.0, "")
        if isinstance(event, Waiting):
            self.waits = (self._loop.time() + event.seconds, event.reason)
            self.say("w", event.seconds, event.reason)
        else:
            self.say("w")


def is_free(outcome: Reply | CallFailed) -> bool:
    """Whether a request that ended so costs nothing."""
    return isinstance(outcome, CallFailed) and outcome.billing in (Billing.NOT_SENT, Billing.REJECTED)


def _counts(outcome: Reply | CallFailed) -> dict[str, int | None]:
    usage, is_unknown = outcome.usage, isinstance(outcome, CallFailed) and outcome.billing is Billing.UNKNOWN
    return {
        "requests": 1,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "possible_duplicates": int(is_unknown),
    }
