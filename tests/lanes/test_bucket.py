"""A bucket seen from outside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.lanes.bucket import Bucket
from smelt.lanes.limits import Quota


def announced(quota: Quota, *, corrects: bool = False, amount: float = 1.0) -> Bucket:
    """A bucket that learnt *quota* from the first request, which left at 0 s and came back at once."""
    bucket = Bucket(corrects=corrects)
    mark = bucket.reserve(0.0, amount)
    bucket.announce(0.0, quota, number=1, left_at=0.0, mark=mark)
    return bucket


def test_what_is_not_known_makes_nobody_wait() -> None:
    bucket = Bucket()

    bucket.reserve(0.0, 1e9)

    assert bucket.wait(0.0, 1e9) == 0.0


@pytest.mark.parametrize(
    ("quota", "rate", "size"),
    [
        (Quota(600, 590, 1.0), 10.0, 600),
        (Quota(600, 5, 0.5), 10.0, 10),
        (Quota(600, 599, None), 10.0, 600),
        (Quota(14_400, 14_370, 180.0), 1 / 6, 14_400),  # Groq announces requests per day.
        (Quota(60, 0, 60.0), 1.0, 60),
    ],
    ids=["a minute", "smaller than a minute", "without a reset", "a day", "empty"],
)
def test_rate_and_size_are_learnt(quota: Quota, rate: float, size: float) -> None:
    bucket = announced(quota)

    assert bucket.rate == pytest.approx(rate, rel=0.01)
    assert bucket.size == pytest.approx(size, rel=0.01)


def test_an_empty_bucket_makes_wait_until_there_is_enough() -> None:
    bucket = announced(Quota(600, 0, 60.0))

    assert bucket.wait(0.0, 5.0) == pytest.approx(0.5)
    assert bucket.wait(0.5, 5.0) == pytest.approx(0.0)


def test_more_than_a_bucket_holds_needs_a_full_one() -> None:
    bucket = announced(Quota(600, 0, 1.0))

    assert bucket.wait(0.0, 500.0) == pytest.approx(1.0)


def test_after_a_long_sleep_there_is_one_burst_and_no_more() -> None:
    bucket = announced(Quota(600, 0, 1.0))

    assert bucket.left(3600.0) == pytest.approx(10.0)


def test_a_reply_that_was_overtaken_says_nothing() -> None:
    bucket = announced(Quota(600, 300, 30.0))
    marks = [bucket.reserve(0.1, 1.0) for _ in range(2)]

    bucket.announce(0.2, Quota(600, 10, 59.0), number=3, left_at=0.1, mark=marks[1])
    bucket.announce(0.2, Quota(600, 299, 30.1), number=2, left_at=0.1, mark=marks[0])

    assert bucket.left(0.2) < 20


def sent_in(bucket: Bucket, seconds: float, *, left: float, start: float = 0.0) -> int:
    """Requests that leave in so many seconds while others see to it that so much is left."""
    now, sent = start, 0
    while (now := now + bucket.wait(now, 1.0) + 1e-6) < start + seconds:
        sent += 1
        mark = bucket.reserve(now, 1.0)
        bucket.announce(now, Quota(600, left, 1.0), number=round(now * 1e6), left_at=now, mark=mark)
    return sent


def test_what_others_use_up_is_left_to_them_and_comes_back_with_time() -> None:
    bucket = announced(Quota(600, 590, 1.0))
    usual = sent_in(bucket, 5.0, left=9.0, start=2.0)  # Until 1.0 it is taken for a window, in which nothing waits.

    emptied = sent_in(bucket, 10.0, left=2.0, start=10.0)
    soon, later = (sent_in(bucket, 5.0, left=9.0, start=start) for start in (30.0, 60.0))

    assert emptied / 2 < 0.5 * usual
    assert soon < 0.8 * usual
    assert later > soon


def test_the_estimate_is_corrected_by_what_is_charged() -> None:
    bucket = announced(Quota(60_000, 50_000, 10.0), corrects=True, amount=100.0)
    left = 50_000.0
    for number in range(2, 20):
        now = number * 0.1
        mark = bucket.reserve(now, 100.0)
        left += 100.0 - 300.0  # A tenth of a second's refill, and three times the estimate.
        bucket.announce(now, Quota(60_000, left, (60_000 - left) / 1000), number=number, left_at=now, mark=mark)

    assert bucket.ratio == pytest.approx(3.0, rel=0.15)


def test_what_is_given_back_after_the_limit_has_changed_says_nothing_of_the_charges() -> None:
    bucket = announced(Quota(5_000, 100, 10.0), corrects=True, amount=191.0)
    refused = bucket.reserve(1.0, 191.0)
    bucket.announce(1.1, Quota(500, 70, 1.5), number=2, left_at=1.0, mark=refused)
    bucket.give_back(191.0, 2)

    for number, now in enumerate([2.0, 20.0, 40.0, 60.0], 3):
        mark = bucket.reserve(now, 191.0 * (number > 3))
        bucket.announce(now + 1, Quota(500, 0, 19.7), number=number, left_at=now, mark=mark)

    assert bucket.ratio <= 1.5


@pytest.mark.parametrize("is_late", [False, True], ids=["before the next is announced", "after it"])
def test_what_is_refused_says_nothing_of_the_charges(is_late: bool) -> None:
    bucket = announced(Quota(60_000, 50_000, 10.0), corrects=True, amount=100.0)
    left = 50_000.0
    for number in range(2, 40, 2):
        now = number * 0.1
        refused = bucket.reserve(now, 100.0)
        if not is_late:
            bucket.give_back(100.0, number)
            bucket.announce(now, Quota(60_000, left, 10.0), number=number, left_at=now, mark=refused - 100.0)
        mark = bucket.reserve(now, 100.0)
        left += 200.0 - 100.0  # Two tenths of a second's refill, and what was charged for one of both.
        bucket.announce(now, Quota(60_000, left, 10.0), number=number + 1, left_at=now, mark=mark)
        if is_late:
            bucket.give_back(100.0, number)

    assert bucket.ratio == pytest.approx(1.0, rel=0.15)


def test_a_fixed_window_is_waited_out() -> None:
    bucket = Bucket()
    for number, (now, remaining) in enumerate([(0.0, 599), (5.0, 300), (10.0, 0)], 1):
        mark = bucket.reserve(now, 1.0)
        bucket.announce(now, Quota(600, remaining, 60.0 - now), number=number, left_at=now, mark=mark)

    assert bucket.wait(20.0, 1.0) == pytest.approx(40.0)
    assert bucket.wait(60.0, 1.0) == 0.0


@given(st.lists(st.tuples(st.floats(1.0, 500.0), st.floats(0.0, 1000.0)), max_size=30))
def test_reserving_and_adjusting_conserve(requests: list[tuple[float, float]]) -> None:
    bucket = Bucket(rate=1e-9, size=1e6)
    for amount, _ in requests:
        bucket.reserve(0.0, amount)
    for amount, actual in requests:
        bucket.adjust(amount, actual)

    assert bucket.left(0.0) == pytest.approx(1e6 - sum(actual for _, actual in requests), rel=1e-6)


@given(
    rate=st.floats(0.1, 100.0),
    seconds=st.floats(0.1, 60.0),
    amounts=st.lists(st.floats(0.1, 50.0), min_size=1, max_size=60),
)
def test_who_waits_as_told_never_takes_more_than_was_refilled(
    rate: float, seconds: float, amounts: list[float]
) -> None:
    size = max(1.0, rate * seconds)
    bucket, now, taken = Bucket(rate=rate, size=size), 0.0, 0.0

    for amount in amounts:
        now += bucket.wait(now, amount) + 1e-9
        bucket.reserve(now, amount)
        taken += amount
        # What is larger than the bucket is taken from a full one, and owed.
        assert taken <= size + rate * now + max(amounts) + 1e-6


def test_a_limit_that_falls_is_not_taken_for_others_who_use_it() -> None:
    bucket = Bucket()
    for number, (limit, left) in enumerate([(600.0, 599.0), (600.0, 598.0), (60.0, 5.0), (60.0, 5.0)], start=1):
        mark = bucket.reserve(float(number), 1.0)
        quota = Quota(limit, left, reset=(limit - left) / limit * 60)
        bucket.announce(number + 0.5, quota, number=number, left_at=float(number), mark=mark)

    assert bucket.wait(4.5, 10.0) <= 7.0


def test_a_bucket_that_may_have_run_over_says_nothing_of_what_is_charged() -> None:
    bucket = Bucket(corrects=True)
    for number, now in enumerate([0.0, 600.0], start=1):
        mark = bucket.reserve(now, 100.0)
        quota = Quota(6000.0, 50.0, reset=0.5)
        bucket.announce(now + 0.5, quota, number=number, left_at=now, mark=mark)

    assert bucket.ratio == 1.0


def test_a_reset_of_nothing_does_not_make_a_bucket_small() -> None:
    bucket = Bucket()
    for number, remaining in enumerate((20.0, 12.0, 3.0), start=1):
        mark = bucket.reserve(float(number), 1.0)
        quota = Quota(1200.0, remaining, 0.0)
        bucket.announce(number + 0.1, quota, number=number, left_at=float(number), mark=mark)

    assert bucket.size == 20.0


def test_the_last_requests_do_not_wait_where_there_is_enough_for_all() -> None:
    bucket = Bucket()
    mark = bucket.reserve(0.0, 1.0)
    bucket.announce(0.1, Quota(600.0, 3.0, 0.7), number=1, left_at=0.0, mark=mark)
    bucket.reserve(0.1, 1.0)

    assert bucket.wait(0.1, 1.0) > 0.0
    assert bucket.wait(0.1, 1.0, rest=2) == 0.0
    assert bucket.wait(0.1, 1.0, rest=4) > 0.0
