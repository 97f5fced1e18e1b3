"""What a refusal teaches the processes of one machine, as pure functions."""

from __future__ import annotations

import pytest

from smelt.lanes.sharing import Measure, cut, measured

NOTHING = Measure(0.0, 0.0)
KNOWN = Measure(20.0, 10.0)


def test_what_was_let_through_is_the_rate() -> None:
    found = measured(200, 10.0, pace=22.0, known=NOTHING)

    assert found == Measure(20.0, 10.0, 200.0)


def test_a_first_measure_is_raised_if_the_pace_was_far_above_it_and_stands_for_a_short_time() -> None:
    found = measured(100, 10.0, pace=1000.0, known=NOTHING)

    assert 10.0 < found.rate < 20.0
    assert found.span < 1.0


@pytest.mark.parametrize("count", [10, 20, 50])
def test_one_measure_takes_no_more_than_half_of_the_rate(count: int) -> None:
    assert measured(count, 60.0, pace=10.0, known=KNOWN).rate >= KNOWN.rate / 2


def test_a_measure_of_many_requests_outweighs_what_was_known() -> None:
    assert measured(300, 20.0, pace=16.0, known=KNOWN).rate == pytest.approx(15.0, rel=0.03)


def test_few_requests_take_little_of_the_rate_and_late_refusals_do_not_correct_that() -> None:
    found = cut(KNOWN)

    assert 0.8 * KNOWN.rate <= found.rate < KNOWN.rate
    assert (found.span, found.counted) == (KNOWN.span, 0.0)
