"""Probabilities of being right, by how votes stand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from math import exp
from statistics import mean

import pytest

from smelt.plan.kinds import Choice
from smelt.trust.calibration import PULL_OF_SCORES, Calibrator, Curve, calibrated, fitted
from smelt.trust.isotonic import Steps
from smelt.trust.verdict import Cell, Standing, is_decided, standing, verdict
from tests.trust.raters import NAMES, tweets

KIND = Choice(values=tuple(NAMES.values()))


def judged(truth: str, marks: tuple[str, ...], most: int) -> tuple[int, bool]:
    """The margin of the votes of raters, and whether their answer is right."""
    votes, right = stood(truth, marks, most)
    return votes.margin, right


def stood(truth: str, marks: tuple[str, ...], most: int) -> tuple[Standing, bool]:
    """How the votes of raters stand, and whether their answer is right."""
    cells = [Cell(one, one) for one in marks[:most]]
    votes = next(cells[:count] for count in range(1, most + 1) if is_decided(KIND, cells[:count], most - count))
    answer = verdict(KIND, votes)
    return standing(KIND, votes, Cell(answer, answer)), answer == truth


def off(rows: Sequence[tuple[float, bool]], told: Callable[[float], float]) -> float:
    """How far confidence is off on average, by what it is told of."""
    levels = Counter(known for known, _ in rows)
    hits = Counter(known for known, right in rows if right)
    return sum(abs(hits[one] - told(one) * count) for one, count in levels.items()) / len(rows)


def test_the_log_odds_of_independent_votes_are_found() -> None:
    rng = random.Random(1)
    margins = [rng.choice([1, 2, 3]) for _ in range(20_000)]
    right = [rng.random() < 1 / (1 + exp(-0.7 * margin)) for margin in margins]

    curve = fitted(margins, right)

    assert curve.slope == pytest.approx(0.7, abs=0.05)
    assert curve.shift == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("margins", "right"),
    [([3] * 50, [True] * 50), ([3] * 50, [False] * 50), ([1, 3], [False, True]), ([0] * 30, [True] * 30), ([], [])],
    ids=["all right", "all wrong", "two rows", "no margin", "none"],
)
def test_one_sided_labels_give_probabilities_within_bounds(margins: list[int], right: list[bool]) -> None:
    curve = fitted(margins, right)

    assert all(0 < curve(margin) < 1 for margin in (0, 1, 3, 15))
    assert curve(15) >= 0 if right else True


def test_a_field_without_a_curve_has_no_confidence() -> None:
    calibrator = Calibrator(curves={"mood": Curve(slope=1.0, shift=0.0, labels=30)}, made_for={"prompt": "secret"})

    assert calibrator.confidence("mood", Standing(own=2, rival=2, agreement=0.5)) == 0.5
    assert calibrator.confidence("other", Standing(own=2, rival=0, agreement=1.0)) is None
    assert "secret" not in repr(calibrator)


def test_a_hundred_labels_calibrate_the_votes_of_raters_within_four_points() -> None:
    judgements = [stood(truth, marks, 5) for truth, marks in tweets()]
    rows = [(votes.margin, right) for votes, right in judgements]
    rng = random.Random(4)
    errors = []
    for _ in range(30):
        sample = rng.sample(rows, 100)
        errors.append(off(rows, fitted([margin for margin, _ in sample], [right for _, right in sample])))

    assert mean(errors) <= 0.04
    # The share of votes, taken for a probability, is off by more.
    assert off([(votes.agreement or 0.0, right) for votes, right in judgements], lambda share: share) > 0.05


def test_the_map_takes_any_rising_shape_from_a_thousand_labels_on_if_that_tells_other_rows_better() -> None:
    rng = random.Random(5)
    scores = [rng.uniform(-3, 3) for _ in range(3_000)]
    bent = [rng.random() < (0.55 if score < 1.5 else 0.99) for score in scores]
    plain = [rng.random() < 1 / (1 + exp(-score)) for score in scores]

    assert isinstance(calibrated(scores, bent, pull=PULL_OF_SCORES), Steps)
    assert isinstance(calibrated(scores, plain, pull=PULL_OF_SCORES), Curve)
    assert isinstance(calibrated(scores[:999], bent[:999]), Curve)
    assert calibrated(scores, bent)(-2.0) == pytest.approx(0.55, abs=0.05)
