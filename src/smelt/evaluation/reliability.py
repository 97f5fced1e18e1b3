"""How well confidence tells right answers from wrong ones: a calibrator, and a table of how often it is right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum
from typing import Any

from smelt.evaluation.scores import Share
from smelt.frames.adapt import adapt
from smelt.frames.base import OutputColumn
from smelt.frames.overview import floats, integers
from smelt.trust.calibration import Curve, fitted

_FOLDS = 5
_MOST_BINS = 10
_ROWS_PER_BIN = 20
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Marked:
    """The rows of one field that have votes and a known right answer.

    Attributes:
        margins: The margin of each answer.
        right: Whether it is right.
    """

    margins: Sequence[int]
    right: Sequence[bool]

    @classmethod
    def of(cls, field: str, votes: Any, marks: Sequence[bool | None]) -> Marked:
        """Read the frame `result.votes`; *marks*: for each row whether the answer is right, None if it is left out."""
        own, rival = f"{field}_for", f"{field}_rival"
        texts = adapt(votes).rows([own, rival]).texts(range(len(marks)))
        cells = [json.loads(text) if isinstance(text, str) else {} for text in texts]
        rows = [
            (int(cell[own] - cell[rival]), mark)
            for cell, mark in zip(cells, marks, strict=True)
            if mark is not None and cell.get(own) is not None
        ]
        return cls(margins=[margin for margin, _ in rows], right=[mark for _, mark in rows])

    def curve(self) -> Curve:
        """The curve by all rows."""
        return fitted(self.margins, self.right)

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
        curves = [
            fitted(
                [margin for at, margin in enumerate(self.margins) if at % _FOLDS != fold],
                [mark for at, mark in enumerate(self.right) if at % _FOLDS != fold],
            )
            for fold in range(_FOLDS)
        ]
        return [curves[at % _FOLDS](margin) for at, margin in enumerate(self.margins)]


def _bins(chances: Sequence[float]) -> list[range]:
    """The places of *chances*, which are sorted, in bins of about the same size; one bin below 40 rows."""
    count = max(1, min(_MOST_BINS, len(chances) // _ROWS_PER_BIN))
    ends = [len(chances) * number // count for number in range(count + 1)]
    return [range(start, end) for start, end in pairwise(ends) if end > start]
