"""How many votes a row will take: the exact sum, if each vote agrees with the others with a given probability."""

from __future__ import annotations

from math import comb

USUAL = 0.9  # Of two answers of a model to one row, about so many are those that it gives mostly.


def mean_votes(most: int, fields: int, agreement: float = USUAL) -> float:
    """The mean votes of a row that is asked until the rest of its *most* votes cannot change it.

    Args:
        most: The most votes.
        fields: How many fields are voted on, one independent of the other.
        agreement: The probability that a vote gives the usual value of a field; all others give one other value.
    """
    return sum(1 - _decided(most, asked, agreement) ** fields for asked in range(most))


def _decided(most: int, asked: int, agreement: float) -> float:
    """The probability that *asked* of *most* votes decide a field."""
    return sum(
        comb(asked, count) * agreement**count * (1 - agreement) ** (asked - count)
        for count in range(asked + 1)
        if abs(2 * count - asked) > most - asked
    )
