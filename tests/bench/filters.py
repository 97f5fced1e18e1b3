"""Bench: promised precision and recall of a yes-no question over many simulated frames, and what they save.

    python -m tests.bench.filters [FRAMES]

Each row has a hidden value that says how likely the strong model answers true; the cheap model sees it as well as
`sight` says, and is the surer the farther what it sees is from its cut. `saved` is the share of the rows that the
strong model is not asked, labels counted. "Broken" frames end with less precision or recall than was promised.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from smelt.trust.sides import Sides

_ROWS = 10_000
_STEEP = 4.0


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A kind of frames.

    Attributes:
        true: The share of rows that the strong model answers true.
        sight: The correlation of what the cheap model sees with the hidden value.
        precision: The promised precision, or None.
        recall: The promised recall, or None.
        least_saved: What it saves at least, on average.
        is_quick: Whether the suite looks at it, too.
    """

    true: float
    sight: float = 0.95
    precision: float | None = None
    recall: float | None = None
    least_saved: float = 0.0
    is_quick: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        promised = {"precision": self.precision, "recall": self.recall}
        return f"{self.true:.0%} true, sight {self.sight}, {' and '.join(k for k, v in promised.items() if v)}"


FILTERS = (
    Filter(true=0.1, precision=0.95, least_saved=0.89),
    Filter(true=0.3, sight=0.7, precision=0.95, least_saved=0.69),
    Filter(true=0.5, precision=0.95, least_saved=0.5, is_quick=True),
    Filter(true=0.02, recall=0.95, least_saved=0.15),
    Filter(true=0.1, recall=0.95, least_saved=0.35, is_quick=True),
    Filter(true=0.1, sight=0.7, recall=0.95, least_saved=0.05),
    Filter(true=0.3, recall=0.95, least_saved=0.5),
    Filter(true=0.3, sight=0.7, recall=0.95, least_saved=0.3),
    Filter(true=0.3, precision=0.9, recall=0.9, least_saved=0.4, is_quick=True),
    Filter(true=0.5, sight=0.0, precision=0.505),  # Just too good a promise: nothing but luck proves it.
    Filter(true=0.5, sight=0.0, recall=0.51),
)


def broken_and_saved(one: Filter, *, frames: int, seed: int, rows: int = _ROWS) -> tuple[int, int, float]:
    """How many of *frames* broke the promised precision, how many the recall, and the mean share that was saved."""
    rng = np.random.default_rng([seed, *one.name.encode()])
    offset, missed, lost, saved = _offset(one.true), 0, 0, 0.0
    risk = 0.05 / ((one.precision is not None) + (one.recall is not None))
    sides = Sides(precision=one.precision, recall=one.recall, confidence=1 - risk)
    for _ in range(frames):
        value, noise = rng.standard_normal((2, rows))
        seen = one.sight * value + sqrt(1 - one.sight**2) * noise
        is_true = rng.random(rows) < 1 / (1 + np.exp(-(_STEEP * value + offset)))
        order = np.argsort(-seen, kind="stable")
        count = round(one.true * rows)
        denied, found = ~is_true[order[:count]], is_true[order[: count - 1 : -1]]  # Each side, the surest first.
        of_true = _labels(denied, sides.labels_true(count), rng)
        of_false = _labels(found, sides.labels_false(rows - count, count), rng)
        top = sides.kept_true(count, of_true)
        bottom = sides.kept_false(rows - count, of_false, count, of_true)
        wrong = int(denied[:top].sum()) - sum(is_it for rank, is_it in of_true.items() if rank < top)
        gone = int(found[:bottom].sum()) - sum(is_it for rank, is_it in of_false.items() if rank < bottom)
        right = int(is_true.sum()) - gone
        missed += one.precision is not None and right < one.precision * (right + wrong)
        lost += one.recall is not None and right < one.recall * (right + gone)
        kept = top + bottom - sum(rank < top for rank in of_true) - sum(rank < bottom for rank in of_false)
        saved += kept / rows
    return missed, lost, saved / frames


def _labels(marks: Any, count: int, rng: Any) -> dict[int, bool]:
    return {int(rank): bool(marks[rank]) for rank in rng.choice(len(marks), count, replace=False)}


def _offset(true: float) -> float:
    """The log-odds of the middle row, so that so many rows are *true*."""
    value = np.random.default_rng(0).standard_normal(100_000)
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        share = float((1 / (1 + np.exp(-(_STEEP * value + middle)))).mean())
        low, high = (middle, high) if share < true else (low, middle)
    return middle


def main() -> None:
    """Print a line for each setting."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(f"{'setting':>45}  precision broken  recall broken  saved   ({frames:,} frames of {_ROWS:,} rows)")
    for one in FILTERS:
        missed, lost, saved = broken_and_saved(one, frames=frames, seed=1)
        print(f"{one.name:>45}  {missed / frames:16.1%}  {lost / frames:13.1%}  {saved:5.3f}", flush=True)


if __name__ == "__main__":
    main()
