"""The lanes and jobs of a pacer, and its clients: one connection for each run of a process elsewhere."""

from __future__ import annotations

import asyncio
import hmac
import math
import os
import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from smelt.engine.events import Event, Waiting
from smelt.engine.limiter import Slot
from smelt.lanes.allowance import Allowance, Spent
from smelt.lanes.caps import Caps
from smelt.lanes.jobs import SharedJob, SharedJobs, forget_idle
from smelt.lanes.lane import PAUSE, Lane, RunLane, Waiter
from smelt.lanes.lines import (
    VERSION,
    Lines,
    caps_of,
    dollars_of,
    keep_alive,
    outcome_of,
    proof_of,
    seconds_of,
    tokens_of,
)
from smelt.lanes.pacer import Pacer
from smelt.providers.base import Billing, CallFailed, Reply, Usage

Show = Callable[[str, Mapping[str, Any]], None]
BEAT = 1.0  # Seconds between two signs of life to clients whose requests wait.
_MOST_LANES = 1_000  # More models and keys than machines use at a time.
_MOST_WANTED = 20_000  # Requests of one client.
_NAME = 200  # Characters of the name of a lane, a job, a run or a block.
_TO_JOIN = 5.0  # Seconds for a new connection to prove that it knows the token.


class SharedLane(Lane):
    """The lane of runs in many processes: each has so many requests in flight as it wants, and all of them the sum."""

    def caps(self, runs: Collection[RunLane]) -> Caps:
        """The caps that apply to *runs* together."""
        return Caps.together([run.caps for run in runs])


