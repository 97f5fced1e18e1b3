"""How well confidence tells right answers from wrong ones: a calibrator, and a table of how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum

from smelt.evaluation.brier import Brier, bins_of, brier
from smelt.evaluation.scores import Share
from smelt.frames.base import OutputColumn
from smelt.frames.overview import floats, integers
from smelt.report.record import Bin as Dot
from smelt.report.record import Sureness
from smelt.trust.calibration import PULL, PULL_OF_SCORES, Curve, calibrated
from smelt.trust.isotonic import Steps

_FOLDS = 5
_MOST_BINS = 10
_ROWS_PER_BIN = 20
_DIGITS = 6
_NEAR = 0.02  # Bins whose mean confidence differs by less are one dot.


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Rows with about the same confidence.

    Attributes:
        low: The lowest confidence.
        high: The highest.
        confidence: The mean.
        right: How many are right.
    """

    low: float
    high: float
    confidence: float
    right: Share


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

    def curve(self) -> Curve | Steps:
        """The map by all rows."""
        return self._calibrated(range(len(self.right)))

    def table(self) -> list[OutputColumn]:
        """Bins of rows by confidence, each judged by a map that did not see its rows."""
        found = self.bins()
        return [
            floats("low", [one.low for one in found]),
            floats("high", [one.high for one in found]),
            integers("rows", [one.right.of for one in found]),
            floats("confidence", [one.confidence for one in found]),
            floats("right", [one.right.value for one in found]),
            floats("right_low", [one.right.interval and one.right.interval[0] for one in found]),
            floats("right_high", [one.right.interval and one.right.interval[1] for one in found]),
        ]

    def bins(self) -> list[Bin]:
        """The same as values."""
        chances = self._crossed
        return [
            Bin(
                low=min(chances[at] for at in one),
                high=max(chances[at] for at in one),
                confidence=fsum(chances[at] for at in one) / len(one),
                right=Share(count=sum(self.right[at] for at in one), of=len(one)),
            )
            for one in self._binned
        ]

    def sureness(self, field: str) -> Sureness:
        """The same for a report: bins with about the same confidence are one dot."""
        dots: list[list[Bin]] = []
        for one in self.bins():
            if dots and one.confidence - dots[-1][0].confidence < _NEAR:
                dots[-1].append(one)
            else:
                dots.append([one])
        return Sureness(field, [_dot(one) for one in dots], self.brier(field).in_words())

    def brier(self, field: str) -> Brier:
        """The Brier score of the same confidence."""
        return brier(field, self._crossed, self.right, self._binned)

    @cached_property
    def _binned(self) -> list[list[int]]:
        """The rows in bins, by confidence."""
        chances = self._crossed
        # Chances that differ by the last digits only are equal, so that their rows stay in place.
        order = sorted(range(len(chances)), key=lambda at: round(chances[at], _DIGITS))
        return [[order[at] for at in one] for one in bins_of(order, _MOST_BINS, _ROWS_PER_BIN)]

    @cached_property
    def _crossed(self) -> list[float]:
        """The confidence of each row, by the map of the other folds."""
        rows = range(len(self.margins))
        maps = [self._calibrated([at for at in rows if at % _FOLDS != fold]) for fold in range(_FOLDS)]
        return [maps[at % _FOLDS](margin) for at, margin in enumerate(self.margins)]

    def _calibrated(self, rows: Sequence[int]) -> Curve | Steps:
        pull = PULL_OF_SCORES if self.is_scored else PULL
        return calibrated([self.margins[at] for at in rows], [self.right[at] for at in rows], pull=pull)


def _dot(bins: Sequence[Bin]) -> Dot:
    rows = sum(one.right.of for one in bins)
    right = Share(count=sum(one.right.count for one in bins), of=rows)
    low, high = right.interval or (0.0, 1.0)
    confidence = fsum(one.confidence * one.right.of for one in bins) / rows
    return Dot(rows=rows, confidence=confidence, right=right.count / rows, low=low, high=high)
