"""The hidden rate."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.lanes.pace import Pace


def test_nothing_is_known_before_the_first_refusal() -> None:
    pace = Pace(random.Random(0))

    pace.left(0.0)

    assert pace.wait(0.0) == 0.0
    assert not pace.is_limiting


def refuse(pace: Pace, now: float, told: float | None = None) -> bool:
    number, clock = pace.left(now)
    return pace.refused(now, number, now, clock, told)


def test_refusals_of_requests_that_were_in_flight_together_are_one() -> None:
    pace = Pace(random.Random(0))
    slots = [pace.left(0.0) for _ in range(10)]

    news = [pace.refused(0.1, number, 0.0, clock, None) for number, clock in slots]

    assert news == [True] + 9 * [False]


@given(told=st.floats(0.0, 900.0), later=st.floats(0.0, 1000.0))
def test_it_never_comes_back_sooner_than_told(told: float, later: float) -> None:
    pace = Pace(random.Random(0))
    refuse(pace, 5.0, told)

    assert later + pace.wait(5.0 + later) >= told - 1e-9


def test_pauses_grow_while_nothing_is_let_through() -> None:
    pace, now, pauses = Pace(random.Random(1)), 0.0, []
    for _ in range(40):
        refuse(pace, now)
        pauses.append(pace.wait(now))
        now += pauses[-1] + 1e-6

    assert sum(pauses[:3]) < 10.0
    assert sum(pauses[20:]) / 20 > 10.0
    assert max(pauses) <= 70.0


def test_the_pace_climbs_ever_faster_while_nothing_is_refused() -> None:
    pace, now = Pace(random.Random(0)), 0.0
    refuse(pace, now, 1.0)
    sent = 0
    while sent < 60:
        now += max(1e-6, pace.wait(now))
        pace.left(now)
        sent += 1
    refuse(pace, now, 1.0)
    assert pace.rate is not None
    start, rate = now, pace.rate

    while now < start + 60 and pace.current() <= 10 * rate:
        now += max(1e-6, pace.wait(now))
        pace.left(now)

    assert 5 < now - start < 60


def test_time_without_requests_does_not_raise_the_pace() -> None:
    pace = Pace(random.Random(0))
    refuse(pace, 0.0, 1.0)
    refuse(pace, 3.0, 1.0)
    before = pace.current()

    pace.left(10_000.0)

    assert pace.current() < 2 * before


def refused_every_second(pace: Pace, *, flying: int) -> float:
    """The wait after a refusal of which the news took half a second, while *flying* more requests left."""
    for at in range(3):
        refuse(pace, float(at), told=0.0)
    number, clock = pace.left(10.0)
    for _ in range(flying):
        pace.left(10.25)
    pace.refused(10.5, number, 10.0, clock, 0.0)
    return pace.wait(10.5)


def test_what_was_refilled_while_the_news_travelled_went_to_those_that_left_meanwhile() -> None:
    alone, among = (refused_every_second(Pace(random.Random(0)), flying=flying) for flying in (0, 3))

    assert alone < among


def test_an_earlier_request_that_was_refused_too_was_not_let_through() -> None:
    pace = Pace(random.Random(0))
    refuse(pace, 0.0, told=0.0)
    sent = [pace.left(1.0 + at / 10) for at in range(10)]
    number, clock = sent[-1]
    pace.refused(2.0, number, 1.9, clock, 0.0)
    before = pace.rate

    pace.refused(2.1, sent[-2][0], 1.8, sent[-2][1], 0.0)

    assert before is not None
    assert pace.rate is not None
    assert pace.rate < before


def refused_twice() -> Pace:
    """A pace that has met ten requests' bucket twice, and measured 10 requests a second."""
    pace = Pace(random.Random(0))
    for _ in range(11):
        number, clock = pace.left(0.0)
    pace.refused(0.1, number, 0.0, clock, 1.0)
    now = 1.1
    for _ in range(12):
        number, clock = pace.left(now)
        now += 0.1
    pace.refused(now, number, now - 0.1, clock, 1.0)
    return pace


def test_the_last_requests_leave_at_once_if_the_bucket_is_sure_to_hold_them() -> None:
    pace = refused_twice()
    now = 6.0
    pace.left(now)

    assert pace.wait(now) > 0
    assert pace.wait(now, rest=30) > 0
    assert pace.wait(now, rest=5) == 0


def test_no_request_leaves_early_while_a_pause_is_asked_for() -> None:
    pace = refused_twice()

    assert pace.wait(2.8, rest=1) > 0


def test_what_is_caught_up_with_after_a_pause_is_no_more_than_the_bucket_holds() -> None:
    pace = refused_twice()
    now, sent = 2.4, 0
    while pace.wait(now) == 0 or sent < 30:
        now += pace.wait(now)
        pace.left(now)
        sent += 1

    assert sent / (now - 2.4) < 12


def test_near_the_end_of_a_job_the_pace_does_not_climb_over_what_was_measured() -> None:
    pace = refused_twice()
    assert pace.rate is not None
    for at in range(60):
        now = 2.4 + at / pace.rate
        pace.left(now)

    assert pace.wait(now) < 0.5 / pace.rate
    assert pace.wait(now, rest=5) == pytest.approx(1 / pace.rate)
