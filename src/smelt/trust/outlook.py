"""What a call will take: how many votes for a row, and how many rows of a cascade, under usual assumptions."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, prod

from smelt.trust.certainty import is_sure
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


def mean_votes(
    most: int, labels: Sequence[int | None], agreement: float = USUAL, *, sure: float | None = None
) -> float:
    """The mean votes of a row that is asked until the rest of its *most* votes cannot change it.

    Args:
        most: The most votes.
        labels: The fields that are voted on, one independent of the other: how many values each may have; None for a
            field that is no choice.
        agreement: The probability that a vote gives the usual value of a field; all others give one other value.
        sure: As in `Settings`: asking ends, too, when each label is sure.
    """
    kinds = {one: labels.count(one) for one in labels}
    ended = {one: _ended(most, agreement, one, sure) for one in kinds}
    return sum(1 - prod(ended[one][asked] ** fields for one, fields in kinds.items()) for asked in range(most))


def wave_votes(most: int, fields: int, agreement: float = USUAL) -> float:
    """The mean votes of a row that is asked for all votes that it needs in any case, and then for the others, if any.

    Args:
        most: As in `mean_votes`.
        fields: How many fields are voted on.
        agreement: As in `mean_votes`.
    """
    least = most // 2 + 1
    return least + (most - least) * (1 - _decided(most, least, agreement) ** fields)


def _ended(most: int, agreement: float, labels: int | None, sure: float | None) -> list[float]:
    """The probability that a field is decided, by the votes so far."""
    if sure is None:
        return [_decided(most, asked, agreement) for asked in range(most)]
    if labels is None:
        return [float(asked > 0) for asked in range(most)]
    open_, done, found = {(0, 0): 1.0}, 0.0, []
    for asked in range(most):
        ends = {votes for votes in open_ if _is_over(*votes, most - asked, labels, sure)}
        done += sum(open_[votes] for votes in ends)
        found.append(done)
        grown: dict[tuple[int, int], float] = {}
        for (usual, other), chance in open_.items():
            if (usual, other) not in ends:
                grown[usual + 1, other] = grown.get((usual + 1, other), 0.0) + chance * agreement
                grown[usual, other + 1] = grown.get((usual, other + 1), 0.0) + chance * (1 - agreement)
        open_ = grown
    return found


def _is_over(usual: int, other: int, left: int, labels: int, sure: float) -> bool:
    own, rival = max(usual, other), min(usual, other)
    return is_sure(own, rival, labels, sure) or (own - rival > left and not is_sure(own + left, rival, labels, sure))


def _decided(most: int, asked: int, agreement: float) -> float:
    """The probability that *asked* of *most* votes decide a field."""
    return sum(
        comb(asked, count) * agreement**count * (1 - agreement) ** (asked - count)
        for count in range(asked + 1)
        if abs(2 * count - asked) > most - asked
    )
