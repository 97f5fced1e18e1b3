"""Whole runs in virtual time: what each aim takes in input tokens and seconds, against 20 rows a request."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.workorder import work_of
from smelt.engine.run import Run
from smelt.ledger.base import NoLedger
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, run_jumping
from tests.conftest import whole
from tests.economy_jobs import JOBS, Job
from tests.fakeserver.limiter import Limit, Limiter
from tests.fakeserver.protocols import OpenAI
from tests.lanes.server import limited, make_lane
from tests.supplies import supply_of

BASE, PER_TOKEN = 0.5, 0.01  # Seconds of a reply: as fast as most models are.
LIMITS = {
    "no limit": None,
    "a hidden limit": limited(600.0, announce=False),
    "an announced limit": limited(600.0),
}


class Timed(ScriptedProvider):
    """Takes time for every token of an answer, has a limit, and counts tokens at four bytes each."""

    def __init__(self, job: Job, limit: Limit | None, *, bad: float = 0.0) -> None:
        super().__init__(job.answer(job.rows(1)[0]), keep=False)
        self.limit, self.bad = limit, bad
        self.limiter: Limiter | None = None
        self.bytes = self.in_flight = 0
        self.sizes: list[int] = []
        self.rng = random.Random(0)

    async def send(self, request: Request) -> Reply:
        self.in_flight += 1
        try:
            return await self._answer_in_time(request)
        finally:
            self.in_flight -= 1

    async def _answer_in_time(self, request: Request) -> Reply:
        if self.limit is not None and self.limiter is None:
            self.limiter = Limiter(self.limit, asyncio.get_running_loop().time)
        if self.limiter is not None and self.limiter.refuse(0, self.in_flight) is not None:
            await asyncio.sleep(0.04)
            raise CallFailed("rate_limit", Billing.REJECTED, "Slow down.", status=429)
        told = self.limiter.announced() if self.limiter is not None else None
        before = self.rows_sent
        reply = await super().send(request)
        self.sizes.append(self.rows_sent - before)
        self.bytes += len(request.system) + len(request.user)
        await asyncio.sleep((BASE + PER_TOKEN * len(reply.text) / 4) * self.rng.uniform(0.8, 1.2))
        return Reply(text=reply.text, usage=reply.usage, limits=OpenAI().limits(told) if told is not None else {})


@dataclass(frozen=True)
class Took:
    """What a run took."""

    tokens: float
    seconds: float
    sizes: tuple[int, ...]


@cache
def took(name: str, rows: int, limit: str = "no limit", most: int = 512, **options: Any) -> Took:
    """Run the job *name* on *rows* rows."""
    job = next(one for one in JOBS if one.name == name)
    provider = Timed(job, LIMITS[limit])
    call = prepare(job.rows(rows), job.prompt, job.model, provider, Settings.of(**options))
    run = Run(
        work=work_of(call),
        supply=(supply := supply_of(call)),
        provider=provider,
        lane=make_lane(most=most),
        ledger=NoLedger(),
        tell=lambda event: None,
        price=lambda usage: None,
        rng=random.Random(0),
    )
    jumped = run_jumping(run.execute())
    assert not supply.parts.failed
    return Took(provider.bytes / 4, jumped.seconds, tuple(provider.sizes))


NAMES = [job.name for job in JOBS]
RUNS = [(100, "no limit"), (1_000, "no limit"), (600, "a hidden limit"), (600, "an announced limit")]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("rows", "limit"), RUNS)
def test_balanced_takes_little_more_than_twenty_rows_a_request_and_no_longer(name: str, rows: int, limit: str) -> None:
    balanced, twenty = took(name, rows, limit), took(name, rows, limit, batch_size=20)

    assert balanced.tokens <= 1.15 * twenty.tokens
    assert balanced.seconds <= 1.05 * twenty.seconds


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("rows", "limit"), RUNS)
def test_cheap_takes_no_more_than_twenty_rows_a_request(name: str, rows: int, limit: str) -> None:
    cheap, twenty = took(name, rows, limit, aim="cheap"), took(name, rows, limit, batch_size=20)

    assert cheap.tokens <= twenty.tokens
    assert cheap.tokens <= took(name, rows, limit).tokens
    assert max(cheap.sizes) <= 25


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [100, 1_000])
def test_fast_is_faster_and_takes_up_to_half_more(name: str, rows: int) -> None:
    fast, balanced, twenty = took(name, rows, aim="fast"), took(name, rows), took(name, rows, batch_size=20)

    assert fast.tokens <= 1.5 * twenty.tokens
    assert fast.seconds <= 0.85 * balanced.seconds <= 0.6 * twenty.seconds


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "most"), whole((3_000, 16), (10_000, 512)))
def test_a_long_balanced_run_takes_hardly_more_than_twenty_rows_a_request(rows: int, most: int) -> None:
    balanced, twenty = (took("company", rows, most=most, **given) for given in ({}, {"batch_size": 20}))

    assert balanced.tokens <= 1.01 * twenty.tokens
    assert balanced.seconds <= 1.02 * twenty.seconds


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["a hidden limit", "an announced limit"])
def test_where_a_limit_keeps_requests_apart_fast_does_not_send_more_of_them(limit: str) -> None:
    fast, balanced = took("company", 600, limit, aim="fast"), took("company", 600, limit)

    assert len(fast.sizes) <= 1.2 * len(balanced.sizes)
