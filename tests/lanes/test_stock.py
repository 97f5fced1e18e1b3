"""What a hidden bucket holds."""

from __future__ import annotations

import pytest

from smelt.lanes.stock import Opening, Stock


def opening(times: list[float], refused_at: float, *, late: int = 0) -> Opening:
    found = Opening()
    for at in times:
        found.add(at)
    found.end(refused_at, len(times) - late)
    return found


def test_a_bucket_holds_what_a_burst_took_from_it() -> None:
    assert opening([5.0] * 20, 5.0).size(20.0) == pytest.approx(20.5)


def test_what_came_in_during_the_burst_is_taken_off() -> None:
    assert opening([at / 40 for at in range(40)], 1.0).size(20.0) == pytest.approx(20.5, abs=1)


def test_what_left_while_the_bucket_was_full_says_nothing() -> None:
    few = [0.0, 10.0, 20.0, 30.0]

    assert opening([*few, *20 * [40.0]], 40.0).size(20.0) == pytest.approx(20.5)


def test_requests_that_were_refused_as_well_are_not_counted() -> None:
    assert opening([5.0] * 23, 5.0, late=3).size(20.0) == pytest.approx(20.5)


def test_a_bucket_that_was_empty_already_has_no_known_size() -> None:
    assert opening([], 0.0).size(20.0) == 0.0


def test_a_stock_grows_to_less_than_the_bucket_holds() -> None:
    stock = Stock()
    stock.size = 10.0
    stock.emptied(1.0)

    stock.take(1.5, 8.0)

    assert stock.left(1.5, 8.0) == pytest.approx(3.0)
    assert stock.left(100.0, 8.0) == pytest.approx(9.0)
