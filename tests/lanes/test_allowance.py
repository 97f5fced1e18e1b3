"""What a job may spend over all its processes: never more than what is in flight too much."""

from __future__ import annotations

import random

import pytest

from smelt.lanes.allowance import Allowance, Spent


def test_the_first_request_goes_alone_since_nobody_knows_what_it_takes() -> None:
    allowance = Allowance(max_cost=1.0, max_tokens=None)

    assert allowance.take("a", None)
    assert not allowance.take("b", None)
    allowance.charge("a", 0.1, 300)

    assert [allowance.take(name, None) for name in "bcdefghijkl"] == [True] * 9 + [False] * 2


def test_what_a_run_expects_is_corrected_by_what_others_took() -> None:
    allowance = Allowance(max_cost=None, max_tokens=1_000)
    assert allowance.take("a", Spent(0.0, 100))  # 150 are reserved.
    allowance.charge("a", None, 200)

    assert allowance.take("b", Spent(0.0, 200))  # 400.
    assert allowance.take("c", Spent(0.0, 200))
    assert not allowance.take("d", Spent(0.0, 1))

    assert not allowance.is_idle
    allowance.free("b")
    assert allowance.take("d", Spent(0.0, 200))


def test_what_is_granted_is_what_was_spent_and_what_may_have_been_sent() -> None:
    allowance = Allowance(max_cost=1.0, max_tokens=None)
    for name in "abc":
        assert allowance.take(name, Spent(0.1, 100))
    for name in "aabx":
        allowance.grant(name)
    assert allowance.granted == pytest.approx((0.3, 0.0))

    allowance.charge("a", 0.2, 100)
    allowance.free("b")
    allowance.free("c")

    assert allowance.granted == (0.2, 0.0)


def test_what_is_not_reported_counts_as_it_was_expected() -> None:
    allowance = Allowance(max_cost=1.0, max_tokens=1_000)
    assert allowance.take("a", Spent(0.1, 100))

    allowance.charge("a", None, None)
    allowance.charge("a", 9.0, 9_000)  # It has ended.

    assert (round(allowance.cost, 9), allowance.tokens) == (0.15, 150)
    assert str(allowance) == "$0.1500 of max_cost=$1.0000 and 150 of max_tokens_total=1,000 tokens"


@pytest.mark.parametrize("seed", range(20))
def test_it_is_overspent_by_at_most_what_is_in_flight(seed: int) -> None:
    rng, allowance = random.Random(seed), Allowance(max_cost=None, max_tokens=5_000)
    flying: dict[int, int] = {}
    for number in range(400):
        real = rng.randint(50, 400)
        estimate = rng.choice([None, Spent(0.0, real * rng.uniform(0.3, 2.0))])
        if len(flying) < 8 and allowance.take(number, estimate):
            flying[number] = real
        elif flying and rng.random() < 0.7:
            done = rng.choice([*flying])
            allowance.charge(done, None, flying.pop(done))
        assert allowance.tokens + sum(flying.values()) <= 5_000 + sum([*flying.values(), 400])

    assert allowance.tokens <= 5_000 + 8 * 400
    assert allowance.tokens >= 4_000
