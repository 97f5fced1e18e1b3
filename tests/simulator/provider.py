"""A model of a provider, in process and in virtual time, that keeps a bill."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from smelt.engine.events import Event, RequestSent
from smelt.plan.tokens import text_tokens
from smelt.providers.base import Billing, CallFailed, Capabilities, FailureKind, Reply, Request, Usage
from smelt.testing import asked
from tests.simulator.bill import BROKEN_OFF, Bill, Entry
from tests.simulator.limits import Gate
from tests.simulator.replies import draft
from tests.simulator.table import key_of
from tests.simulator.world import Outage, World

_FOREVER = 1e7
_MOST_REQUESTS = 5_000  # Of the small worlds that there are; a world that takes more of them runs in a circle.
_NOTHING = Usage()


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of a request.

    Attributes:
        outcome: The reply or failure; None where none ever comes.
        seconds: After how long.
        fault: Why, in the words of the world.
        is_billed: Whether it costs.
        is_billed_anyway: Whether it costs, too, if the client goes away before.
        usage: What it costs.
        good: The rows that it answers.
    """

    outcome: Reply | CallFailed | None
    seconds: float
    fault: str = ""
    is_billed: bool = False
    is_billed_anyway: bool = False
    usage: Usage = _NOTHING
    good: frozenset[str] = frozenset()


class RunawayError(Exception):
    """A world that does not come to an end."""


@dataclass(kw_only=True)
class Service:
    """The provider's side of a world.

    Attributes:
        world: The world.
        bill: What it wrote down.
    """

    world: World
    bill: Bill = field(default_factory=Bill)
    _gate: Gate = field(init=False)
    _in_flight: Counter[int] = field(default_factory=Counter)
    _told: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    _lately: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=8))

    def __post_init__(self) -> None:
        self._gate = Gate(limits=self.world.limits)

    async def answer(self, request: Request, *, run: int, number: int, lane: int) -> Reply:
        """Answer *request*, which is the *number*-th of a run and came through a lane."""
        entry = self._enter(request, run, number, lane)
        fate = self._fate(request, entry)
        entry.fault, entry.usage, entry.is_billed = fate.fault, fate.usage, fate.is_billed_anyway
        self._in_flight[lane] += 1
        try:
            await asyncio.sleep(_FOREVER if fate.outcome is None else fate.seconds)
        except asyncio.CancelledError:
            entry.outcome = BROKEN_OFF
            raise
        finally:
            self._in_flight[lane] -= 1
            entry.ended = _now()
        return self._deliver(entry, fate)

    def _enter(self, request: Request, run: int, number: int, lane: int) -> Entry:
        if len(self.bill.entries) >= _MOST_REQUESTS:
            raise RunawayError(f"{_MOST_REQUESTS:,} requests were sent.")
        rows, now = asked(request), _now()
        entry = Entry(
            serial=len(self.bill.entries),
            run=run,
            number=number,
            lane=lane,
            keys=[key_of(row) for _, row in rows],
            tokens=[token for token, _ in rows],
            sent=now,
            in_flight=self._in_flight[lane] + 1,
            # What a client was told in this very moment, or while it waited for its disk, it may not have heard yet.
            told=max((until for told, until in self._told[lane] if told < now - 3 * self.world.disk), default=0.0),
        )
        self.bill.entries.append(entry)
        return entry

    def _deliver(self, entry: Entry, fate: Fate) -> Reply:
        outcome = fate.outcome
        assert outcome is not None
        entry.is_billed, entry.reported, entry.good = fate.is_billed, outcome.usage, fate.good
        if isinstance(outcome, Reply):
            entry.outcome, entry.finish = "reply", outcome.finish
            self._lately.append((entry.serial, outcome.text))
            return outcome
        entry.outcome, entry.billing, entry.retry_after = outcome.kind, outcome.billing.value, outcome.retry_after
        if outcome.retry_after is not None:
            self._told[entry.lane].append((_now(), _now() + outcome.retry_after))
        raise outcome

    def _fate(self, request: Request, entry: Entry) -> Fate:
        world, now, rng = self.world, entry.sent, self.world.rng(f"request {entry.serial}")
        if (outage := next((one for one in world.outages if 0 <= now - one.start < one.seconds), None)) is not None:
            return _in_outage(outage, request, rng)
        if world.fatal is not None and now >= world.fatal[0]:
            return self._refusal(world.fatal[1], Billing.REJECTED, rng)
        size = text_tokens(len(request.system) + len(request.user))
        wait = self._gate.refuse(now, size, self._in_flight[entry.lane] + 1)
        if wait is not None:
            retry_after = wait if world.limits.is_patient else None
            return self._refusal("rate_limit", Billing.REJECTED, rng, retry_after=retry_after, fault="limit")
        for fault in world.faults:
            if fault.billing is not None and rng.random() < fault.rate:
                kind: Any = fault.kind
                return self._broken_call(request, kind, fault.billing, rng, fault.retry_after, str(fault))
        return self._poisoned(request, rng) or self._replied(request, entry, rng)

    def _poisoned(self, request: Request, rng: random.Random) -> Fate | None:
        texts = {row["text"] for _, row in asked(request)}
        kinds: tuple[FailureKind, ...] = ("filtered", "bad_request", "too_long")
        for name in kinds:
            if f"poison: {name}" in texts:
                return self._refusal(name, Billing.REJECTED, rng, fault=f"poison: {name}")
        if "poison: breaker" in texts:
            return self._refusal("server", Billing.REJECTED, rng, fault="poison: breaker")
        if "poison: hanging" in texts:
            return _hanging(request, rng, "poison: hanging")
        return None

    def _refusal(
        self,
        kind: FailureKind,
        billing: Billing,
        rng: random.Random,
        *,
        retry_after: float | None = None,
        fault: str = "",
    ) -> Fate:
        failure = CallFailed(kind, billing, f"A {kind}.", retry_after=retry_after, limits=self._gate.headers(_now()))
        return Fate(outcome=failure, seconds=rng.uniform(0.02, 0.2), fault=fault or kind)

    def _broken_call(
        self,
        request: Request,
        kind: FailureKind,
        billing: Billing,
        rng: random.Random,
        retry_after: float | None,
        fault: str,
    ) -> Fate:
        usage = _usage(request, rng.randint(0, 200))
        is_billed = billing is Billing.PAID_BAD or (billing is Billing.UNKNOWN and rng.random() < 0.5)
        reported = usage if billing is Billing.PAID_BAD and rng.random() < 0.5 else _NOTHING
        failure = CallFailed(kind, billing, f"A {kind}.", retry_after=retry_after, usage=reported)
        seconds = self.world.latency.draw(0, rng)
        return Fate(
            outcome=failure,
            seconds=seconds,
            fault=fault,
            is_billed=is_billed,
            is_billed_anyway=is_billed,
            usage=usage if is_billed else _NOTHING,
        )

    def _replied(self, request: Request, entry: Entry, rng: random.Random) -> Fate:
        world = self.world
        fault = next(
            (one.kind for one in world.faults if one.billing is None and rng.random() < one.rate),
            None,
        )
        foreign = [text for serial, text in self._lately if serial != entry.serial]
        made = draft(
            asked(request),
            fault,
            rng,
            codec=world.codec,
            is_enforced=world.is_enforced,
            room=request.max_output_tokens,
            foreign=rng.choice(foreign) if foreign else None,
        )
        usage = _usage(request, text_tokens(len(made.text)))
        is_mute = rng.random() < world.mute
        reply = Reply(
            text=made.text,
            finish=made.finish,
            usage=_NOTHING if is_mute else usage,
            model="simulated",
            request_id=f"r{entry.serial}",
            limits=self._gate.headers(entry.sent),
        )
        return Fate(
            outcome=reply,
            seconds=world.latency.draw(usage.output_tokens or 0, rng),
            fault=fault or "",
            is_billed=True,
            is_billed_anyway=rng.random() < 0.5,
            usage=usage,
            good=made.good,
        )


