"""Rows per request where the number is smelt's to find, and the requests that a run begins with."""

from __future__ import annotations

import asyncio
import heapq
import random
import statistics
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import smelt
from smelt.engine.workers import MANY_REQUESTS, MOST_PROVERS, PROVERS, provers, rows_of_prover
from smelt.providers.base import Reply, Request
from smelt.testing import ScriptedProvider, run_jumping
from tests.conftest import whole


class Review(BaseModel):
    sentiment: Literal["positive", "negative", "mixed"]
    stars: int
    topics: list[str]
    is_refund: bool
    is_urgent: bool


GUIDELINES = "Read the review {text} and judge it by what it says, not by its tone. " * 12


class Slow(ScriptedProvider):
    """Answers after half a second, give or take 30 %, and notes when it was asked and for how much."""

    def __init__(self, sentiment: str = "mixed", *, seed: int = 0) -> None:
        super().__init__(
            {"sentiment": sentiment, "stars": 3, "topics": ["delivery"], "is_refund": False, "is_urgent": False}
        )
        self.asked: list[float] = []
        self.bytes = 0
        self._rng = random.Random(seed)

    async def send(self, request: Request) -> Reply:
        self.asked.append(asyncio.get_running_loop().time())
        self.bytes += len(request.system) + len(request.user)
        await asyncio.sleep(0.5 * self._rng.uniform(0.7, 1.3))
        return await super().send(request)


def reviews(count: int) -> list[dict[str, str]]:
    return [{"text": f"Review {at}: " + "the box came late and the lid was bent. " * 6} for at in range(count)]


def ask(rows: Sequence[dict[str, str]], *, seed: int = 0, **options: Any) -> tuple[Slow, float]:
    provider = Slow(seed=seed)
    given = {"progress": False, "seed": 0, "concurrency": 64} | options
    jumped = run_jumping(smelt.arun(rows, GUIDELINES, Review, model=provider, **given))
    assert jumped.result.metrics.failed_rows == 0
    return provider, jumped.seconds


@pytest.mark.parametrize(
    ("rows", "concurrency"),
    [(600, 64), *whole((600, "auto"), (10_000, 64)), pytest.param(10_000, "auto", marks=pytest.mark.slow)],
)
def test_an_automatic_size_costs_little_more_input_than_twenty_rows_a_request(rows: int, concurrency: Any) -> None:
    auto, _ = ask(reviews(rows), concurrency=concurrency)
    twenty, _ = ask(reviews(rows), concurrency=concurrency, batch_size=20)

    assert auto.bytes <= 1.15 * twenty.bytes


@pytest.mark.slow
@pytest.mark.parametrize(("options", "jobs"), [({}, 1), ({"batch_size": 20}, 4)])
def test_a_short_job_is_done_in_little_more_than_its_waves(options: dict[str, Any], jobs: int) -> None:
    rows = reviews(10_000)
    mean = statistics.mean(ask(rows, seed=seed, **options)[1] for seed in range(jobs))

    assert mean <= 1.12 * 4.1  # 500 requests of 20 rows, 64 at a time, after half a second each.


def greedy(workers: int, proof: int, rng: random.Random) -> float:
    """The seconds of 500 replies for *workers* that wait for the first of *proof* replies and for nothing else."""
    replies = [0.5 * rng.uniform(0.7, 1.3) for _ in range(500)]
    start = min(replies[:proof], default=0.0)
    free = [*replies[:proof], *[start] * (workers - proof)]
    heapq.heapify(free)
    for seconds in replies[proof:]:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


@pytest.mark.parametrize(("proof", "seconds"), [(0, 4.24), (1, 4.73), (4, 4.62), (8, 4.57), (16, 4.51)])
def test_waiting_for_a_first_reply_costs_a_short_job_this(proof: int, seconds: float) -> None:
    mean = statistics.mean(greedy(64, proof, random.Random(seed)) for seed in range(100))

    assert mean == pytest.approx(seconds, abs=0.02)


