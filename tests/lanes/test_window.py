"""How many requests may be in flight."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.lanes.window import Window


def proven(most: int, *, at_once: int | None = None) -> Window:
    window = Window(most, at_once=at_once)
    window.left(0.0)
    window.answered(0.5, 0.5, 100.0)
    window.returned()
    return window


def fill(window: Window, start: float, seconds: float) -> int:
    """Send as fast as it allows, without a reply."""
    now = start
    while (wait := window.wait(now)) < math.inf and now + wait <= start + seconds:
        now += wait
        window.left(now)
    return window.in_flight


def test_little_is_sent_before_the_first_reply() -> None:
    assert fill(Window(512), 0.0, 10.0) == 16


def test_the_start_doubles_in_a_fraction_of_a_replys_time() -> None:
    window = proven(512)

    assert fill(window, 0.5, 0.0) == 16
    assert 24 <= fill(window, 0.5, 0.05) <= 48
    assert fill(window, 0.55, 0.3) == 512


def test_the_start_lasts_until_all_have_left_or_one_is_refused() -> None:
    window, refused = proven(64), proven(64)

    assert window.is_starting
    assert refused.is_starting
    fill(window, 0.5, 1.0)
    refused.left(0.6)
    refused.refused(0.7, 0.6, cut=False)

    assert not window.is_starting
    assert not refused.is_starting


def test_beyond_what_may_go_at_once_replies_are_awaited() -> None:
    assert fill(proven(512, at_once=64), 0.5, 60.0) == 64


def test_a_refusal_ends_the_start() -> None:
    window = proven(512)
    in_flight = fill(window, 0.5, 0.05)

    window.refused(0.55, 0.5, cut=False)
    window.returned()

    assert fill(window, 0.55, 60.0) <= in_flight + 1


def test_refusals_of_one_window_cut_it_once() -> None:
    window = proven(64)
    fill(window, 0.5, 10.0)

    for _ in range(10):
        window.refused(11.0, 10.0, cut=True)
        window.returned()

    assert window.limit == pytest.approx(64 * 0.7, abs=1)


def test_every_reply_opens_a_cut_window_by_one() -> None:
    window = proven(64)
    fill(window, 0.5, 10.0)
    for _ in range(3):
        window.refused(11.0, 10.0, cut=True)
    limit = window.limit
    while window.in_flight > limit:
        window.returned()

    for _ in range(5):
        window.answered(12.0, 0.5, 100.0)
        window.left(12.0)

    assert window.limit == limit + 5


def test_too_few_open_files_halve_it_for_good() -> None:
    window = proven(64)
    fill(window, 0.5, 10.0)

    news = [window.halve(10.0, 11.0) for _ in range(5)]

    assert news == [True, False, False, False, False]
    assert window.limit == 32


@given(st.integers(1, 600), st.lists(st.sampled_from(["left", "answered", "refused", "halved"]), max_size=200))
def test_the_window_keeps_its_bounds(most: int, moves: list[str]) -> None:
    window, now = Window(most), 0.0
    for move in moves:
        now += 0.1
        if move == "left" and window.wait(now) == 0:
            window.left(now)
        elif window.in_flight and move == "answered":
            window.answered(now, 0.5, 10.0)
            window.returned()
        elif window.in_flight and move == "refused":
            window.refused(now, now - 0.05, cut=True)
            window.returned()
        elif window.in_flight and move == "halved":
            window.halve(now - 0.05, now)
            window.returned()

        assert 1 <= window.limit <= most
        assert 0 <= window.in_flight <= most
