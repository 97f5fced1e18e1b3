"""How a run ends before its time, in virtual time: what it still sends, what may land, and that no row is left over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

import smelt
from smelt.call.options import Settings
from smelt.call.preparation import Preparation, prepare
from smelt.call.workorder import extension_of, work_of
from smelt.engine.events import Event, RequestEnded
from smelt.engine.run import INTERRUPT_GRACE, Run
from smelt.engine.work import Work
from smelt.ledger.base import NoLedger
from smelt.plan.answers import RowFailure
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, run_jumping
from tests.bench.million import calls_per_row
from tests.fakeserver.limiter import Limit, Limiter
from tests.lanes.server import make_lane
from tests.supplies import supply_of

REVOKED = CallFailed("auth", Billing.REJECTED, "HTTP 401: revoked", status=401)


class Numbers(BaseModel):
    twice: int
    thrice: int


class Timed(ScriptedProvider):
    """Takes *latency* seconds for a request, and for ever for those in *hanging*; notes when each was sent."""

    def __init__(self, *, latency: float = 1.0, hanging: frozenset[int] = frozenset(), script: Any = ()) -> None:
        super().__init__(lambda row: {"twice": 2 * row["n"], "thrice": 3 * row["n"]}, script=script)
        self.latency, self.hanging = latency, hanging
        self.sent: list[float] = []

    async def send(self, request: Request) -> Reply:
        self.sent.append(asyncio.get_running_loop().time())
        number = len(self.sent) - 1
        reply = await super().send(request)
        await asyncio.sleep(1e9 if number in self.hanging else self.latency)
        return reply


def called(provider: ScriptedProvider, rows: int) -> Preparation:
    settings = Settings.of(batch_size=1, shuffle=False)
    return prepare([{"n": at} for at in range(rows)], "Multiply {n}.", Numbers, provider, settings)


def made(
    provider: ScriptedProvider,
    call: Preparation,
    extension: Work | None = None,
    tell: Callable[[Event], None] = lambda event: None,
) -> Run:
    return Run(
        work=work_of(call),
        supply=supply_of(call),
        extension=extension,
        provider=provider,
        lane=make_lane(most=3),
        ledger=NoLedger(),
        tell=tell,
        price=lambda usage: None,
        rng=random.Random(0),
    )


async def interrupted(run: Run, *after: float) -> None:
    """Carry *run* out, and cancel it so many seconds from the start."""
    task = asyncio.create_task(run.execute())
    for at in after:
        asyncio.get_running_loop().call_later(at, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


def failures(run: Run) -> dict[int, RowFailure]:
    (part,) = run.supply.parts
    return part.answers.failures


def kinds(run: Run) -> dict[int, str]:
    return {position: failure.kind for position, failure in sorted(failures(run).items())}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_row_costs_few_calls_of_functions(library: str) -> None:
    assert calls_per_row(library) < 95


def test_after_an_interrupt_nothing_is_sent_and_what_is_in_flight_lands() -> None:
    provider = Timed()
    run = made(provider, called(provider, 40))

    _, seconds = run_jumping(interrupted(run, 2.5))

    assert provider.sent == [0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    assert seconds == 3.0
    assert kinds(run) == dict.fromkeys(range(7, 40), "interrupted")


@pytest.mark.parametrize(
    ("after", "ends"),
    [((2.5,), 2.5 + INTERRUPT_GRACE), ((2.5, 2.6), 2.6)],
    ids=["66-once", "66-twice"],
)
def test_what_hangs_is_broken_off_within_a_second_of_an_interrupt_and_at_once_at_a_second_one(
    after: tuple[float, ...], ends: float
) -> None:
    provider = Timed(hanging=frozenset({4, 5, 6}))
    told: list[Event] = []
    run = made(provider, called(provider, 40), tell=told.append)

    _, seconds = run_jumping(interrupted(run, *after))

    assert seconds == pytest.approx(ends)
    assert {one.number for one in told if isinstance(one, RequestEnded) and one.is_broken_off} == {5, 6, 7}
    assert kinds(run) == dict.fromkeys(range(4, 40), "interrupted")
    assert run.counts.possible_duplicates == 3


@pytest.mark.parametrize("price", [0.0, 0.01, None], ids=["free", "paid", "unknown"])
def test_only_what_may_cost_something_may_be_billed(price: float | None) -> None:
    provider = Timed(hanging=frozenset({4, 5, 6}))
    run = made(provider, called(provider, 10))
    run.price = lambda usage: price

    run_jumping(interrupted(run, 2.5))

    is_free = price == 0
    messages = [failure.message for at, failure in failures(run).items() if at in (4, 5, 6)]
    assert all("was in flight" in one and ("billed" in one) is not is_free for one in messages)
    assert run.counts.possible_duplicates == (0 if is_free else 3)


def test_an_interrupt_shortens_the_grace_of_a_run_that_is_stopping() -> None:
    provider = Timed(hanging=frozenset({1}), script=[None, None, *[REVOKED] * 40])
    run = made(provider, called(provider, 40))

    _, seconds = run_jumping(interrupted(run, 1.1))

    assert seconds == pytest.approx(1.1 + INTERRUPT_GRACE)


def test_a_run_that_stops_while_it_adds_fields_leaves_no_row_without_an_outcome() -> None:
    provider = Timed(script=[None, *[REVOKED] * 6])
    call = called(provider, 6)
    extension = extension_of(call, ["thrice"], {at: f'{{"twice": {2 * at}}}' for at in (0, 2, 4)})
    run = made(provider, call, extension)

    ending = run_jumping(run.execute()).result

    assert ending.stop is REVOKED
    assert run.supply.parts.settled == 6


class Limited(Timed):
    """Takes ten requests a second, and says nothing of it but in refusals."""

    limiter: Limiter

    async def send(self, request: Request) -> Reply:
        if (wait := self.limiter.refuse(0, 0)) is None:
            return await super().send(request)
        raise CallFailed("rate_limit", Billing.REJECTED, "Slow down.", status=429, retry_after=wait)


def test_where_a_limit_keeps_requests_apart_the_last_rows_are_not_spread_over_many_of_them() -> None:
    provider = Limited(latency=0.5)

    async def work() -> smelt.SmeltResult[Numbers]:
        limit = Limit(requests_per_minute=600, announce=False)
        provider.limiter = Limiter(limit, asyncio.get_running_loop().time)
        return await smelt.arun([{"n": at} for at in range(1_000)], "Multiply {n}.", Numbers, model=provider, seed=0)

    jumped = run_jumping(work())

    assert jumped.result.metrics.successful_rows == 1_000
    # Cut so that 32 workers would be busy to the end, the rows make 105 requests in 10.7 s.
    assert len(provider.sent) <= 75
    assert jumped.seconds <= 8.0


def test_there_are_as_many_connections_as_the_lane_lets_requests_be_in_flight() -> None:
    asked_for: list[int] = []

    class Noting(Timed):
        def connect(self, *, connections: int) -> Any:
            asked_for.append(connections)
            return super().connect(connections=connections)

    provider = Noting()
    run = made(provider, called(provider, 4))

    run_jumping(run.execute())

    assert asked_for == [run.lane.most] == [3]
