"""How much two texts are alike: the Dice coefficient of their 3-grams.

Source: Dice (1945), "Measures of the amount of ecologic association between species", Ecology 26.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum

_WIDTH = 3  # Characters.


def likeness(one: str, other: str) -> float:
    """From 0 to 1; 1 for equal texts. Texts are compared without regard to case."""
    if one == other:
        return 1.0
    mine, theirs = _grams(one), _grams(other)
    shared = sum((mine & theirs).values())
    return 2 * shared / (mine.total() + theirs.total())


def mean_likeness(texts: Sequence[str]) -> list[float]:
    """How much each of *texts*, two at least, is like the others, on average."""
    pairs: dict[tuple[str, str], float] = {}

    def between(one: str, other: str) -> float:
        pair = (one, other) if one <= other else (other, one)
        if pair not in pairs:
            pairs[pair] = likeness(*pair)
        return pairs[pair]

    return [
        fsum(between(text, other) for place, other in enumerate(texts) if place != at) / (len(texts) - 1)
        for at, text in enumerate(texts)
    ]


def _grams(text: str) -> Counter[str]:
    padded = f"  {text.casefold()} "  # So that a text of one character has 3-grams, too.
    return Counter(padded[at : at + _WIDTH] for at in range(len(padded) - _WIDTH + 1))
