"""Requests that take far longer than theirs usually do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel

from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.workorder import work_of
from smelt.engine.events import Event, RequestEnded
from smelt.engine.run import Run
from smelt.ledger.base import Claim, NoLedger, RunLedger
from smelt.plan.answers import Answers
from smelt.plan.chunks import Pending
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, answered, asked, run_jumping
from tests.lanes.server import make_lane
from tests.supplies import supply_of


class Echo(BaseModel):
    twice: int


class Stalling(ScriptedProvider):
    """Answers after half a second or so; each request whose number is in *stalls* takes as long as that says."""

    def __init__(self, stalls: dict[int, float] | Callable[[int], float | None], fails: bool = False) -> None:
        super().__init__({}, keep=False)
        self.stalls = stalls
        self.fails = fails
        self.asked = 0
        self.rng = random.Random(0)

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[ScriptedProvider]:
        yield self

    async def send(self, request: Request) -> Reply:
        self.asked += 1
        stall = self.stalls(self.asked) if callable(self.stalls) else self.stalls.get(self.asked)
        await asyncio.sleep(stall or self.rng.uniform(0.4, 0.6))
        if stall and self.fails:
            raise CallFailed("server", Billing.REJECTED, "It broke.")
        self.rows_sent += len(asked(request))
        return answered(request, lambda row: {"twice": row["n"] * 2})


def outcome(
    provider: Stalling,
    rows: int,
    concurrency: int = 64,
    deadline: float | None = None,
    ledger: RunLedger | None = None,
    tell: Callable[[Event], None] = lambda event: None,
) -> tuple[Answers, Run, float]:
    """The answers of a job, its run, and the virtual seconds that it took."""
    settings = Settings.of(batch_size=4, deadline=deadline)
    call = prepare([{"n": at} for at in range(rows)], "Double {n}.", Echo, provider, settings)
    answers, events = Answers(rows, 1), list[Event]()
    run = Run(
        work=work_of(call),
        supply=supply_of(call, answers),
        provider=provider,
        lane=make_lane(most=concurrency, tell=events.append),
        ledger=ledger or NoLedger(),
        tell=tell,
        price=lambda usage: None,
        rng=random.Random(0),
    )

    async def work() -> None:
        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        await run.execute()
        assert faults == []

    return answers, run, run_jumping(work()).seconds


def is_right(answers: Answers) -> bool:
    return list(answers.rows()) == [(2 * at,) for at in range(len(answers))]


def test_a_request_that_stalls_at_the_end_is_not_waited_for() -> None:
    provider = Stalling({190: 30.0})

    answers, run, seconds = outcome(provider, 800)

    assert is_right(answers)
    assert seconds < 6.0
    assert run.counts.possible_duplicates == 1
    assert provider.asked == 202


def test_one_request_in_a_hundred_that_stalls_does_not_keep_the_others_from_their_places() -> None:
    rng = random.Random(1)
    _, _, usual = outcome(Stalling({}), 4_000)
    provider = Stalling(lambda number: 30.0 if number > 30 and rng.random() < 0.01 else None)

    answers, _run, seconds = outcome(provider, 4_000)

    assert is_right(answers)
    assert seconds < 1.3 * usual
    assert provider.asked < 1.03 * 1_000


def test_a_race_that_is_late_itself_is_raced_too() -> None:
    provider = Stalling({190: 30.0, 201: 40.0})

    answers, _run, seconds = outcome(provider, 800)

    assert is_right(answers)
    assert seconds < 8.0
    assert provider.asked == 204


def test_the_first_answer_counts_and_the_loser_is_called_off() -> None:
    provider = Stalling({190: 2.4})  # Late, but back before both halves of its rows are.
    told: list[Event] = []

    answers, _run, seconds = outcome(provider, 800, tell=told.append)

    assert is_right(answers)
    assert answers.answered == 800
    assert seconds < 6.0
    lost = [one for one in told if isinstance(one, RequestEnded) and not one.ok]
    assert lost and all(one.is_broken_off for one in lost)  # No failure of the server.


def test_a_race_that_was_won_before_it_was_written_down_does_not_leave() -> None:
    class Slow(NoLedger):
        async def intend(self, number: int, rows: Sequence[Pending], tokens: Sequence[str], estimate: int) -> Claim:
            await asyncio.sleep(0.5)
            return await super().intend(number, rows, tokens, estimate)

    provider = Stalling({190: 1.6})

    answers, run, _ = outcome(provider, 800, ledger=Slow())

    assert is_right(answers)
    assert run.counts.announced > 200
    assert provider.asked == 200


def test_nothing_is_raced_any_more_once_the_deadline_has_passed() -> None:
    class SlowToLetGo(Stalling):
        async def send(self, request: Request) -> Reply:
            try:
                return await super().send(request)
            except asyncio.CancelledError:
                await asyncio.sleep(2.0)
                raise

    provider = SlowToLetGo({})

    answers, _run, seconds = outcome(provider, 4_000, concurrency=8, deadline=9.0)

    assert 0 < answers.answered < 4_000
    assert provider.asked <= 9.0 / 0.4 * 8
    assert seconds == pytest.approx(11.0)


def test_a_straggler_that_fails_leaves_its_rows_to_its_halves() -> None:
    provider = Stalling({190: 1.8}, fails=True)

    answers, _run, _ = outcome(provider, 800)

    assert is_right(answers)
    assert provider.asked == 202


def test_where_everything_is_slow_nothing_is_raced() -> None:
    provider = Stalling(lambda number: 20.0)

    answers, run, _ = outcome(provider, 800)

    assert is_right(answers)
    assert provider.asked == 200
    assert run.counts.possible_duplicates == 0
