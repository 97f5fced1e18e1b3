"""Which rows an audit asks again, and what it concludes. The figures of 1,000 seeds: `tests/bench/audits.py`."""

from __future__ import annotations

import pytest

from smelt.trust.audit import Findings, audit
from tests.trust.audits import played

SEEDS = range(12)


@pytest.mark.parametrize("wrong", [0.01, 0.02])
def test_two_changed_requests_of_five_hundred_are_found_and_their_rows_named(wrong: float) -> None:
    for seed in SEEDS:
        found, hostile = played(wrong=wrong, seed=seed)

        requests = {row // 20 for row in hostile}
        assert found.alarms
        assert {one.request for one in found.alarms} <= requests
        assert {one.by for one in found.alarms} <= hostile | {None}
        assert found.asked <= 0.11 * 10_000
        assert found.noise == pytest.approx(2 * wrong, abs=0.02)


def test_without_the_search_it_costs_less_than_eight_percent() -> None:
    assert all(played(seed=seed, finds_rows=False)[0].asked <= 0.08 * 10_000 for seed in SEEDS)


@pytest.mark.parametrize("wrong", [0.0, 0.01, 0.1])
def test_a_clean_run_raises_no_alarm(wrong: float) -> None:
    found = [played(poisoned=0, wrong=wrong, seed=seed, requests=200)[0] for seed in SEEDS]

    assert [one.alarms for one in found] == [[]] * len(found)


def test_many_changed_requests_do_not_pass_for_noise() -> None:
    found, _ = played(requests=200, poisoned=40, seed=3)

    assert len(found.alarms) >= 36
    assert found.noise < 0.1


def test_half_of_the_neighbours_are_enough() -> None:
    assert all(played(poisoned=8, turned=0.5, seed=seed)[0].alarms for seed in SEEDS)


@pytest.mark.parametrize("size", [2, 5, 50])
def test_requests_of_other_sizes_are_looked_at(size: int) -> None:
    found, _ = played(requests=40, size=size, poisoned=4, seed=1)

    assert found.requests == 40
    assert bool(found.alarms) is (size > 2)  # One neighbour is no proof.


def test_requests_of_one_row_have_nothing_to_change() -> None:
    found = Findings()

    assert list(audit({1: "a"}, {1: [1]}, found, size=20, seed=0, finds_rows=True)) == []
    assert (found.requests, found.asked) == (0, 0)


def test_rows_without_a_new_answer_are_no_difference() -> None:
    found, first = Findings(), dict.fromkeys(range(40), "a")
    steps = audit(first, {1: range(20), 2: range(20, 40)}, found, size=20, seed=0, finds_rows=True)
    next(steps)

    with pytest.raises(StopIteration, match="^$"):
        steps.send({})

    assert (found.sampled, found.alarms) == (0, [])