@pytest.mark.parametrize("requests", [MANY_REQUESTS, 70])
def test_a_long_run_begins_with_a_few_small_requests_side_by_side(requests: int) -> None:
    provider, _ = ask(reviews(20 * requests), batch_size=20)

    assert provider.asked[:4] == [0.0] * 4
    assert provider.asked[4] > 0.3
    assert len(provider.asked) == 4 + requests - 2  # They carry the rows of two.


def test_a_longer_run_begins_with_more_of_the_size_that_was_set() -> None:
    provider, _ = ask(reviews(20 * 300), batch_size=20)

    assert provider.asked[:10] == [0.0] * 10
    assert provider.asked[10] > 0.3
    assert len(provider.asked) == 300


def test_a_longer_run_of_sizes_of_its_own_begins_with_a_few() -> None:
    provider, _ = ask(reviews(25 * 300))

    assert provider.asked[:4] == [0.0] * 4
    assert provider.asked[4] > 0.3


def test_a_short_run_begins_with_one() -> None:
    provider, _ = ask(reviews(400), batch_size=20)

    assert provider.asked[1] > 0.3
    assert len(provider.asked) == 20


@pytest.mark.parametrize(
    ("requests", "count"), [(1, 1), (MANY_REQUESTS - 1, 1), (MANY_REQUESTS, PROVERS), (10 * MANY_REQUESTS, PROVERS)]
)
def test_a_run_of_many_requests_is_proved_by_several_at_a_time(requests: int, count: int) -> None:
    assert provers(requests * 20, 20) == count


@pytest.mark.parametrize(
    ("requests", "count"), [(60, PROVERS), (149, PROVERS), (150, 5), (500, MOST_PROVERS), (100_000, MOST_PROVERS)]
)
def test_more_requests_of_a_size_that_was_set_prove_a_run_of_more(requests: int, count: int) -> None:
    assert provers(requests * 20, 20, is_auto=False) == count
    assert provers(requests * 20, 20, "cheap", is_auto=False) == 1


@pytest.mark.parametrize(("rows", "each"), [(1, 1), (4, 4), (8, 5), (20, 5), (40, 10)])
def test_first_requests_share_the_rows_of_one_but_carry_a_few_each(rows: int, each: int) -> None:
    assert rows_of_prover(rows) == each


@pytest.mark.parametrize(("rows", "count", "each"), [(1200, 4, 10), (6000, 10, 20), (10_000, 16, 20), (20_000, 16, 20)])
def test_first_requests_of_a_set_size_carry_at_most_a_thirtieth_of_the_rows(rows: int, count: int, each: int) -> None:
    assert rows_of_prover(20, count, rows=rows) == each
    assert count * each <= rows / 30


class Served(Slow):
    """At an address, so that this process remembers what it showed."""

    def __init__(self, sentiment: str = "mixed") -> None:
        super().__init__(sentiment)
        self.origin = "https://slow.example.com"


def test_a_question_that_this_process_has_seen_answered_needs_no_proof() -> None:
    first, other, again = (Served() for _ in range(3))
    given: dict[str, Any] = {"progress": False, "seed": 0, "concurrency": 64, "batch_size": 20}
    seconds = [
        run_jumping(smelt.arun(reviews(400), prompt, Review, model=provider, **given)).seconds
        for provider, prompt in ((first, GUIDELINES), (other, f"{GUIDELINES} Be brief."), (again, GUIDELINES))
    ]

    assert first.asked[1] > 0.3
    assert other.asked[1] > 0.3
    assert again.asked[1] == 0.0
    assert seconds[2] < seconds[0]


def test_a_question_whose_answers_were_all_refused_is_not_proven() -> None:
    first, again = Served("purple"), Served()
    given: dict[str, Any] = {"progress": False, "seed": 0, "concurrency": 64, "batch_size": 20, "max_attempts": 1}
    with pytest.warns(smelt.SmeltWarning, match="Every row failed"):
        run_jumping(smelt.arun(reviews(100), GUIDELINES, Review, model=first, **given))
    run_jumping(smelt.arun(reviews(100), GUIDELINES, Review, model=again, **given))

    assert again.asked[1] > 0.3
