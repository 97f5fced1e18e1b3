"""How many of a cheap model's answers may be kept: the exact tail, the walk, and the promise over many frames."""

from __future__ import annotations

from itertools import combinations

import pytest

from smelt.trust.walk import accepted, allowed_wrong, labels_wanted, tail
from tests.bench.cascades import SETTINGS, Setting, broken_and_saved


def test_the_tail_is_the_share_of_all_draws() -> None:
    rows, wrong = 9, 3
    draws = list(combinations(range(rows), 4))

    for met in range(4):
        share = sum(sum(row < wrong for row in draw) <= met for draw in draws) / len(draws)
        assert tail(rows, wrong, 4, met) == pytest.approx(share)


def test_the_tail_of_a_large_frame_is_finite_and_sums_to_one() -> None:
    assert tail(1_000_000, 50_000, 5_000, 5_000) == pytest.approx(1, abs=1e-6)
    assert 0 < tail(1_000_000, 50_000, 5_000, 200) < 1e-3


def test_what_may_be_wrong_is_counted_exactly() -> None:
    assert [allowed_wrong(rows, 0.95) for rows in (0, 19, 20, 100, 10_000)] == [0, 0, 1, 5, 500]
    assert allowed_wrong(1_000, 0.9) == 100


@pytest.mark.parametrize(
    ("rows", "labels"), [(40, 40), (100, 88), (1_000, 143), (10_000, 450), (50_000, 1_007)], ids=str
)
def test_labels_grow_with_the_root_of_the_rows(rows: int, labels: int) -> None:
    assert labels_wanted(rows, 0.95, 0.95) == labels


def test_all_labels_right_let_all_be_kept_and_too_few_prove_nothing() -> None:
    every = dict.fromkeys(range(0, 1_000, 7), False)

    assert accepted(1_000, every, 0.95, 0.95) == 1_000
    assert accepted(1_000, dict.fromkeys(range(0, 1_000, 20), False), 0.95, 0.95) < 1_000
    assert accepted(1_000, {}, 0.95, 0.95) == 50
    assert accepted(0, {}, 0.95, 0.95) == 0


def test_the_walk_stops_at_the_first_step_that_is_not_proved() -> None:
    labels = {rank: 400 <= rank < 500 for rank in range(0, 1_000, 2)}

    assert accepted(1_000, labels, 0.95, 0.95) == 400


@pytest.mark.parametrize("setting", [one for one in SETTINGS if one.is_quick], ids=lambda one: one.name)
def test_the_promise_holds_and_saves(setting: Setting) -> None:
    broken, saved = broken_and_saved(setting, frames=100, seed=3)

    assert broken <= 10  # Of 100; 5 at most are to be expected, and 11 in one case of 100.
    assert saved >= setting.least_saved
