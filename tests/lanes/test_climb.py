"""How much concurrency a queueing server is given."""

from __future__ import annotations

import pytest

from smelt.lanes.climb import Climb


def converge(slots: int, start: int, most: int, *, rounds: int = 200) -> list[int]:
    """The window over time on a server that works on so many requests at once, each for a second."""
    climb, limit, now, windows = Climb(), start, 0.0, []
    for _ in range(rounds):
        seconds = max(1.0, limit / slots)  # Little's law: what is over its slots, waits.
        for _ in range(limit):
            now += seconds / limit
            factor = climb.answered(now, seconds, 100.0, limit, is_most=limit >= most)
            if factor != 1.0:
                limit = max(1, min(most, round(limit * factor)))
                break
        windows.append(limit)
    return windows


@pytest.mark.parametrize("start", [4, 64, 256])
@pytest.mark.parametrize("slots", [8, 32])
def test_it_ends_where_the_queue_is_short_and_the_server_busy(slots: int, start: int) -> None:
    last = converge(slots, start, 512)[-50:]

    assert 0.85 * slots <= sum(last) / len(last) <= 2 * slots


def test_it_opens_as_long_as_more_comes_back() -> None:
    assert converge(10_000, 16, 512)[-1] == 512


def test_a_window_that_cannot_open_and_is_not_slow_stays() -> None:
    assert set(converge(64, 64, 64)) == {64}


def test_a_round_that_was_interrupted_says_nothing() -> None:
    climb = Climb()
    for reply in range(60):
        assert climb.answered(reply * 0.1, 1.0, 10.0, 64, is_most=False) == 1.0
    climb.interrupted()

    for reply in range(60):
        assert climb.answered(10 + reply * 0.1, 1.0, 10.0, 64, is_most=False) == 1.0
