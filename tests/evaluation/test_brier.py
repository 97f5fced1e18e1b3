"""The Brier score of confidence, and its parts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.evaluation.brier import Brier, bins_of, brier

rated = st.lists(st.tuples(st.floats(0.01, 0.99), st.booleans()), min_size=1, max_size=60)


def of(chances: list[float], right: list[bool]) -> Brier:
    order = sorted(range(len(chances)), key=chances.__getitem__)
    bins = [[order[at] for at in one] for one in bins_of(order, 10, 20)]
    return brier("mood", chances, right, bins)


@given(rated)
def test_the_parts_add_up_to_the_score(rows: list[tuple[float, bool]]) -> None:
    found = of([chance for chance, _ in rows], [mark for _, mark in rows])

    assert found.score == pytest.approx(found.reliability - found.resolution + found.uncertainty, abs=1e-9)
    assert 0 <= found.resolution <= found.uncertainty + 1e-9
    assert found.reliability >= 0


def test_confidence_that_is_too_high_is_told_from_confidence_that_tells_nothing() -> None:
    rng = random.Random(1)
    chances = [rng.choice([0.6, 0.95]) for _ in range(4_000)]
    right = [rng.random() < one for one in chances]

    good = of(chances, right)
    boastful = of([1 - (1 - one) / 4 for one in chances], right)
    empty = of([0.78] * 4_000, right)

    assert good.error < 0.02
    assert good.resolution > 0.025
    assert boastful.resolution == pytest.approx(good.resolution, abs=1e-9)
    assert boastful.reliability > 0.03 > 10 * good.reliability
    assert boastful.error > 0.15
    assert empty.resolution == 0
    assert "for being off" in repr(boastful)


def test_bins_hold_all_rows_and_no_bin_is_small() -> None:
    assert [len(one) for one in bins_of(range(39), 10, 20)] == [39]
    assert [len(one) for one in bins_of(range(45), 10, 20)] == [22, 23]
    assert len(bins_of(range(1_000), 10, 20)) == 10
