"""How well confidence tells right answers from wrong ones: a calibrator, and a table of how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum

from smelt.evaluation.scores import Share
from smelt.frames.base import OutputColumn
from smelt.frames.overview import floats, integers
from smelt.trust.calibration import PULL, PULL_OF_SCORES, Curve, fitted

_FOLDS = 5
_MOST_BINS = 10
_ROWS_PER_BIN = 20
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Marked:
    """The rows of one field that have votes or a score, and a known right answer.

    Attributes:
        margins: The margin of the votes for each answer, or its score.
        right: Whether it is right.
        is_scored: Whether they are scores.
    """

    margins: Sequence[float]
    right: Sequence[bool]
    is_scored: bool = False

    @classmethod
    def of(cls, evidence: Sequence[float | None], marks: Sequence[bool | None], *, is_scored: bool = False) -> Marked:
        """The rows that have *evidence* and *marks*: whether the answer is right, None if the row is left out."""
        pairs = zip(evidence, marks, strict=True)
        rows = [(known, mark) for known, mark in pairs if known is not None and mark is not None]
        return cls(margins=[known for known, _ in rows], right=[mark for _, mark in rows], is_scored=is_scored)

    def curve(self) -> Curve:
        """The curve by all rows."""
        return self._fitted(range(len(self.right)))

    def _fitted(self, rows: Sequence[int]) -> Curve:
        pull = PULL_OF_SCORES if self.is_scored else PULL
        return fitted([self.margins[at] for at in rows], [self.right[at] for at in rows], pull=pull)

    def table(self) -> list[OutputColumn]:
        """Bins of rows by confidence, each judged by a curve that did not see its rows."""
        chances = self._crossed()
        # Chances that differ by the last digits only are equal, so that their rows stay in place.
        order = sorted(range(len(chances)), key=lambda at: round(chances[at], _DIGITS))
        bins = _bins([chances[at] for at in order])
        shares = [Share(count=sum(self.right[order[at]] for at in one), of=len(one)) for one in bins]
        told = [[chances[order[at]] for at in one] for one in bins]
        return [
            floats("low", [min(one) for one in told]),
            floats("high", [max(one) for one in told]),
            integers("rows", [len(one) for one in bins]),
            floats("confidence", [fsum(one) / len(one) for one in told]),
            floats("right", [one.value for one in shares]),
            floats("right_low", [one.interval and one.interval[0] for one in shares]),
            floats("right_high", [one.interval and one.interval[1] for one in shares]),
        ]

    def _crossed(self) -> list[float]:
        """The confidence of each row, by the curve of the other folds."""
        rows = range(len(self.margins))
        curves = [self._fitted([at for at in rows if at % _FOLDS != fold]) for fold in range(_FOLDS)]
        return [curves[at % _FOLDS](margin) for at, margin in enumerate(self.margins)]


def _bins(chances: Sequence[float]) -> list[range]:
    """The places of *chances*, which are sorted, in bins of about the same size; one bin below 40 rows."""
    count = max(1, min(_MOST_BINS, len(chances) // _ROWS_PER_BIN))
    ends = [len(chances) * number // count for number in range(count + 1)]
    return [range(start, end) for start, end in pairwise(ends) if end > start]
