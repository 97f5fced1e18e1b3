"""Exact bounds of shares."""

from __future__ import annotations

import random
from itertools import accumulate
from math import comb

import pytest

from smelt.trust.exact import at_least, fewest_rows, highest, lowest, rows_wanted, too_many


@pytest.mark.parametrize("of", [1, 7, 40])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.95])
def test_the_tail_is_the_sum_of_its_terms(of: int, share: float) -> None:
    for count in range(of + 2):
        wanted = sum(comb(of, n) * share**n * (1 - share) ** (of - n) for n in range(count, of + 1))
        assert at_least(count, of, share) == pytest.approx(wanted, abs=1e-12)


def test_shares_of_none_and_all_are_exact() -> None:
    assert [at_least(1, 5, share) for share in (0.0, 1.0)] == [0.0, 1.0]
    assert (lowest(0, 10, 0.05), highest(10, 10, 0.05)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("differing", "of", "bound"),
    [(0, 50, 0.942), (1, 50, 0.909), (2, 50, 0.879), (3, 50, 0.852), (0, 100, 0.970), (3, 200, 0.962)],
)
def test_the_bounds_are_those_of_the_table(differing: int, of: int, bound: float) -> None:
    assert lowest(of - differing, of, 0.05) == pytest.approx(bound, abs=5e-4)
    assert highest(differing, of, 0.05) == pytest.approx(1 - bound, abs=5e-4)


@pytest.mark.parametrize(("share", "rows"), [(0.9, 29), (0.95, 59), (0.98, 149)])
def test_the_fewest_rows_that_prove_a_share(share: float, rows: int) -> None:
    assert fewest_rows(share, 0.05) == rows
    assert lowest(rows, rows, 0.05) >= share > lowest(rows - 1, rows - 1, 0.05)


def test_the_rows_that_would_prove_it() -> None:
    rows = rows_wanted(0.98, 0.95, 0.05)

    assert rows is not None
    assert lowest(round(0.98 * rows), rows, 0.05) >= 0.95
    assert rows_wanted(0.95, 0.95, 0.05) is None
    assert rows_wanted(0.950001, 0.95, 0.05) is None


def test_large_counts_take_no_time() -> None:
    assert lowest(95_500, 100_000, 0.05) == pytest.approx(0.9539, abs=2e-4)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_one_look_has_the_whole_risk(share: float) -> None:
    (bound,) = too_many([60], 60, share, 0.05)

    assert at_least(bound, 60, 1 - share) <= 0.05 < at_least(bound - 1, 60, 1 - share)


@pytest.mark.parametrize("share", [0.6, 0.9, 0.95])
@pytest.mark.parametrize("looks", [(16, 32, 60), (20, 40, 80, 100), (1, 2, 3, 4, 5)])
def test_all_looks_together_have_no_more(looks: tuple[int, ...], share: float) -> None:
    bounds = too_many(looks, looks[-1], share, 0.05)
    rng, runs, met = random.Random(f"{looks} {share}"), 4_000, 0
    for _ in range(runs):
        lacking = list(accumulate(rng.random() >= share for _ in range(looks[-1])))
        met += any(lacking[rows - 1] >= bound for rows, bound in zip(looks, bounds, strict=True))

    assert met / runs <= 0.05 + 0.01  # Three times the error of 4,000 runs.
    assert bounds == sorted(bounds)
    assert too_many(looks[:2], looks[-1], share, 0.05) == bounds[:2]


def test_thousands_of_rows_take_no_time_to_speak_of() -> None:
    assert too_many([5_000, 10_000], 10_000, 0.5, 0.05)[-1] in range(5_070, 5_110)
