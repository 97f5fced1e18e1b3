"""The flex tier: what it declines is asked again, then at the usual tier, and a run with it ends in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

import smelt
from smelt.engine import tiers
from smelt.engine.events import Event, Waiting
from smelt.engine.tiers import MOST_DECLINED, after_decline
from smelt.loop.bridge import drive
from smelt.plan.chunks import Chunk, Line, Pending, Size
from smelt.providers.base import Billing, CallFailed, Reply, Request, Usage
from smelt.testing import JumpingLoop, ScriptedProvider, answered, asked, run_jumping

DECLINE = CallFailed("rate_limit", Billing.REJECTED, "Resource unavailable.", status=429)
BUSY = CallFailed("server", Billing.REJECTED, "Overloaded.", status=503)
RATE = CallFailed("rate_limit", Billing.REJECTED, "Rate limit reached on requests per min (RPM).", status=429)


class Echo(BaseModel):
    twice: int


class Tiered(ScriptedProvider):
    """Declines what *refusing* says of a request for the flex tier, by its number; each reply takes *seconds*."""

    flex: ClassVar[dict[str, str]] = {"service_tier": "flex"}
    priced_as = "openai:gpt-6-luna"

    def __init__(
        self,
        refusing: Callable[[int], CallFailed | None] = lambda number: None,
        seconds: float = 1.0,
        usual_seconds: float = 1.0,
    ) -> None:
        super().__init__({}, keep=False)
        self.refusing, self.seconds, self.usual_seconds = refusing, seconds, usual_seconds
        self.at_flex = self.at_usual = self.declined = self.most_usual = 0
        self.timeouts: list[float] = []

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[ScriptedProvider]:
        yield self

    async def send(self, request: Request) -> Reply:
        is_flex = request.params.get("service_tier") == "flex"
        if is_flex:
            self.at_flex += 1
            self.timeouts.append(request.timeout)
            await asyncio.sleep(0.04)
            if failure := self.refusing(self.at_flex):
                self.declined += 1
                raise failure
            await asyncio.sleep(self.seconds)
        else:
            self.at_usual += 1
            await asyncio.sleep(self.usual_seconds)
        reply = answered(request, lambda row: {"twice": row["n"] * 2})
        self.rows_sent += len(asked(request))
        usage = Usage(input_tokens=100 * len(asked(request)), output_tokens=10, tier="flex" if is_flex else "")
        return replace(reply, usage=usage)


def run(provider: Any, rows: int = 200, **options: Any) -> tuple[smelt.SmeltResult[Any], float]:
    """The result of a run in flex mode, and the virtual seconds that it took."""
    usual: dict[str, Any] = {"batch_size": 5, "concurrency": 8, "ledger": False, "progress": False, "mode": "flex"}
    frame = [{"n": at} for at in range(rows)]
    done = run_jumping(smelt.arun(frame, "Double {n}.", Echo, model=provider, **{**usual, **options}))
    return done.result, done.seconds


def every_other(number: int) -> CallFailed | None:
    return DECLINE if number % 2 else None


def always(failure: CallFailed) -> Callable[[int], CallFailed | None]:
    return lambda number: failure


@pytest.mark.parametrize("failure", [DECLINE, BUSY], ids=["429", "503"])
def test_a_chunk_is_asked_at_the_usual_tier_after_three_declines(failure: CallFailed) -> None:
    chunk: Chunk | None = Chunk(rows=(Pending(0, "{}"),))
    seen = []
    for _ in range(MOST_DECLINED):
        assert chunk is not None
        chunk = after_decline(chunk, failure)
        assert chunk is not None
        seen.append(chunk.is_usual)

    assert seen == [False, False, True]


def test_a_rate_limit_is_no_decline_and_a_timeout_is_enough() -> None:
    chunk = Chunk(rows=(Pending(0, "{}"),))
    late = after_decline(chunk, CallFailed("timeout", Billing.UNKNOWN, "No reply."))

    assert after_decline(chunk, RATE) is None
    assert late is not None
    assert (late.is_usual, late.unknowns) == (True, 1)


def test_a_queue_gives_each_tier_its_rows() -> None:
    rows = [Pending(at, "{}") for at in range(4)]
    line = Line(order=[3], texts=lambda positions: ["{}"] * len(positions), reject=lambda position, row: None)
    line.put_whole([Chunk(rows=(rows[0],)), Chunk(rows=(rows[1],), is_usual=True)])
    line.put_last([Chunk(rows=(rows[2],), is_usual=True)])
    size = Size(rows=1)

    found = [one and one.rows[0].position for one in (line.next_other(size), line.next_other(size))]
    nothing = line.next_other(size)
    rest = [one and one.rows[0].position for one in (line.next_usual(), line.next_usual(), line.next_usual())]

    assert (found, nothing, rest) == ([0, 3], None, [1, 2, None])
    assert not line


def test_all_rows_are_answered_and_the_usual_price_is_paid_for_what_fell_back() -> None:
    provider = Tiered(every_other)

    result, _ = run(provider)

    assert [row and row.twice for row in result.data] == [2 * at for at in range(200)]
    metrics = result.metrics
    assert metrics.tiers["flex"] == provider.at_flex - provider.declined
    assert metrics.standard_requests == metrics.tiers.get("standard", 0) == provider.at_usual
    assert metrics.standard_rows == 5 * provider.at_usual
    assert metrics.tiers["flex"] > 4 * provider.at_usual
    assert f"at standard: {metrics.standard_rows} row" in repr(metrics) or not provider.at_usual


def test_without_a_decline_nothing_is_asked_at_the_usual_tier() -> None:
    provider = Tiered()

    result, seconds = run(provider)

    assert (provider.at_usual, result.metrics.standard_rows) == (0, 0)
    assert "at standard" not in repr(result.metrics)
    assert seconds < 15


@pytest.mark.parametrize("failure", [DECLINE, BUSY], ids=["429", "503"])
def test_a_tier_without_capacity_is_left_after_half_of_max_wait(failure: CallFailed) -> None:
    provider = Tiered(always(failure))

    with pytest.warns(smelt.SmeltWarning, match="has answered no request for 1[0-9]{2} s.*at the standard price"):
        result, seconds = run(provider, 2_000, max_wait=240.0)

    assert result.success
    assert result.metrics.standard_rows == 2_000
    assert seconds < 240
    assert provider.at_flex < 40  # One request at a time asks whether there is capacity again.


def test_a_short_lack_of_capacity_costs_few_rows_the_usual_price() -> None:
    provider = Tiered(lambda number: DECLINE if number <= 12 else None)

    result, seconds = run(provider, 1_000)

    assert result.success
    assert result.metrics.standard_rows <= 20
    assert seconds < 180


class CreepingLoop(JumpingLoop):
    """A loop on a busy machine: 1 ms passes between any two looks at the clock."""

    def time(self) -> float:
        self._jumper.now += 1e-3
        return super().time()


def test_a_rest_that_ends_between_two_looks_at_the_clock_is_not_slept_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "_FIRST_REST", 0.01)
    monkeypatch.setattr(tiers, "_LONGEST_REST", 0.05)
    provider = Tiered(every_other, seconds=0.0, usual_seconds=0.0)
    frame = [{"n": at} for at in range(300)]

    async def timed() -> float:
        await smelt.arun(
            frame,
            "Double {n}.",
            Echo,
            model=provider,
            batch_size=5,
            concurrency=1,
            ledger=False,
            progress=False,
            mode="flex",
        )
        return asyncio.get_running_loop().time()

    assert drive(timed(), loop_factory=CreepingLoop) < 60  # 453 s when it was: until the tier was given up.


def test_rests_are_reported() -> None:
    provider, events = Tiered(lambda number: DECLINE if number <= 8 else None), list[Event]()

    run(provider, progress=events.append)

    assert "capacity of the flex tier" in {one.reason for one in events if isinstance(one, Waiting)}


def test_from_half_of_the_deadline_on_rows_are_asked_at_the_usual_tier() -> None:
    provider = Tiered(seconds=30.0)

    with pytest.warns(smelt.SmeltWarning, match="Half of the deadline has passed"):
        result, seconds = run(provider, 1_000, deadline=300.0)

    assert result.success
    assert 150 <= seconds <= 300
    assert 0 < result.metrics.standard_rows < 1_000
    assert provider.timeouts[0] == pytest.approx(225.0)


def test_a_request_that_the_tier_never_answers_does_not_outlast_the_deadline() -> None:
    provider = Tiered(seconds=10_000.0)

    with pytest.warns(smelt.SmeltWarning, match="deadline"):
        result, seconds = run(provider, 20, deadline=100.0)

    assert result.success
    assert seconds < 100
    assert result.metrics.possible_duplicates > 0


@pytest.mark.parametrize(("given", "expected"), [({}, 900.0), ({"timeout": 300.0}, 300.0)], ids=["usual", "given"])
def test_a_request_may_take_fifteen_minutes_unless_the_caller_says_otherwise(
    given: dict[str, Any], expected: float
) -> None:
    provider = Tiered()

    run(provider, 20, **given)

    assert set(provider.timeouts) == {expected}


def test_no_request_at_the_tier_is_sent_twice_because_it_is_slow() -> None:
    slow = {60: 500.0}
    provider = Tiered()
    usual = provider.send

    async def send(request: Request) -> Reply:
        provider.seconds = slow.get(provider.at_flex + 1, 1.0)
        return await usual(request)

    provider.send = send  # type: ignore[method-assign]

    result, seconds = run(provider, 500)

    assert result.success
    assert seconds > 500
    assert provider.rows_sent == 500


def test_a_rate_limit_of_the_tier_slows_the_tier_and_moves_nothing() -> None:
    provider = Tiered(lambda number: RATE if number in (9, 10) else None)

    result, _ = run(provider)

    assert result.success
    assert provider.at_usual == 0


@pytest.mark.parametrize("concurrency", [1, 3])
def test_both_tiers_together_keep_to_the_concurrency(concurrency: int) -> None:
    class Counting(Tiered):
        in_flight = most = 0

        async def send(self, request: Request) -> Reply:
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            try:
                return await super().send(request)
            finally:
                self.in_flight -= 1

    provider = Counting(every_other)

    result, _ = run(provider, 100, concurrency=concurrency)

    assert result.success
    assert provider.most == concurrency


def test_both_tiers_together_keep_to_the_requests_per_minute() -> None:
    provider = Tiered(lambda number: DECLINE if number % 4 else None)

    result, seconds = run(provider, 500, rpm=60.0)

    assert result.success
    assert (provider.at_flex + provider.at_usual) / (seconds / 60) <= 66


def test_a_cancelled_run_leaves_nothing_behind() -> None:
    provider = Tiered(always(DECLINE))

    async def work() -> None:
        frame = [{"n": at} for at in range(100)]
        asking = asyncio.create_task(
            smelt.arun(frame, "Double {n}.", Echo, model=provider, mode="flex", ledger=False, progress=False)
        )
        await asyncio.sleep(20.0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError, match="^$"):
            await asking
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_jumping(work())


def test_a_budget_is_not_exceeded_by_what_falls_back() -> None:
    pytest.importorskip("genai_prices")
    provider, most = Tiered(lambda number: DECLINE if number > 40 else None), 0.002

    with pytest.warns(smelt.SmeltWarning, match="budget is spent"):
        result, _ = run(provider, 2_000, max_cost=most, max_wait=20_000.0)

    assert result.metrics.standard_rows > 0
    assert 0.5 * most < (result.metrics.cost_usd or 0) <= most
