"""Values, durations and amounts, as messages and displays show them."""

from __future__ import annotations

import pytest

from smelt.messages import clean, dollars, duration, price, tokens


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (59.0, "59 s"),
        (59.5, "1:00 min"),
        (125, "2:05 min"),
        (3_599.5, "1:00 h"),
        (11_220, "3:07 h"),
        (345_600, "4 days"),
    ],
)
def test_durations_read_well(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("amount", "shown"), [(0.00004, "<$0.0001"), (0.0123, "$0.0123"), (0.5, "$0.5000"), (1234.5, "$1,234.50")]
)
def test_dollars_read_well(amount: float, shown: str) -> None:
    assert dollars(amount) == price(amount) == shown


@pytest.mark.parametrize(("amount", "shown"), [(None, "unknown"), (0.0, "free")])
def test_what_costs_nothing_is_free_and_not_zero_dollars(amount: float | None, shown: str) -> None:
    assert price(amount) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(1, "1 token"), (950, "950 tokens"), (45_200, "45.2k tokens"), (999_999, "1.00M tokens")],
)
def test_tokens_read_well(number: int, shown: str) -> None:
    assert tokens(number) == shown


@pytest.mark.parametrize(
    ("dirty", "shown"),
    [
        ("a\x1b[31mb", "a [31mb"),
        ("a\r\nb\tc", "a b c"),
        ("a\u202eb\u2066c\u200bd", "a b c d"),
        ("a\u2028b\x9bc\ud800", "a b c"),
        ("x" * 1_000, "x" * 79 + "…"),
    ],
    ids=["escape", "line ends", "bidi", "separators", "long"],
)
def test_foreign_text_cannot_steer_a_terminal(dirty: str, shown: str) -> None:
    assert clean(dirty) == shown
