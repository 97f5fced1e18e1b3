"""Which answers of a cheap model to a yes-no question are kept, if precision or recall are promised.

The rows that it answers true and those that it answers false are ranked and sampled apart, each side by its surest
answers first. How many of the true answers are true is bounded from below by the labels of that side: `A`. All of them
end as true, by the cheap model or by the strong one. So the promised share `T` is kept

- for the precision if at most `A (1 - T) / T` of the true answers that are kept are denied by the strong model,
- for the recall if at most so many of the false answers that are kept are true for it.

Rows that are found to be true among the false answers only help. `walk` proves both, for any ranking. It takes most of
the risk, and the bound the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log, sqrt

from smelt.trust.walk import fewest_right, labels_wanted, proved

_PER_ROOT = 3  # Labels that bound how many true answers are true, as a multiple of the root of the rows,
_FEWEST = 60  # and at least so many.
_BOUND = 0.2  # The part of the risk that goes into that bound.
_GUESS = 0.8  # Before any label: so many of the true answers are taken for true.
_RICH, _BARE = 2.5, 1.5  # Labels of false answers, as a multiple of those without which nothing can be proved,
_DEAR = 1 / 3  # the smaller number if the larger one were more than this part of the rows.
_PER_ROOT_FALSE = 4.5


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What is promised of a yes-no question.

    Attributes:
        precision: The share of rows answered true that the strong model answers so; None if that is not promised.
        recall: The share of rows that the strong model answers true that are answered so; None likewise.
        confidence: The probability with which each of them is promised.
    """

    precision: float | None
    recall: float | None
    confidence: float

    def labels_true(self, rows: int) -> int:
        """How many of *rows* that are answered true the strong model is asked."""
        if self.precision is not None:
            return labels_wanted(rows, self.precision, self.confidence)
        return min(rows, ceil(max(_FEWEST, _PER_ROOT * sqrt(rows))))

    def labels_false(self, rows: int, true_rows: int) -> int:
        """How many of *rows* that are answered false it is asked, beside *true_rows* that are answered true."""
        if self.recall is None:
            return 0
        allowed = _allowed(int(_GUESS * true_rows), self.recall)
        if not allowed or allowed >= rows:
            return 0 if allowed else rows
        fewest = log(1 - self.confidence) / log(1 - allowed / rows)
        share = _RICH if _RICH * fewest <= _DEAR * rows else _BARE
        return min(rows, ceil(max(share * fewest, _PER_ROOT_FALSE * sqrt(rows))))

    def kept_true(self, rows: int, labels: Mapping[int, bool]) -> int:
        """How many of the surest *rows* that are answered true are kept; *labels*: by rank, whether that is denied."""
        if self.precision is None:
            return rows
        allowed = _allowed(self._right(rows, labels), self.precision)
        return proved(rows, labels, allowed, (1 - _BOUND) * (1 - self.confidence))

    def kept_false(self, rows: int, labels: Mapping[int, bool], true_rows: int, true_labels: Mapping[int, bool]) -> int:
        """How many of the surest *rows* that are answered false are kept.

        Args:
            rows: The rows that are answered false.
            labels: By the rank of each drawn one: whether the strong model does not answer false.
            true_rows: The rows that are answered true.
            true_labels: By the rank of each drawn one: whether the strong model does not answer true.
        """
        if self.recall is None:
            return rows
        allowed = _allowed(self._right(true_rows, true_labels), self.recall)
        return proved(rows, labels, allowed, (1 - _BOUND) * (1 - self.confidence))

    def _right(self, rows: int, labels: Mapping[int, bool]) -> int:
        """At least how many of *rows* that are answered true are true."""
        return fewest_right(rows, len(labels), sum(labels.values()), _BOUND * (1 - self.confidence))


def _allowed(right: int, target: float) -> int:
    """How many answers may be wrong beside so many that are *right*, if these are to be that share of all."""
    return int(right * (1 - target) / target + 1e-9)
