"""Single probes, and a budget for what is asked again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.lanes.breaker import Breaker, RetryBudget


def opened(seed: int = 0) -> Breaker:
    breaker = Breaker(random.Random(seed))
    for number in range(1, 11):
        breaker.left(0.0, number)
        breaker.failed(0.1, number)
    return breaker


def test_a_run_of_failures_opens_it() -> None:
    assert opened().is_open


def test_nine_failures_do_not() -> None:
    breaker = Breaker(random.Random(0))
    for number in range(1, 10):
        breaker.left(0.0, number)
        breaker.failed(0.1, number)

    assert not breaker.is_open


def test_replies_from_before_the_run_neither_prevent_nor_end_it() -> None:
    breaker = Breaker(random.Random(0))
    for number in range(1, 40):
        breaker.left(0.0, number)
    for number in range(20, 40):
        breaker.failed(0.1, number)
        breaker.succeeded(number - 20)

    assert breaker.is_open
    assert not breaker.succeeded(19)
    assert breaker.is_open


def test_failures_that_come_back_before_the_replies_do_not_open_it() -> None:
    breaker = Breaker(random.Random(0))
    for number in range(1, 401):
        breaker.left(0.0, number)

    for number in range(1, 401, 10):
        breaker.failed(0.05, number)

    assert not breaker.is_open


def test_a_probe_that_succeeds_lets_everything_through() -> None:
    breaker = opened()
    breaker.left(20.0, 11)

    assert breaker.succeeded(11)

    assert breaker.wait(20.5) == 0.0


def test_probes_are_ten_seconds_apart_in_the_end() -> None:
    breaker, now, gaps = opened(), 0.1, []
    for number in range(11, 80):
        gaps.append(breaker.wait(now))
        now += gaps[-1]
        breaker.left(now, number)
        breaker.failed(now, number)

    assert all(10.0 <= gap <= 12.0 + 1e-9 for gap in gaps[6:])
    assert sum(gaps[:6]) < 32


@given(st.integers(0, 2**32))
def test_growing_intervals_are_drawn_with_full_jitter(seed: int) -> None:
    breaker = opened(seed)

    assert 0.0 <= breaker.wait(0.1) <= 0.5


@pytest.mark.parametrize(("share", "waits"), [(0.1, False), (0.4, True)])
def test_what_fails_more_often_than_the_budget_bears_is_slowed_down_for(share: float, waits: bool) -> None:
    budget, rng, longest = RetryBudget(), random.Random(0), 0.0
    for request in range(1000):
        now = request * 0.01
        budget.failed(now) if rng.random() < share else budget.succeeded(now)
        longest = max(longest, budget.wait(now))

    assert (longest > 0) == waits
    assert longest <= 2.0


def test_the_budget_is_never_spent_for_ever() -> None:
    budget = RetryBudget()
    for _ in range(500):
        budget.failed(0.0)

    assert budget.wait(2.0) == 0.0
