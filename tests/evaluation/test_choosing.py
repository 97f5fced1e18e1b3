"""Which candidate of `tune` is thrown out, and which one is taken."""

from __future__ import annotations

import random

import pytest

from smelt.evaluation.choosing import Candidate, bar, choose, looks, rows_that_would, throw_out


def candidate(marks: list[bool], *, cost: float | None = 1.0, tokens: int = 0) -> Candidate:
    usd = None if cost is None else cost * len(marks)
    return Candidate(model="m", name="a:m", batch_size=1, marks=marks, cost_usd=usd, input_tokens=tokens)


def played(shares: list[float], seed: int) -> tuple[list[Candidate], Candidate | None]:
    """Candidates that are right with these probabilities, each dearer than the one before."""
    rng = random.Random(seed)
    ways = [candidate([], cost=None) for _ in shares]
    start = 0
    for end in looks(60, 20):
        for place, (one, share) in enumerate(zip(ways, shares, strict=True)):
            if one.state == "open":
                one.marks += [rng.random() < share for _ in range(end - start)]
                one.cost_usd = (place + 1.0) * one.rows
        start = end
        throw_out(ways, 0.95, 60)
    return ways, choose(ways, 0.95)


def test_thirty_points_are_always_thrown_out_and_never_taken() -> None:
    for seed in range(200):
        (bad, good), best = played([0.68, 0.98], seed)

        assert bad.state == "worse"
        assert bad.rows <= 60
        assert best in (good, None)


def test_ten_points_are_thrown_out_or_left_open_and_not_taken() -> None:
    outcomes = [played([0.88, 0.98], seed) for seed in range(200)]

    assert sum(best is ways[0] for ways, best in outcomes) <= 1
    assert sum(ways[0].state == "worse" for ways, _ in outcomes) >= 80
    assert sum(best is ways[1] for ways, best in outcomes) >= 20


def test_a_candidate_that_is_just_good_enough_is_rarely_thrown_out() -> None:
    assert sum(played([0.95, 1.0], seed)[0][0].state == "worse" for seed in range(400)) <= 30  # 5 % are 20.


def test_good_candidates_are_rarely_thrown_out() -> None:
    assert sum(played([0.97, 0.99], seed)[0][0].state == "worse" for seed in range(200)) <= 10


def test_the_cheapest_of_the_good_is_taken() -> None:
    cheap, dear, bad = candidate([True] * 60), candidate([True] * 59 + [False], cost=2), candidate([False] * 60, cost=0)

    assert choose([dear, cheap, bad], 0.92) is cheap


def test_a_dearer_one_that_is_better_on_no_row_is_thrown_out_when_there_are_rows_enough() -> None:
    few = [candidate([True] * 16), candidate([True] * 16, cost=2)]
    many = [candidate([True] * 40), candidate([True] * 40, cost=2)]
    better = [candidate([False] + [True] * 39), candidate([True] * 40, cost=2)]

    for one in (few, many, better):
        throw_out(one, 0.9, 60)

    assert [[other.state for other in one] for one in (few, many, better)] == [
        ["open", "open"],
        ["open", "dearer"],
        ["open", "open"],
    ]


def test_unknown_prices_are_compared_by_tokens() -> None:
    cheap, dear = candidate([True] * 40, cost=None, tokens=40), candidate([True] * 40, cost=0.1, tokens=80)

    throw_out([cheap, dear], 0.9, 60)

    assert dear.state == "dearer"


@pytest.mark.parametrize(
    ("rows", "together", "ends"),
    [(60, 5, [16, 32, 60]), (60, 20, [20, 40, 60]), (10, 1, [10]), (100, 100, [100]), (200, 1, [16, 32, 64, 128, 200])],
)
def test_each_look_has_twice_the_rows(rows: int, together: int, ends: list[int]) -> None:
    assert looks(rows, together) == ends


def test_a_reference_that_contradicts_itself_leaves_a_bar_of_its_own() -> None:
    assert bar(0.95, 0.9) == pytest.approx(0.85)
    assert bar(0.95, None) == 0.95
    assert rows_that_would(candidate([True, False]), bar(0.95, 0.02)) is not None


def test_nothing_is_taken_without_proof() -> None:
    one = candidate([True] * 57 + [False])

    assert choose([one], 0.95) is None
    assert rows_that_would(one, 0.95) in range(150, 400)
    assert rows_that_would(candidate([True] * 9 + [False]), 0.95) is None
