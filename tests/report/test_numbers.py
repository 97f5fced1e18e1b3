"""Numbers as a page shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.report.numbers import axis, compact, lasting, percent, round_top, three_digits


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (0.00024, "240 µs"), (0.0014, "1.4 ms"), (0.25, "250 ms"), (0.9999, "1 s"), (1.236, "1.24 s"),
    (12.34, "12.3 s"),
     (59.96, "60 s"), (125, "2:05 min"), (7200, "2:00 h")],
)  # fmt: skip
def test_durations(seconds: float, shown: str) -> None:
    assert lasting(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (950, "950"), (999_600, "1M"), (45_210, "45.2k"), (1_200_000, "1.2M"), (3.4e9, "3.4B")]
)  # fmt: skip
def test_large_numbers(number: float, shown: str) -> None:
    assert compact(int(number)) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (0.1234, "0.123"), (1.2, "1.2"), (12.34, "12.3"), (100, "100"), (1234.5, "1,234")]
)  # fmt: skip
def test_three_digits_that_count(number: float, shown: str) -> None:
    assert three_digits(number) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 10, "0 %"), (10, 10, "100 %"), (1, 10_000, "<0.1 %"), (9_999, 10_000, ">99.9 %"), (1, 3, "33.3 %"),
    (0, 0, "0 %")],
)  # fmt: skip
def test_shares(part: int, whole: int, shown: str) -> None:
    assert percent(part, whole) == shown


@given(st.floats(1e-6, 1e9))
def test_an_axis_holds_its_peak_and_is_not_much_longer(peak: float) -> None:
    assert peak <= round_top(peak) * (1 + 1e-6)
    assert round_top(peak) <= 2.01 * peak


@given(st.floats(0.01, 1e11))
def test_the_numbers_beside_an_axis_are_short(peak: float) -> None:
    assert max(len(one) for one in axis(round_top(peak))) <= 6
