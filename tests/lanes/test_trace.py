"""The rate of a hidden bucket, from the requests between two refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.lanes.trace import Trace


def trace(times: list[float]) -> Trace:
    found = Trace()
    for at in times:
        found.add(at)
    return found


def test_between_two_refusals_as_much_was_let_through_as_was_refilled() -> None:
    times = [one / 10 for one in range(1, 101)]

    assert trace(times).rate(10.0, 100, size=lambda rate: 1000) == pytest.approx(10.0, rel=0.02)


def test_what_ran_over_is_counted_as_refilled() -> None:
    slow, fast = [one / 2 for one in range(1, 17)], [8 + one / 20 for one in range(1, 41)]

    small = trace(slow + fast).rate(10.0, 56, size=lambda rate: 10)
    large = trace(slow + fast).rate(10.0, 56, size=lambda rate: 1000)

    assert large == pytest.approx(5.6, rel=0.05)
    assert small > 1.3 * large


def test_what_was_let_through_lately_and_not_held_before_was_refilled() -> None:
    slow, fast = [float(one) for one in range(1, 61)], [60 + one / 20 for one in range(1, 81)]

    assert trace(slow + fast).least(64.0, 140, size=20) == pytest.approx(15.0, rel=0.05)


def test_a_pace_that_a_full_bucket_explains_says_nothing_of_the_rate() -> None:
    assert trace([one / 20 for one in range(1, 41)]).least(2.0, 40, size=40) == 0.0


def test_only_what_left_before_the_refused_request_counts() -> None:
    assert trace([1.0] * 30).rate(1.0, 10, size=lambda rate: 100) == pytest.approx(10.5, rel=0.05)


@given(st.integers(1, 5000))
def test_a_long_trace_stays_small_and_loses_no_request(requests: int) -> None:
    found = trace([one / 100 for one in range(requests)])

    assert found.rate(requests / 100, requests, size=lambda rate: 1e9) == pytest.approx(100.0, rel=0.02, abs=60)
