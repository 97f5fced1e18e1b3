"""Bench: the promise of a cascade over many simulated frames, and what it saves.

    python -m tests.bench.cascades [FRAMES]

Each row has a hidden difficulty. The cheap model is wrong more often on hard rows, and its score tells them apart as
well as `sight` says: 1 would be a look at the difficulty itself, 0 is noise. `saved` is the share of calls of the
strong model that are not needed, labels counted. "Broken" frames hold more wrong answers at the end than were promised.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from smelt.trust.walk import accepted, allowed_wrong, labels_wanted

CONFIDENCE = 0.95
_ROWS = 10_000
_STEEP = 2.5  # How much more often hard rows are wrong, in log-odds per standard deviation.


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A kind of frames.

    Attributes:
        name: What it is called.
        right: The share of right answers of the cheap model.
        sight: The correlation of the score with the difficulty.
        target: The share that is promised.
        least_saved: What it saves at least, on average.
        is_quick: Whether the suite looks at it, too.
        cliff: Whether the wrong answers are one more than may be, all in one step, and none beside.
    """

    name: str
    right: float
    sight: float = 0.9
    target: float = 0.95
    least_saved: float = 0.0
    is_quick: bool = False
    cliff: bool = False


SETTINGS = (
    Setting(name="80 good", right=0.80, least_saved=0.5),
    Setting(name="90 good", right=0.90, least_saved=0.74, is_quick=True),
    Setting(name="90 weak", right=0.90, sight=0.5, least_saved=0.5),
    Setting(name="94.9 none", right=0.949, sight=0.0, least_saved=0.5, is_quick=True),
    Setting(name="97 good", right=0.97, least_saved=0.9),
    Setting(name="90 reversed", right=0.90, sight=-0.5, least_saved=0.0),
    Setting(name="target 90", right=0.85, target=0.90, least_saved=0.7),
    Setting(name="cliff", right=0.95, cliff=True, least_saved=0.5, is_quick=True),
)


def broken_and_saved(setting: Setting, *, frames: int, seed: int, rows: int = _ROWS) -> tuple[int, float]:
    """How many of *frames* broke the promise, and the mean share of calls that was saved."""
    rng = np.random.default_rng([seed, *setting.name.encode()])
    offset = _offset(setting.right)
    broken, saved = 0, 0.0
    for _ in range(frames):
        wrong = _cliff(setting, rows) if setting.cliff else _frame(setting, rows, offset, rng)
        drawn = rng.choice(rows, labels_wanted(rows, setting.target, CONFIDENCE), replace=False)
        labels = {int(rank): bool(wrong[rank]) for rank in drawn}
        done = accepted(rows, labels, setting.target, CONFIDENCE)
        repaired = sum(is_wrong for rank, is_wrong in labels.items() if rank < done)
        broken += int(wrong[:done].sum()) - repaired > allowed_wrong(rows, setting.target)
        saved += (done - sum(rank < done for rank in labels)) / rows
    return broken, saved / frames


def _frame(setting: Setting, rows: int, offset: float, rng: Any) -> Any:
    """Whether each row is wrong, in the order of the scores."""
    difficulty, noise = rng.standard_normal((2, rows))
    score = setting.sight * difficulty + sqrt(1 - setting.sight**2) * noise
    wrong = rng.random(rows) < 1 / (1 + np.exp(-(_STEEP * difficulty + offset)))
    return wrong[np.argsort(score, kind="stable")]


def _cliff(setting: Setting, rows: int) -> Any:
    wrong = np.zeros(rows, dtype=bool)
    first = 3 * rows // 4
    wrong[first : first + allowed_wrong(rows, setting.target) + 1] = True
    return wrong


def _offset(right: float) -> float:
    """The log-odds of the middle row, so that so many answers are *right*."""
    difficulty = np.random.default_rng(0).standard_normal(100_000)
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        wrong = float((1 / (1 + np.exp(-(_STEEP * difficulty + middle)))).mean())
        low, high = (middle, high) if wrong < 1 - right else (low, middle)
    return middle


def main() -> None:
    """Print a line for each setting."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(f"{'setting':>12}  promise broken  calls saved   ({frames:,} frames of {_ROWS:,} rows)")
    for one in SETTINGS:
        broken, saved = broken_and_saved(one, frames=frames, seed=1)
        print(f"{one.name:>12}  {broken / frames:14.1%}  {saved:11.3f}")


if __name__ == "__main__":
    main()
