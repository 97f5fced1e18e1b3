"""Numbers of any size, counted in few buckets."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.observe.histogram import Histogram

SIZES = st.floats(min_value=1e-6, max_value=1e6)


def counted(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(st.lists(SIZES, min_size=1), st.sampled_from([0.01, 0.5, 0.95, 1.0]))
def test_a_quantile_is_off_by_two_percent_at_the_most(values: list[float], share: float) -> None:
    wanted = sorted(values)[max(1, ceil(share * len(values))) - 1]

    assert counted(values).quantile(share) == pytest.approx(wanted, rel=0.0225)


@given(st.lists(SIZES, min_size=1), st.sampled_from([1, 2, 4, 8, 16]))
def test_every_number_is_in_one_bar(values: list[float], per_octave: int) -> None:
    histogram = counted(values)
    first, last = histogram.octaves

    bars = histogram.bars(first, last, per_octave)

    assert sum(bars) == len(values) == histogram.count
    assert 2.0**first <= min(values) <= max(values) < 2.0**last


@given(st.lists(st.tuples(SIZES, st.integers(1, 50)), min_size=1))
def test_a_weight_counts_like_as_many_numbers(pairs: list[tuple[float, int]]) -> None:
    weighed, repeated = Histogram(), counted([value for value, weight in pairs for _ in range(weight)])
    for value, weight in pairs:
        weighed.add(value, weight)

    assert weighed.counts == repeated.counts
    assert weighed.mean == pytest.approx(repeated.mean)


def test_a_single_number_is_known_exactly() -> None:
    assert counted([1.234]).quantile(0.5) == 1.234


def test_zero_is_a_number() -> None:
    histogram = counted([0.0, 0.0, 3.0])

    assert (histogram.count, histogram.most) == (3, 3.0)
    assert histogram.quantile(0.5) == pytest.approx(0.0, abs=1e-6)


def test_of_nothing_everything_is_zero() -> None:
    empty = Histogram()

    assert (empty.count, empty.mean, empty.quantile(0.5), empty.octaves) == (0, 0.0, 0.0, (0, 0))
