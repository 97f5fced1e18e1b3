"""The statistics, against numbers that others have published or that another formula gives."""

from __future__ import annotations

from fractions import Fraction
from math import comb, inf

import pytest

from smelt.evaluation.scores import LabelScore, Share, exact_mcnemar, label_scores, macro_f1, mean, wilson_interval


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
    ids=["81 of 263", "15 of 148", "0 of 20", "1 of 29"],
)
def test_the_interval_is_the_published_one(count: int, of: int, low: float, high: float) -> None:
    """Newcombe (1998), "Two-sided confidence intervals for the single proportion", Stat. in Medicine 17, table I."""
    assert wilson_interval(count, of) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("count", [0, 1, 7, 19, 20])
def test_the_ends_of_the_interval_solve_the_equation_that_defines_it(count: int) -> None:
    """An end p lies as far from the share as the normal quantile says: (share - p)² = z² p (1 - p) / n."""
    share, squared = count / 20, 1.959963984540054**2

    for end in wilson_interval(count, 20):
        assert (share - end) ** 2 == pytest.approx(squared * end * (1 - end) / 20, abs=1e-12)


@pytest.mark.parametrize("of", [1, 2, 10, 1_000_000])
def test_the_interval_holds_the_share_and_stays_within_0_and_1(of: int) -> None:
    for count in (0, 1, of - 1, of):
        low, high = wilson_interval(count, of)

        assert 0 <= low <= count / of <= high <= 1

    assert wilson_interval(0, of)[0] == 0
    assert wilson_interval(of, of)[1] == 1


def test_a_share_of_no_rows_is_unknown() -> None:
    nothing = Share(count=0, of=0)

    assert (nothing.value, nothing.interval) == (None, None)
    assert Share(count=3, of=4).value == 0.75


def test_macro_f1_is_the_one_of_scikit_learn() -> None:
    """The example in the documentation of `sklearn.metrics.f1_score`: 0.26…, precision 0.22…, recall 0.33…."""
    truths, answers = "012012", "021001"
    pairs: dict[tuple[str, str | None], int] = {}
    for pair in zip(truths, answers, strict=True):
        pairs[pair] = pairs.get(pair, 0) + 1

    scores = label_scores(pairs, ("0", "1", "2"))

    assert [one.f1 for one in scores] == pytest.approx([0.8, 0.0, 0.0])
    assert [one.precision for one in scores] == pytest.approx([2 / 3, 0, 0])
    assert [one.recall for one in scores] == pytest.approx([1, 0, 0])
    assert macro_f1(scores) == pytest.approx(0.8 / 3)


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    score = LabelScore(label="a", rows=10, answered=8, right=6)

    assert score.f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))


def test_a_row_without_an_answer_misses_its_label_and_is_held_against_no_other() -> None:
    with_none = label_scores({("a", "a"): 1, ("a", None): 1, ("b", "b"): 1}, ("a", "b"))

    assert [(one.rows, one.answered, one.right) for one in with_none] == [(2, 1, 1), (1, 1, 1)]
    assert macro_f1(with_none) == pytest.approx((2 / 3 + 1) / 2)


def test_a_label_that_never_occurs_does_not_count() -> None:
    scores = label_scores({("a", "a"): 1}, ("a", "b"))

    assert macro_f1(scores) == 1
    assert macro_f1(label_scores({}, ("a", "b"))) is None


def test_a_label_that_is_only_answered_wrongly_does() -> None:
    assert macro_f1(label_scores({("a", "a"): 1, ("a", "b"): 1}, ("a", "b"))) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("one", "other", "p_value"),
    [(1, 7, 0.0703), (6, 16, 0.0525), (0, 0, 1.0), (5, 5, 1.0)],
    ids=["Fagerland 2013, table 1", "Wikipedia's example", "no difference", "a tie"],
)
def test_the_p_value_is_the_published_one(one: int, other: int, p_value: float) -> None:
    """Fagerland, Lydersen, Laake (2013), BMC Medical Research Methodology 13:91: airway hyper-responsiveness, 0.070."""
    assert exact_mcnemar(one, other) == pytest.approx(p_value, abs=5e-5)
    assert exact_mcnemar(other, one) == exact_mcnemar(one, other)


def test_the_p_value_of_many_rows_is_exact_and_quick() -> None:
    one, other = 180, 240
    exact = Fraction(2 * sum(comb(one + other, count) for count in range(one + 1)), 2 ** (one + other))

    assert exact_mcnemar(one, other) == pytest.approx(float(exact), rel=1e-9)
    assert exact_mcnemar(20_000, 20_000) == 1
    assert exact_mcnemar(10_000, 20_000) == pytest.approx(0, abs=1e-300)


def test_a_mean_of_the_largest_floats_does_not_overflow() -> None:
    assert mean([1.7e308, 1.7e308]) == pytest.approx(1.7e308)
    assert mean([0.5, 0.5, 0.0, 1.0]) == 0.5
    assert mean([]) is None
    assert mean([1.0]) != inf