class Pacers:
    """The lanes of a server, and its clients.

    Args:
        token: What clients must know; empty if the socket itself is closed to others.
        rng: Draws the jitter.
        show: Gets the name of a job and how far it is, now and then, as `JobHeadway.figures` says it.
    """

    def __init__(self, token: str, rng: random.Random | None = None, show: Show = lambda job, figures: None) -> None:
        self.token = token
        self.salt = os.urandom(16).hex()
        self.clients: set[Client] = set()
        self._rng = rng or random.Random()
        self._show = show
        self.jobs = SharedJobs()
        self._lanes: OrderedDict[str, SharedLane] = OrderedDict()
        self._beat: asyncio.TimerHandle | None = None

    def connection(self) -> Client:
        """The protocol of a new connection."""
        if self._beat is None:
            self._beat = asyncio.get_running_loop().call_later(BEAT, self._beats)
        return Client(self)

    def lane(self, name: str, provider: str, at_once: int | None, caps: Caps) -> SharedLane:
        """The lane called *name*."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = SharedLane(Pacer(provider=provider, caps=caps, at_once=at_once, rng=self._rng))
        self._lanes.move_to_end(name)
        forget_idle(self._lanes, _MOST_LANES, lambda one: one.is_idle)
        return lane

    def pump(self, job: SharedJob) -> None:
        """Admit or refuse the requests of *job* that wait for its limits, as far as that is decided."""
        now = asyncio.get_running_loop().time()
        while job.line:
            client, number, spent = job.line[0]
            if number in client.bids:
                why = job.refusal(now, is_limited=client.is_limited, is_halted=client.is_halted)
                if why is None and not job.take((client, number), spent):
                    if job.is_spent:
                        continue
                    return
                client.decided(number, why)
            job.line.popleft()

    def refuse(self, job: SharedJob) -> None:
        """Refuse the requests of *job* that wait for anything, if it is over."""
        for client in [*job.clients]:
            client.give_up()
        self.pump(job)

    def close(self) -> None:
        """Drop all clients; each goes on by itself."""
        if self._beat is not None:
            self._beat.cancel()
        for client in [*self.clients]:
            client.drop()

    def headway(self, job: SharedJob) -> dict[str, Any] | None:
        """How far *job* is, if that is new; then this server shows it, too."""
        now = asyncio.get_running_loop().time()
        until, reason = max((client.waits for client in job.clients), default=(0.0, ""))
        in_flight = sum(client.in_flight for client in job.clients)
        figures = job.headway.figures(job.look(), in_flight, (max(0.0, until - now), reason))
        if not job.headway.is_new(figures, now):
            return None
        self._show(job.name, figures)
        return figures

    def _tell_headway(self) -> None:
        """Have a process of each job show how far it is, if that is due."""
        now = asyncio.get_running_loop().time()
        for job in {client.job for client in self.clients}:
            if job is None or not job.headway.is_due(now) or (figures := self.headway(job)) is None:
                continue
            able = [client for client in job.clients if client.is_shown and not client.is_paused]
            if able and job.headway.speaker not in able:
                job.headway.speaker = able[0]
            if able:
                job.headway.speaker.say("p", figures)

    def _beats(self) -> None:
        for client in [*self.clients]:
            client.beat()
        self._tell_headway()
        self._beat = asyncio.get_running_loop().call_later(BEAT, self._beats)


class Wanted(NamedTuple):
    """A request of a client, from its first line to its end.

    Attributes:
        estimate: Its estimated tokens.
        spent: What it is expected to take of the job's limits, if there are any.
        since: When it came.
    """

    estimate: Usage
    spent: Spent | None
    since: float


class Client(Lines):
    """One connection: one run of a process elsewhere, or one line about a job.

    Attributes:
        waiting: The requests that wait for the lane, by the client's numbers.
        bids: The numbers of those that wait for the limits of the job.
        is_paused: Whether it looks at nothing that is said now.
        is_limited: Whether its run knows of such limits.
        is_halted: Whether the driver of its job was interrupted.
        is_shown: Whether it shows how far the job is.
        waits: Until when it waits, and for what; no words if it does not wait.
    """

    def __init__(self, pacers: Pacers) -> None:
        super().__init__()
        self.waiting: dict[int, Waiter] = {}
        self.bids: set[int] = set()
        self.is_limited = self.is_halted = self.is_paused = self.is_shown = False
        self.waits = (0.0, "")
        self._pacers = pacers
        self._nonce = os.urandom(16).hex()
        self._run: RunLane | None = None
        self._job: SharedJob | None = None
        self._name = ""  # Of the run.
        self._slots: dict[int, Slot] = {}
        self._wanted: dict[int, Wanted] = {}  # All its requests, and of these
        self._unsent: set[int] = set()  # those that it had not sent when it paused,
        self._lapsed: list[int] = []  # those of them that lost their places,
        self._again: list[int] = []  # and those that queue again when it looks again.
        self._paused_at = 0.0
        self._patience = self._loop.call_later(_TO_JOIN, self.drop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client."""
        super().connection_made(transport)
        keep_alive(transport)
        self._pacers.clients.add(self)
        self.say(VERSION, self._pacers.salt, self._nonce)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free what the client had in flight."""
        self._patience.cancel()
        self._pacers.clients.discard(self)
        if self._run is not None:
            self._withdraw()
            self._run.lane.leave(self._run)
        if (job := self._job) is not None:
            job.clients.discard(self)
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
            self._pacers.pump(job)

    def _lost(self) -> list[int]:
        """The requests that it may have sent and that did not end.

        It sends no more at a time than its own limit: later places became free, and were given to it, after its death.
        """
        most = 0 if self._run is None else self._run.caps.concurrency
        return [number for number in self._slots if number not in self._unsent][:most]

    def heard(self, line: list[Any]) -> None:
        """As `Lines.heard`."""
        what, *rest = line
        if self._run is None:
            self._begin(what, *rest)
        elif what == "a":
            self._admit(self._run, *rest)
        elif what == "d":
            if (slot := self._slots.pop(rest[0], None)) is not None:
                self._completed(self._run, rest[0], slot, dollars_of(rest[1]), outcome_of(rest[2:]))
        elif what == "r":
            self._released(self._run, *rest)
        elif what == "c":
            self._cancelled(self._run, rest[0])
        elif what == "l":
            self._run.limit_to(caps_of(*rest))
        elif what == "n":
            if self._job is not None:
                self.is_shown = True
                self._job.headway.hear(self._name, rest)
        elif what == "h":
            self._pause(self._run, *rest)
        elif what == "g":
            self._go_on(self._run)

    def _begin(self, what: str, proof: object, name: str, *rest: Any) -> None:
        wanted = proof_of(self._pacers.token, self._nonce, name)
        if not hmac.compare_digest(wanted.encode(), str(proof).encode()):
            self._answer("x", "the token is another one")
        elif what == "join":
            self._patience.cancel()
            self._join(name, *rest)
        else:
            self._answer("k", self._told(what, self._pacers.jobs.named(name[:_NAME]), *rest))

    def _answer(self, *line: Any) -> None:
        self.say(*line)
        self.flush()
        assert self.transport is not None
        self.transport.close()

    def _told(self, what: str, job: SharedJob, *rest: Any) -> Any:
        """The answer to a line about *job*."""
        now = self._loop.time()
        match what:
            case "end":
                block, run, line = rest
                stop = job.end(str(block)[:_NAME], str(run)[:_NAME], line)
                if stop is not None and job.stop(stop, now):
                    self._pacers.refuse(job)
                if all(client.is_of(str(run)) for client in job.clients) and job.headway.may_end(now):
                    return self._pacers.headway(job)
            case "open":
                max_cost, max_tokens, deadline = rest
                job.limit(dollars_of(max_cost), tokens_of(max_tokens), seconds_of(deadline))
            case "begin":
                return job.left(now)
            case "halt":
                job.halt(now)
                self._pacers.refuse(job)
            case "look":
                return job.look()
            case _:
                raise ValueError("No line begins so.")
        return None

    def _join(
        self, lane: str, provider: str, at_once: int | None, job: str, run: str, is_limited: object, *caps: object
    ) -> None:
        most = caps_of(*caps)
        shared = self._pacers.lane(str(lane)[:_NAME], str(provider)[:50], tokens_of(at_once), most)
        if job:
            self._job, self._name = self._pacers.jobs.named(str(job)[:_NAME]), str(run)[:_NAME]
            self._job.clients.add(self)
            self.is_limited, self.is_halted = bool(is_limited), self._job.is_halted(self._loop.time())
        self._run = shared.join(most, self._tell)
        self.say("j")

    def _released(self, run: RunLane, number: int, is_counted: object, is_sent: object) -> None:
        """A request was cancelled. If it was sent, it may be billed, unless the provider refused it."""
        self._wanted.pop(number, None)
        if (slot := self._slots.pop(number, None)) is None:
            return
        run.release(slot, is_counted=bool(is_counted))
        if self._job is None or is_counted or not is_sent:
            self._free(number)
            return
        self._job.hear(self._name, {"requests": 1, "possible_duplicates": 1}, 0.0)
        self._charge(number, None, None)
        self._pacers.pump(self._job)

    def beat(self) -> None:
        """Show a sign of life; or, to a client that has looked away for long, nothing."""
        if self.waiting or self.bids:
            self.say(".")
        if self.is_paused and self._run is not None and self._loop.time() - self._paused_at >= PAUSE:
            self._lapse(self._run)

    def _pause(self, run: RunLane, waiting: list[int], unsent: list[int]) -> None:
        """It looks at nothing from now on. What waits must not be admitted, nor hold what others wait for."""
        if self.is_paused:
            raise ValueError("It is paused already.")
        self.is_paused, self._paused_at = True, self._loop.time()
        self.bids.clear()
        self._withdraw()
        for number in waiting:
            if (slot := self._slots.pop(number, None)) is not None:  # It has not seen that it may send this one.
                run.release(slot)
                self._free(number)
        self._again = [number for number in waiting if number in self._wanted]
        self._unsent = self._slots.keys() & set(unsent)
        run.hold()
        if self._job is not None:
            self._pacers.pump(self._job)

    def _lapse(self, run: RunLane) -> None:
        """Free the places of a client that has looked away for long: what it has sent has ended, or soon will."""
        for number in self._unsent & self._slots.keys():
            run.release(self._slots.pop(number))
            self._free(number)
            self._wanted.pop(number, None)
            self._lapsed.append(number)
        self._unsent = set()
        run.lane.lapse(run)
        if self._job is not None and (allowance := self._job.allowance) is not None and run.late:
            for number, slot in self._slots.items():
                if slot.number in run.late:
                    allowance.lapse((self, number))
            self._pacers.pump(self._job)

    def _go_on(self, run: RunLane) -> None:
        """It looks again: what waited queues again, after a short pause where it was."""
        if not self.is_paused:
            raise ValueError("It is not paused.")
        self.is_paused = False
        self.say("g", self._lapsed)
        run.go_on()
        is_long = self._loop.time() - self._paused_at > PAUSE
        again, self._again, self._lapsed, self._unsent = self._again, [], [], set()
        for number in again:
            if (wanted := self._wanted.get(number)) is not None:
                wanted = wanted._replace(since=self._loop.time()) if is_long else wanted
                self._bid(run, number, wanted)

    def _completed(
        self, run: RunLane, number: int, slot: Slot, cost_usd: float | None, outcome: Reply | CallFailed
    ) -> None:
        self._wanted.pop(number, None)
        run.complete(slot, outcome)
        if self._job is None:
            return
        usage, is_gratis = outcome.usage, is_free(outcome)
        is_billed = isinstance(outcome, Reply) or usage.is_reported  # Else nobody knows, and no run counts dollars.
        self._job.hear(self._name, _counts(outcome), cost_usd if is_billed else 0.0)
        if is_gratis:
            self._free(number)
        else:
            self._charge(number, cost_usd, (usage.input_tokens or 0) + (usage.output_tokens or 0))
            self._pacers.pump(self._job)

    @property
    def _allowance(self) -> Allowance | None:
        return None if self._job is None else self._job.allowance

    def _charge(self, number: int, cost_usd: float | None, tokens: int | None) -> None:
        if (allowance := self._allowance) is not None:
            allowance.charge((self, number), cost_usd, tokens)

    def _free(self, number: int) -> None:
        """The request costs nothing."""
        if self._job is not None and (allowance := self._allowance) is not None:
            allowance.free((self, number))
            self._pacers.pump(self._job)

    def _cancelled(self, run: RunLane, number: int) -> None:
        self._wanted.pop(number, None)
        self.bids.discard(number)
        if (waiter := self.waiting.pop(number, None)) is not None:
            run.lane.withdraw(waiter)
        elif (slot := self._slots.pop(number, None)) is not None:
            run.release(slot)
        self._free(number)

    def _admit(
        self, run: RunLane, number: int, input_tokens: object, output_tokens: object, rest: object, cost: object = None
    ) -> None:
        if number in self._wanted or len(self._wanted) >= _MOST_WANTED or self.is_paused:
            raise ValueError("The request is there already, or there are too many, or it is paused.")
        run.rest = math.inf if rest is None else float(tokens_of(rest) or 0)
        estimate = Usage(input_tokens=tokens_of(input_tokens), output_tokens=tokens_of(output_tokens))
        tokens = (estimate.input_tokens or 0) + (estimate.output_tokens or 0)
        spent = Spent(dollars_of(cost) or 0.0, tokens) if tokens else None
        wanted = self._wanted[number] = Wanted(estimate, spent, self._loop.time())
        self._bid(run, number, wanted)

    def _bid(self, run: RunLane, number: int, wanted: Wanted) -> None:
        """Queue for the limits of the job, if there is one, and then for the lane."""
        if self._job is None:
            self._enter(run, number, wanted)
            return
        self.bids.add(number)
        self._job.line.append((self, number, wanted.spent))
        self._pacers.pump(self._job)

    def decided(self, number: int, why: list[Any] | None) -> None:
        """The request is within the limits of the job, or *why* not."""
        self.bids.discard(number)
        assert self._run is not None
        if why is None:
            self._enter(self._run, number, self._wanted[number])
        else:
            self._refuse(number, *why)

    def _refuse(self, number: int, what: str, *words: Any) -> None:
        del self._wanted[number]
        self.say(what, number, *words)

    def give_up(self) -> None:
        """Refuse the requests that wait for the lane, if the job is over."""
        job, now = self._job, self._loop.time()
        if job is None or (why := job.refusal(now, is_limited=self.is_limited, is_halted=self.is_halted)) is None:
            return
        for number in self._withdraw():
            self._refuse(number, *why)

    def _withdraw(self) -> list[int]:
        """Take the requests that wait out of the lane."""
        numbers = [*self.waiting]
        for number in numbers:
            assert self._run is not None
            self._run.lane.withdraw(self.waiting.pop(number))
            if (allowance := self._allowance) is not None:
                allowance.free((self, number))
        return numbers

    def _enter(self, run: RunLane, number: int, wanted: Wanted) -> None:
        slot = run.admit_now(wanted.estimate)
        if slot is not None:
            self._grant(run, number, slot)
        else:
            waiter = self.waiting[number] = run.lane.enqueue(run, wanted.estimate, wanted.since)
            waiter.turn.add_done_callback(partial(self._turned, run, number))

    def _turned(self, run: RunLane, number: int, turn: asyncio.Future[Slot]) -> None:
        problem = None if turn.cancelled() else turn.exception()
        if self.waiting.pop(number, None) is None or turn.cancelled():
            return  # It was withdrawn.
        if problem is not None:
            self._free(number)
            self._refuse(number, "t", str(problem))
        else:
            self._grant(run, number, turn.result())

    def _grant(self, run: RunLane, number: int, slot: Slot) -> None:
        self._slots[number] = slot
        run.unsent.discard(slot.number)  # Its client says what it has sent.
        pacer = run.lane.pacer
        self.say("s", number, pacer.limit, pacer.in_flight, pacer.is_starting, run.is_paced)

    @property
    def job(self) -> SharedJob | None:
        """The job of its run."""
        return self._job

    @property
    def in_flight(self) -> int:
        """Its requests in flight."""
        return len(self._slots)

    def is_of(self, run: str) -> bool:
        """Whether its run is called *run*."""
        return self._name == run

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
