"""A small provider in virtual time, and a run that asks it through a lane: no engine, no rows, no network."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from smelt.engine.events import Event
from smelt.engine.limiter import Slot
from smelt.lanes.board import SIZE, Board, Find
from smelt.lanes.caps import Caps
from smelt.lanes.lane import Lane, RunLane
from smelt.lanes.pacer import Pacer
from smelt.lanes.remote import RemoteLane
from smelt.providers.base import Billing, CallFailed, Reply, Usage
from tests.fakeserver.limiter import Limit, Limiter
from tests.fakeserver.messages import Limits
from tests.fakeserver.protocols import OpenAI

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
USAGE = Usage(input_tokens=200, output_tokens=100)


@dataclass(kw_only=True, eq=False, repr=False)
class Server:
    """A provider.

    Attributes:
        limit: Its rate limit, or None.
        latency: Seconds that a reply takes.
        jitter: Share of the latency by which it varies.
        transit: Seconds that a refusal takes, varied in the same way.
        slots: Requests that it works on at a time, while the others queue; None for any number.
        faults: Kinds of failures to deal out among the replies, one deck after the other; None for a good reply.
        stalls: Share of requests that take 30 s.
        freezes: Pairs of seconds between which it reads no request; it decides about those that came meanwhile at the
            end.
        outage: From when to when nothing is answered.
        steps: Limits that hold from a moment on.
        charges: Tokens that the limit counts for a request.
        says: How limits are announced.
        is_late: Whether limits are announced as they are when the reply leaves, or as they were on admission.
        rng: Draws everything.
    """

    limit: Limit | None = None
    latency: float = 0.5
    jitter: float = 0.3
    transit: float = 0.04
    slots: int | None = None
    faults: Sequence[str | None] = ()
    stalls: float = 0.0
    freezes: Sequence[tuple[float, float]] = ()
    outage: tuple[float, float] = (math.inf, math.inf)
    steps: Sequence[tuple[float, Limit]] = ()
    charges: int = 300
    says: str = "openai"
    is_late: bool = False
    rng: random.Random = field(default_factory=random.Random)
    asked: list[tuple[float, str, object]] = field(default_factory=list)  # When, what came of it, and who asked.
    in_flight: int = 0
    _limiter: Limiter | None = None
    _deck: list[str | None] = field(default_factory=list)
    _working: asyncio.Semaphore | None = None

    def __post_init__(self) -> None:
        self._steps = list(self.steps)
        self._working = None if self.slots is None else asyncio.Semaphore(self.slots)

    async def send(self, who: object = None) -> Reply:
        """Answer a request that *who* sends."""
        self.in_flight += 1
        try:
            await _thaw(self.freezes)
            return await self._send(who)
        finally:
            self.in_flight -= 1

    async def _send(self, who: object) -> Reply:
        now = asyncio.get_running_loop().time()
        if self.outage[0] <= now < self.outage[1]:
            await self._fail(who, "server")
        limiter = self._limiter_at(now)
        wait = None if limiter is None else limiter.refuse(self.charges, self.in_flight)
        if limiter is not None and wait is not None:
            self.asked.append((now, "rate_limit", who))
            announced = self._announced(limiter)
            await asyncio.sleep(self._vary(self.transit))
            told = max(1.0, math.ceil(wait)) if limiter.limit.retry_after else None
            raise CallFailed("rate_limit", Billing.REJECTED, "Slow down.", retry_after=told, limits=announced)
        if (fault := self._next_fault()) is not None:
            await self._fail(who, fault)
        self.asked.append((now, "reply", who))
        announced = self._announced(limiter)
        await self._work()
        if limiter is not None and self.is_late:
            announced = self._announced(limiter)
        return Reply(text="{}", usage=USAGE, limits=announced)

    async def _work(self) -> None:
        seconds = 30.0 if self.rng.random() < self.stalls else self._vary(self.latency)
        if self._working is None:
            await asyncio.sleep(seconds)
            return
        async with self._working:
            await asyncio.sleep(seconds)

    async def _fail(self, who: object, kind: str) -> None:
        self.asked.append((asyncio.get_running_loop().time(), kind, who))
        await asyncio.sleep(self._vary(self.transit))
        billing = Billing.REJECTED if kind == "server" else Billing.UNKNOWN
        raise CallFailed("server" if kind == "server" else "connection", billing, "Broken.")

    def _limiter_at(self, now: float) -> Limiter | None:
        while self._steps and self._steps[0][0] <= now:
            self.limit, self._limiter = self._steps.pop(0)[1], None
        if self.limit is not None and self._limiter is None:
            self._limiter = Limiter(self.limit, asyncio.get_running_loop().time)
        return self._limiter

    def _next_fault(self) -> str | None:
        if not self.faults:
            return None
        if not self._deck:
            self._deck = self.rng.sample(self.faults, len(self.faults))
        return self._deck.pop()

    def _announced(self, limiter: Limiter | None) -> dict[str, str]:
        limits = None if limiter is None else limiter.announced()
        if limits is None:
            return {}
        return OpenAI().limits(limits) if self.says == "openai" else _as_anthropic(limits)

    def _vary(self, seconds: float) -> float:
        return seconds * self.rng.uniform(1 - self.jitter, 1 + self.jitter)


def _as_anthropic(limits: Limits) -> dict[str, str]:
    now = EPOCH + timedelta(seconds=asyncio.get_running_loop().time())

    def point(seconds: float) -> str:
        return (now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    return {
        "date": format_datetime(now, usegmt=True),
        "anthropic-ratelimit-requests-limit": str(limits.requests),
        "anthropic-ratelimit-requests-remaining": str(limits.requests_left),
        "anthropic-ratelimit-requests-reset": point(limits.requests_reset),
        "anthropic-ratelimit-input-tokens-limit": str(limits.tokens),
        "anthropic-ratelimit-input-tokens-remaining": str(limits.tokens_left),
        "anthropic-ratelimit-input-tokens-reset": point(limits.tokens_reset),
    }


@dataclass(kw_only=True, eq=False, repr=False)
class Client:
    """A run: asks *server* through *lane* until every one of *requests* has its reply.

    Attributes:
        server: Whom to ask.
        lane: Paces the requests.
        requests: How many replies are wanted.
        estimate: What each request is thought to take.
        patience: Seconds after which a request is broken off and asked again, as an engine does that splits stragglers.
        freezes: Pairs of seconds between which its process gets no CPU: it sends nothing, and reads no reply.
    """

    server: Server
    lane: RunLane | RemoteLane
    requests: int
    estimate: Usage = USAGE
    patience: float = math.inf
    freezes: Sequence[tuple[float, float]] = ()
    answered: list[float] = field(default_factory=list)
    _left: int = 0
    _change: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Ask once, alone, and then for everything."""
        self._left = self.requests
        while not self.answered:
            await self._ask(await self._admitted())
        asking: set[asyncio.Task[None]] = set()
        while len(self.answered) < self.requests:
            while not self._left and len(self.answered) < self.requests:
                self._change.clear()
                await self._change.wait()
            if len(self.answered) < self.requests:
                task = asyncio.create_task(self._ask(await self._admitted()))
                asking.add(task)
                task.add_done_callback(asking.discard)

    async def _admitted(self) -> Slot:
        self.lane.rest = self._left
        self._left -= 1
        await _thaw(self.freezes)
        slot = await self.lane.admit(self.estimate)
        await _thaw(self.freezes)
        return slot

    async def _ask(self, slot: Slot) -> None:
        await self.lane.sending(slot)
        try:
            outcome: Reply | CallFailed = await asyncio.wait_for(self.server.send(self), self.patience)
        except CallFailed as failure:
            outcome = failure
        except TimeoutError:
            self.lane.release(slot)
            self._left += 1
            self._change.set()
            return
        await _thaw(self.freezes)
        if isinstance(outcome, Reply):
            self.answered.append(asyncio.get_running_loop().time())
        else:
            self._left += 1
        self._change.set()
        self.lane.complete(slot, outcome)


