"""Answers against right answers, as tables of values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import inf, nan
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, create_model

from smelt.evaluation.grading import Grade, grade
from smelt.evaluation.truth import find_targets
from smelt.plan.schema import read_output


def graded(annotation: Any, truths: list[Any], answers: list[Any], errors: dict[int, str] | None = None) -> Grade:
    output = read_output(create_model("Answer", field=(annotation, ...)))
    (target,) = find_targets({"field": "known"}, output, ["known"])
    return grade(target, truths, answers, errors or {})


def test_a_row_is_right_where_the_answer_equals_the_known_one() -> None:
    found = graded(str, ["a", "b", None, "d"], ["a", "B", "c", "d"])

    assert found.marks == [True, False, None, True]
    assert (found.score.accuracy.count, found.score.accuracy.of) == (2, 3)
    assert (found.score.failed, found.score.unknown, found.score.unasked) == (0, 1, 0)
    assert (found.score.macro_f1, found.score.mean_error, found.score.labels) == (None, None, ())


def test_a_row_with_an_error_is_wrong_and_counted_apart() -> None:
    found = graded(Literal["a", "b"], ["a", "a", "b"], ["a", None, "b"], {1: "invalid"})

    assert found.marks == [True, False, True]
    assert found.score.failed == 1
    assert found.score.pairs == {("a", "a"): 1, ("b", "b"): 1}
    assert found.score.failures == {"a": 1}
    assert found.score.macro_f1 == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("kind", ["stopped", "deadline", "interrupted", "budget", "pending"])
def test_a_row_that_the_run_did_not_come_to_is_left_out(kind: str) -> None:
    found = graded(int, [1, 2], [1, None], {1: kind})

    assert found.marks == [True, None]
    assert (found.score.accuracy.of, found.score.failed, found.score.unasked) == (1, 0, 1)


def test_a_null_answer_is_wrong_without_an_error() -> None:
    found = graded(Literal["a", "b"] | None, ["a", "b"], [None, "b"])

    assert found.marks == [False, True]
    assert (found.score.failed, found.score.pairs) == (0, {("a", None): 1, ("b", "b"): 1})


def test_booleans_are_labels() -> None:
    found = graded(bool, [True, True, False], [True, False, False])

    assert [(one.label, one.rows, one.answered, one.right) for one in found.score.labels] == [
        ("True", 2, 1, 1),
        ("False", 1, 2, 1),
    ]


@pytest.mark.parametrize(
    ("annotation", "truths", "answers", "mean_error", "bias", "unit"),
    [
        (float, [3, -0.5, 2, 7], [2.5, 0.0, 2.0, 8.0], 0.5, 0.25, ""),  # The MAE of scikit-learn's own example.
        (int, [10, 20], [11, 17], 2, -1, ""),
        (Annotated[Decimal, Field(decimal_places=2)], [Decimal("1.50")], [Decimal("1.25")], 0.25, -0.25, ""),
        (date, [date(2024, 1, 31), date(2024, 2, 1)], [date(2024, 2, 2), date(2024, 2, 1)], 1, 1, "days"),
        (datetime, [datetime(2024, 1, 1, tzinfo=UTC)], [datetime(2024, 1, 1, 1, tzinfo=UTC)], 3600, 3600, "seconds"),
        (timedelta, [timedelta(hours=1)], [timedelta(minutes=59)], 60, -60, "seconds"),
    ],
    ids=["float", "int", "decimal", "date", "datetime", "timedelta"],
)
def test_numbers_and_times_have_a_mean_error_and_a_bias(
    annotation: Any, truths: list[Any], answers: list[Any], mean_error: float, bias: float, unit: str
) -> None:
    score = graded(annotation, truths, answers).score

    assert score.mean_error == pytest.approx(mean_error)
    assert score.bias == pytest.approx(bias)
    assert (score.unit, score.measured) == (unit, len(truths))


def test_only_finite_answers_are_measured() -> None:
    score = graded(
        Annotated[float, Field(allow_inf_nan=True)], [1.0] * 5, [2.0, inf, -inf, nan, None], {4: "invalid"}
    ).score

    assert (score.mean_error, score.bias, score.measured) == (1, 1, 1)
    assert (score.accuracy.count, score.accuracy.of) == (0, 5)


def test_nothing_to_compare_has_no_score() -> None:
    score = graded(int, [None], [3]).score

    assert (score.accuracy.value, score.mean_error, score.bias) == (None, None, None)
