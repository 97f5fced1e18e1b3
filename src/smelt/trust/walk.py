"""How many of a cheap model's answers may be kept, so that a promise about them holds: an exact test.

The rows are ranked by a score, the surest first, before any label is known. A label says whether the strong model gives
another answer to a row that was drawn at random. The walk goes from the surest rows on, and stops at the first step
that is not proved.

Why it holds: given how many labels lie below a rank, they are a sample without replacement of the rows below it, so the
tail is an exact p-value. Which step is the first bad one does not depend on the labels, and that step has to be proved
before any later one is accepted: all steps have the full risk, and share the labels (fixed-sequence testing). The score
cannot break the promise, only what it saves.

Sources: Angelopoulos et al. (2021), "Learn then Test", arXiv 2110.01052; Zeighami et al. (2025), "Cut Costs, Not
Accuracy" (BARGAIN), arXiv 2509.02896, for the order of the steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from math import ceil, exp, fsum, lgamma, log, sqrt

_STEPS = 20
_PER_ROOT = 4.5  # Labels, as a multiple of the root of the rows.
_FEWEST = 1.5  # Labels, as a multiple of those without which nothing can be proved.


def tail(rows: int, wrong: int, drawn: int, met: int) -> float:
    """The probability that *drawn* of *rows* hold at most *met* of their *wrong* ones (hypergeometric)."""
    least = max(0, drawn - rows + wrong)
    whole = _choices(rows, drawn)
    return fsum(
        exp(_choices(wrong, count) + _choices(rows - wrong, drawn - count) - whole)
        for count in range(least, min(met, wrong, drawn) + 1)
    )


def labels_wanted(rows: int, target: float, confidence: float) -> int:
    """How many rows the strong model labels; all of them if fewer prove nothing.

    Args:
        rows: The rows of the frame.
        target: The share of answers that are to be those of the strong model, between 0 and 1.
        confidence: The probability with which that is promised, between 0 and 1.
    """
    fewest = log(1 - confidence) / log(target)
    return min(rows, ceil(max(_FEWEST * fewest, _PER_ROOT * sqrt(rows))))


def accepted(rows: int, labels: Mapping[int, bool], target: float, confidence: float) -> int:
    """How many of the surest answers may be kept.

    Args:
        rows: The rows of the frame.
        labels: By the rank of each drawn row, from 0: whether the strong model answers otherwise, or failed.
        target: As in `labels_wanted`.
        confidence: As in `labels_wanted`.
    """
    return proved(rows, labels, allowed_wrong(rows, target), 1 - confidence)


def proved(rows: int, labels: Mapping[int, bool], allowed: int, risk: float) -> int:
    """How many of the surest answers may be kept.

    If *allowed* is itself a bound from below that the labels gave, all that is proved for it is proved for the true
    number: a tail is smaller for more wrong ones, and no step is passed over.

    Args:
        rows: The rows that are ranked.
        labels: As in `accepted`.
        allowed: How many of those that are kept may be wrong.
        risk: The probability with which more than that are.
    """
    ranks = sorted(labels)
    sums = [0]
    for rank in ranks:
        sums.append(sums[-1] + labels[rank])
    done = min(allowed, rows)  # These may all be wrong.
    for step in range(1, _STEPS + 1):
        end = rows * step // _STEPS
        if end <= allowed:
            continue
        drawn = bisect_left(ranks, end)
        if tail(end, allowed + 1, drawn, sums[drawn]) > risk:
            break
        done = end
    return done


def fewest_right(rows: int, drawn: int, wrong: int, risk: float) -> int:
    """At least how many of *rows* are right if *wrong* of *drawn* are not; false with probability *risk* at most."""
    low, high = wrong, rows + 1  # The fewest wrong ones that are ruled out.
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if tail(rows, middle, drawn, wrong) <= risk else (middle + 1, high)
    return rows - low + 1 if low <= rows else 0


def allowed_wrong(rows: int, target: float) -> int:
    """How many of *rows* may be wrong."""
    return int((1 - target) * rows + 1e-9)  # 0.05 of 100 are 5, also in binary fractions.


def _choices(of: int, count: int) -> float:
    """The logarithm of the number of ways to choose *count* of *of*."""
    return lgamma(of + 1) - lgamma(count + 1) - lgamma(of - count + 1)