class Door:
    """The provider as one run sees it: a `Provider`, and its own connection."""

    name = "simulated"
    model = "seed"
    origin = "simulated://here"

    def __init__(self, service: Service, *, run: int, lane: int) -> None:
        world = service.world
        self.capabilities = Capabilities(codec=world.codec, enforces_schema=world.is_enforced)
        self._service = service
        self._run = run
        self._lane = lane
        self._number = 0

    def tell(self, event: Event) -> None:
        """Take the events of the run: the one before a request says which number it has."""
        if isinstance(event, RequestSent):
            self._number = event.number

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Take any parameter."""

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[Door]:
        yield self

    async def send(self, request: Request) -> Reply:
        return await self._service.answer(request, run=self._run, number=self._number, lane=self._lane)


def _in_outage(outage: Outage, request: Request, rng: random.Random) -> Fate:
    fault = f"outage: {outage.weather}"
    if outage.weather == "hang":
        return _hanging(request, rng, fault)
    kind, billing = _WEATHER[outage.weather]
    retry_after = outage.retry_after if outage.weather == "503" else None
    is_billed = billing is Billing.UNKNOWN and rng.random() < 0.5
    return Fate(
        outcome=CallFailed(kind, billing, f"A {kind}.", retry_after=retry_after),
        seconds=rng.uniform(0.02, 0.2),
        fault=fault,
        is_billed=is_billed,
        is_billed_anyway=is_billed,
        usage=_usage(request, 0) if is_billed else _NOTHING,
    )


def _hanging(request: Request, rng: random.Random, fault: str) -> Fate:
    is_billed = rng.random() < 0.5
    usage = _usage(request, 0) if is_billed else _NOTHING
    return Fate(outcome=None, seconds=_FOREVER, fault=fault, is_billed_anyway=is_billed, usage=usage)


def _usage(request: Request, output: int) -> Usage:
    size = text_tokens(len(request.system) + len(request.user))
    return Usage(input_tokens=size, output_tokens=output, cached_input_tokens=0, reasoning_tokens=0)


def _now() -> float:
    return asyncio.get_running_loop().time()


_WEATHER: dict[str, tuple[FailureKind, Billing]] = {
    "503": ("server", Billing.REJECTED),
    "refused": ("connection", Billing.NOT_SENT),
    "reset": ("connection", Billing.UNKNOWN),
    "page": ("protocol", Billing.UNKNOWN),
}
