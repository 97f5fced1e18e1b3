"""Turns how votes stand into a probability of being right, by rows with known right answers.

For independent votes between two values, the log-odds of being right are exactly proportional to the margin: the votes
for the answer beyond those for its rival. The share of votes is no such thing: asking ends when an answer is decided,
and five of nine votes are right far more often than in 56 % of cases. So the probability is
`1 / (1 + exp(-(slope * margin + shift)))`. With few labels it is drawn towards the slope 1 and the shift 0, which keeps
it from running away if all labels are right.

Source: Platt (1999), "Probabilistic outputs for support vector machines"; the margin of votes for a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, fsum, log

from smelt.trust.isotonic import Steps, stepped
from smelt.trust.verdict import Standing

FEWEST = 20  # Labels.
PULL, PULL_OF_SCORES = 1.0, 3.0  # How strongly the map is drawn towards the identity, in labels.
MANY = 1_000  # Labels from which on the map may take any rising shape.
_FOLDS = 5
_STEPS = 50
_ENOUGH = 1e-9
_MOST = 30.0  # Log-odds.


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The map from margins to probabilities, for one field.

    Attributes:
        slope: How much a vote of margin adds to the log-odds of being right.
        shift: The log-odds at margin 0.
        labels: The rows by which it was found.
    """

    slope: float
    shift: float
    labels: int

    @property
    def rises(self) -> bool:
        """Whether more votes are more probably right."""
        return self.slope > 0

    def __call__(self, margin: float) -> float:
        """The probability that an answer with this *margin* is right."""
        return _sigmoid(self.slope * margin + self.shift)


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """Turns votes or scores into probabilities of being right: `transform(..., with_confidence=calibrator)`.

    It is the `.calibrator` of an evaluation. It belongs to the prompt, the output model, the model, the number of votes
    and the batch size with which it was made. Other calls refuse it. It can be pickled, and holds no text.

    Attributes:
        curves: The map of each field that had enough known right answers, by its dotted path.
        made_for: What the calibrator belongs to, by name; compared with what a call asks.
    """

    curves: Mapping[str, Curve | Steps]
    made_for: Mapping[str, str] = field(repr=False)

    def confidence(self, name: str, standing: Standing) -> float | None:
        """The probability that the answer to the field *name* is right; None for a field without a curve."""
        curve, evidence = self.curves.get(name), standing.evidence
        return None if curve is None or evidence is None else curve(evidence)


def calibrated(margins: Sequence[float], right: Sequence[bool], *, pull: float = PULL) -> Curve | Steps:
    """The map from margins or scores to probabilities: from 1,000 labels on, the one that tells other rows better.

    Fewer labels always make a curve. The arguments are those of `fitted`.
    """
    curve = fitted(margins, right, pull=pull)
    if len(margins) < MANY:
        return curve
    losses = [0.0, 0.0]
    for fold in range(_FOLDS):
        rest = [at for at in range(len(margins)) if at % _FOLDS != fold]
        known, marks = [margins[at] for at in rest], [right[at] for at in rest]
        maps: tuple[Curve | Steps, ...] = fitted(known, marks, pull=pull), stepped(known, marks)
        for at in range(fold, len(margins), _FOLDS):
            for which, one in enumerate(maps):
                chance = one(margins[at])
                losses[which] -= log(chance if right[at] else 1 - chance)
    return curve if losses[0] <= losses[1] else stepped(margins, right)


def fitted(margins: Sequence[float], right: Sequence[bool], *, pull: float = PULL) -> Curve:
    """The curve with the highest penalised likelihood, by Newton's method.

    Args:
        margins: The margin of each answer.
        right: Whether it is right.
        pull: How strongly the curve is drawn towards the identity, in labels.
    """
    slope, shift = 1.0, 0.0
    for _ in range(_STEPS):
        chances = [_sigmoid(slope * margin + shift) for margin in margins]
        off = [chance - mark for chance, mark in zip(chances, right, strict=True)]
        weights = [chance * (1 - chance) for chance in chances]
        by_slope = fsum(one * margin for one, margin in zip(off, margins, strict=True)) + pull * (slope - 1)
        by_shift = fsum(off) + pull * shift
        slopes = fsum(one * margin * margin for one, margin in zip(weights, margins, strict=True)) + pull
        both = fsum(one * margin for one, margin in zip(weights, margins, strict=True))
        shifts = fsum(weights) + pull
        whole = slopes * shifts - both * both
        step = (shifts * by_slope - both * by_shift) / whole, (slopes * by_shift - both * by_slope) / whole
        scale = min(1.0, 2 / (abs(step[0]) + abs(step[1]) + _ENOUGH))  # A full step far from the minimum overshoots.
        slope, shift = slope - scale * step[0], shift - scale * step[1]
        if abs(step[0]) + abs(step[1]) < _ENOUGH:
            break
    return Curve(slope=slope, shift=shift, labels=len(margins))


def _sigmoid(value: float) -> float:
    value = max(-_MOST, min(_MOST, value))  # No answer is quite sure.
    return 1 / (1 + exp(-value))
