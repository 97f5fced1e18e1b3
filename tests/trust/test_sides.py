"""Promised precision and recall. The figures of 2,000 frames for each setting: `tests/bench/filters.py`."""

from __future__ import annotations

from itertools import combinations

import pytest

from smelt.trust.sides import Sides
from smelt.trust.walk import fewest_right, tail
from tests.bench.filters import FILTERS, Filter, broken_and_saved


@pytest.mark.parametrize("one", [one for one in FILTERS if one.is_quick], ids=lambda one: one.name)
def test_the_promise_holds_and_saves(one: Filter) -> None:
    missed, lost, saved = broken_and_saved(one, frames=100, seed=3)

    assert max(missed, lost) <= 10  # Of 100; 5 at most are to be expected, and 11 in one case of 100.
    assert saved >= one.least_saved


def test_the_bound_of_the_right_ones_is_wrong_as_seldom_as_it_says() -> None:
    rows, risk = 9, 0.2
    for wrong in range(rows + 1):
        draws = list(combinations(range(rows), 5))
        false = sum(fewest_right(rows, 5, sum(row < wrong for row in draw), risk) > rows - wrong for draw in draws)
        assert false / len(draws) <= risk


def test_the_bound_is_the_closest_one() -> None:
    right = fewest_right(1_000, 100, 5, 0.05)

    assert tail(1_000, 1_000 - right + 1, 100, 5) <= 0.05 < tail(1_000, 1_000 - right, 100, 5)
    assert fewest_right(50, 50, 7, 0.05) == 43
    assert fewest_right(50, 0, 0, 0.05) == 0
    assert fewest_right(50, 1, 1, 0.05) == 0
    assert fewest_right(0, 0, 0, 0.05) == 0


def test_what_is_not_promised_is_kept_without_a_label() -> None:
    precise = Sides(precision=0.95, recall=None, confidence=0.95)
    complete = Sides(precision=None, recall=0.95, confidence=0.95)

    assert (precise.labels_false(900, 100), precise.kept_false(900, {}, 100, {})) == (0, 900)
    assert complete.kept_true(100, {3: True}) == 100
    assert complete.labels_true(100) == 60  # They say how many true rows there are.


@pytest.mark.parametrize("true", [0, 1, 10])
def test_with_few_true_rows_all_false_ones_are_asked(true: int) -> None:
    complete = Sides(precision=None, recall=0.95, confidence=0.95)

    assert complete.labels_false(1_000, true) == 1_000
    labels = dict.fromkeys(range(1_000), False)
    assert complete.kept_false(1_000, labels, true, dict.fromkeys(range(true), False)) in (0, 1_000)


def test_sides_without_rows_keep_nothing() -> None:
    both = Sides(precision=0.9, recall=0.9, confidence=0.95)

    assert (both.labels_true(0), both.labels_false(0, 100), both.kept_true(0, {})) == (0, 0, 0)
    assert both.kept_false(0, {}, 0, {}) == 0
