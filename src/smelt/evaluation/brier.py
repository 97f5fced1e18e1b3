"""The Brier score of confidence and its parts: how far off it is, how much it tells, and how hard the rows are.

Sources: Dimitriadis, Gneiting and Jordan (2021), "Stable reliability diagrams for probabilistic classifiers", PNAS 118,
for the parts by an isotonic fit, which need no bins; Kumar, Liang and Ma (2019), "Verified uncertainty calibration",
for the error without the part that is chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum, sqrt

from smelt.trust.isotonic import pooled


@dataclass(frozen=True, kw_only=True, repr=False)
class Brier:
    """How good the confidence in the answers to a field is; `score == reliability - resolution + uncertainty`.

    Attributes:
        field: Dotted path of the field.
        rows: The labelled rows.
        score: The mean square of what is between the confidence and 1 for a right answer, 0 for a wrong one. The
            smaller the better: 0 is perfect, .25 is what a confidence of 50 % always gets.
        reliability: How much of it is there because the confidence is too high or too low. 0 is the best.
        resolution: How much the confidence takes away by telling right answers from wrong ones. The greater the better.
        uncertainty: What always telling the mean would get: it depends on the answers alone.
        error: About how far the confidence is off, in points of probability from 0 to 1, without the part that is
            chance.

    Examples:
        >>> labelled = [{"name": f"firm {number}", "known": "tech"} for number in range(40)]
        >>> model = ScriptedProvider({"sector": "tech"})
        >>> found = smelt.evaluate(labelled, "{name}?", Company, {"sector": "known"}, model=model, votes=3)
        >>> round(found.brier("sector").score, 3), found.brier("sector").resolution
        (0.001, 0.0)
    """

    field: str
    rows: int
    score: float
    reliability: float
    resolution: float
    uncertainty: float
    error: float

    def __repr__(self) -> str:
        parts = [
            f"{self.score:.3f} = {self.reliability:.3f} for being off",
            f"- {self.resolution:.3f} for telling right from wrong",
            f"+ {self.uncertainty:.3f} that no confidence changes",
        ]
        return f"Brier({self.field}: {' '.join(parts)}; {self._off})"

    def in_words(self) -> str:
        """The most important of it, for a chart."""
        return f"{self._off}; Brier score {self.score:.3f}, and {self.uncertainty:.3f} if each row got the mean"

    @property
    def _off(self) -> str:
        return f"off by about {100 * self.error:.1f} points"


def brier(field: str, chances: Sequence[float], right: Sequence[bool], bins: Sequence[Sequence[int]]) -> Brier:
    """The score of confidence that was made without these rows.

    Args:
        field: Dotted path of the field.
        chances: The confidence in each answer; at least one.
        right: Whether it is right.
        bins: The rows by confidence, in bins of about the same size.
    """
    rows = len(right)
    share = sum(right) / rows
    score = fsum((chance - mark) ** 2 for chance, mark in zip(chances, right, strict=True)) / rows
    best = fsum(one.rows * one.mean * (1 - one.mean) for one in pooled(chances, right)) / rows
    uncertainty = share * (1 - share)
    return Brier(
        field=field,
        rows=rows,
        score=score,
        reliability=max(0.0, score - best),
        resolution=max(0.0, uncertainty - best),
        uncertainty=uncertainty,
        error=sqrt(max(0.0, fsum(_off(one, chances, right) for one in bins) / rows)),
    )


def bins_of(ordered: Sequence[object], most: int, rows: int) -> list[range]:
    """The places of *ordered* things in up to *most* bins of about the same size, of *rows* or more."""
    count = max(1, min(most, len(ordered) // rows))
    ends = [len(ordered) * number // count for number in range(count + 1)]
    return [range(start, end) for start, end in pairwise(ends) if end > start]


def _off(places: Sequence[int], chances: Sequence[float], right: Sequence[bool]) -> float:
    """The square of how far a bin is off, times its rows, without what chance alone makes of it."""
    rows = len(places)
    share, told = sum(right[at] for at in places) / rows, fsum(chances[at] for at in places) / rows
    by_chance = share * (1 - share) / (rows - 1) if rows > 1 else 0.0
    return rows * ((share - told) ** 2 - by_chance)
