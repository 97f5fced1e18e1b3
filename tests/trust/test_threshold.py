"""The least confidence at which a share of the answers is right."""

from __future__ import annotations

import random

import pytest

from smelt.trust.calibration import fitted
from smelt.trust.threshold import Threshold, threshold
from tests.trust.raters import tweets
from tests.trust.test_calibration import judged


def found(margins: list[int], right: list[bool], precision: float = 0.95) -> Threshold:
    return threshold(margins, right, fitted(margins, right), field="mood", precision=precision, certainty=0.95)


def test_the_least_level_that_is_proved_is_taken() -> None:
    margins = [3] * 70 + [2] * 30 + [1] * 20

    one = found(margins, [True] * 70 + [True] * 30 + [False] * 20)

    assert one.confidence == fitted(margins, [True] * 100 + [False] * 20)(2)
    assert (one.rows, one.right, one.of, one.wanted) == (100, 100, 120, None)
    assert one.low == pytest.approx(0.970, abs=1e-3)
    assert "100 of 100 labelled rows with it are right; with 95% certainty 97.0% or more" in repr(one)
    assert "83% of the rows have it" in repr(one)


def test_levels_with_too_few_rows_are_passed_over() -> None:
    assert found([3] * 40 + [2] * 40, [True] * 80).rows == 80


def test_it_is_said_if_more_labels_would_do() -> None:
    one = found([2] * 60, [True] * 59 + [False])

    assert one.confidence is None
    assert one.wanted is not None
    assert 60 < one.wanted < 200
    assert "95.0% cannot be reached: 59 of 60 labelled rows" in repr(one)
    assert f"about {one.wanted} such rows would prove it" in repr(one)


def test_the_level_that_needs_the_fewest_labels_is_named() -> None:
    one = found([3] * 50 + [1] * 50, [True] * 50 + [True] * 40 + [False] * 10)

    assert (one.confidence, one.rows, one.right, one.wanted) == (None, 50, 50, 59)


def test_it_is_said_if_more_labels_would_not_help() -> None:
    one = found([2] * 100, [True] * 80 + [False] * 20)

    assert (one.confidence, one.wanted) == (None, None)
    assert "more labels would not help" in repr(one)


def test_too_few_rows_prove_nothing() -> None:
    one = found([2] * 58, [True] * 58)

    assert (one.confidence, one.rows, one.wanted) == (None, 58, 59)


def test_votes_that_say_the_opposite_give_no_threshold() -> None:
    margins, right = [3] * 200 + [1] * 800, [False] * 200 + [True] * 800

    assert found(margins, right, precision=0.5).confidence is None


def test_the_promise_about_raters_holds() -> None:
    rows = [judged(truth, marks, 5) for truth, marks in tweets()[::3]]
    levels = {level: [right for margin, right in rows if margin >= level] for level in {margin for margin, _ in rows}}
    rng, broken, given = random.Random(7), 0, 0
    for _ in range(60):
        sample = rng.sample(rows, 200)
        margins, right = [margin for margin, _ in sample], [mark for _, mark in sample]
        curve = fitted(margins, right)
        one = threshold(margins, right, curve, field="mood", precision=0.9, certainty=0.95)
        if one.confidence is not None:
            kept = next(marks for level, marks in levels.items() if curve(level) == one.confidence)
            given += 1
            broken += sum(kept) / len(kept) < 0.9

    assert given > 40
    assert broken <= 8  # If it were broken in exactly 5 %, more than 8 of 60 would come once in 500 suites.