async def in_flight_of(client: Client) -> list[int]:
    """Requests in flight at the server, once a second of the second half of the run of *client*, but for its end."""
    running = asyncio.create_task(client.run())
    in_flight = []
    while not running.done():
        in_flight.append(client.server.in_flight)
        await asyncio.sleep(1.0)
    return in_flight[len(in_flight) // 2 : -2]


async def _thaw(freezes: Sequence[tuple[float, float]]) -> None:
    now = asyncio.get_running_loop().time()
    end = next((end for start, end in freezes if start <= now < end), now)
    if end > now:
        await asyncio.sleep(end - now)


def make_lane(
    seed: int = 0,
    *,
    most: int = 512,
    at_once: int | None = None,
    board: Find | None = None,
    tell: Callable[[Event], None] | None = None,
) -> RunLane:
    """A lane of its own for one run."""
    caps = Caps(concurrency=most)
    lane = Lane(Pacer(provider="openai", caps=caps, at_once=at_once, rng=random.Random(seed), board=board))
    return lane.join(caps, tell or deque[Event](maxlen=0).append)


def limited(rpm: float = 600.0, **options: object) -> Limit:
    """A limit of requests per minute; the options are those of `tests.fakeserver.limiter.Limit`."""
    return replace(Limit(requests_per_minute=rpm), **options)  # type: ignore[arg-type]  # checked where it is made


def make_boards(seed: int = 0) -> Callable[[int], Find]:
    """How the processes of one machine find their board: each by its number."""
    memory, made = bytearray(SIZE), False

    def finder(number: int) -> Find:
        def find(make: bool) -> Board | None:
            nonlocal made
            made = made or make
            return Board(memory, random.Random(1000 * seed + number)) if made else None

        return find

    return finder
