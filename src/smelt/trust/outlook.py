"""What a call will take: how many votes for a row, and how many rows of a cascade, under usual assumptions."""

from __future__ import annotations

from math import comb

from smelt.trust.walk import accepted

USUAL = 0.9  # Of two answers of a model to one row, about so many are those that it gives mostly.

_SURE, _SURE_WRONG, _TORN_WRONG = 0.8, 0.025, 0.4  # Rows whose votes agree, and how often which are wrong: 10 % in all.


def usual_saving(rows: int, sample: int, target: float, confidence: float) -> float:
    """The share of rows that the strong model is usually not asked, if the cheap one agrees with it in 9 of 10 rows.

    It is what the walk saves if the labels are just as they are on average.

    Args:
        rows: The rows of the frame.
        sample: How many of them are labelled.
        target: As in `walk.accepted`.
        confidence: As in `walk.accepted`.
    """
    labels: dict[int, bool] = {}
    owed = 0.0
    for number in range(sample):
        rank = int((number + 0.5) * rows / sample)
        owed += _SURE_WRONG if rank < _SURE * rows else _TORN_WRONG
        labels[rank] = owed >= 1
        owed -= labels[rank]
    done = accepted(rows, labels, target, confidence)
    return (done - sum(rank < done for rank in labels)) / rows if rows else 0.0


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
