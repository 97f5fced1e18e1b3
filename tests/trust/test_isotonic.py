"""A map from evidence to probability that only has to rise."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.trust.isotonic import pooled, stepped

marked = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40)


@given(marked)
def test_blocks_rise_keep_the_sums_and_are_the_nearest_rising_function(rows: list[tuple[int, bool]]) -> None:
    evidence, right = [float(known) for known, _ in rows], [mark for _, mark in rows]

    blocks = pooled(evidence, right)

    means = [one.mean for one in blocks]
    assert means == sorted(set(means))
    assert sum(one.rows for one in blocks) == len(rows)
    assert sum(one.right for one in blocks) == sum(right)
    # The least squares fit at a point is the greatest of the least means over intervals around it (min-max formula).
    levels = sorted(set(evidence))

    def mean(first: float, last: float) -> float:
        marks = [mark for known, mark in zip(evidence, right, strict=True) if first <= known <= last]
        return sum(marks) / len(marks)

    for level in levels:
        best = max(min(mean(first, last) for last in levels if last >= level) for first in levels if first <= level)
        block = [one for one in blocks if one.start <= level][-1]
        assert block.mean == pytest.approx(best)


def test_a_step_is_never_quite_sure_and_what_is_below_all_rows_belongs_to_the_first() -> None:
    steps = stepped([1.0, 2.0, 3.0, 4.0], [False, False, True, True])

    assert steps.chances == (0.25, 0.75)
    assert [steps(known) for known in (-9.0, 1.0, 2.9, 3.0, 9.0)] == [0.25, 0.25, 0.25, 0.75, 0.75]
    assert steps.rises
    assert not stepped([1.0, 2.0], [True, False]).rises


def test_many_rows_of_any_rising_shape_are_found() -> None:
    rng = random.Random(3)
    evidence = [rng.random() for _ in range(4_000)]
    right = [rng.random() < (0.5 if one < 0.7 else 0.9) for one in evidence]

    steps = stepped(evidence, right)

    assert steps(0.3) == pytest.approx(0.5, abs=0.04)
    assert steps(0.85) == pytest.approx(0.9, abs=0.04)
