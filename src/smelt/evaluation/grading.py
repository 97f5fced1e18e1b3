"""Grades the answers of one field against the known right answers; pure functions."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from math import isfinite
from typing import Any

from smelt.engine.policy import UNASKED
from smelt.evaluation.scores import LabelScore, Share, label_scores, macro_f1, mean
from smelt.evaluation.truth import Target
from smelt.plan.kinds import Boolean, Choice, Date, Duration, FixedPoint, Float, Integer, Kind, Timestamp

_MEASURED = (Integer, Float, FixedPoint, Date, Timestamp, Duration)
_UNITS: dict[type[Kind], str] = {Date: "days", Timestamp: "seconds", Duration: "seconds"}
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldScore:
    """The score of one field.

    A row that ended with an error counts as wrong, and also in *failed*.

    Attributes:
        field: Dotted path of the field.
        column: The column with the right answers.
        accuracy: The right rows, out of the rows that were asked and have a known answer.
        failed: Those of the asked rows that ended with an error.
        unknown: Rows that are left out because their right answer is null.
        unasked: Rows that are left out because the run ended before their turn, or while they waited in a batch job.
        labels: For labels and booleans: precision, recall and F1 of each label.
        macro_f1: For labels and booleans: the unweighted mean of F1 over the labels that occur.
        mean_error: For numbers and times: the mean absolute difference to the right answer, in *unit*.
        bias: For numbers and times: the mean signed difference; above 0 the answers are too high, or too late.
        measured: Number of rows in *mean_error* and *bias*: rows with a finite difference to the right answer.
        unit: `days` for dates, `seconds` for other times, empty for numbers.
        pairs: For labels and booleans: count of each pair (right answer, answer); None is a null answer. Failed rows
            are not included.
        failures: For labels and booleans: failed rows, by their right answer.
    """

    field: str
    column: str
    accuracy: Share
    failed: int
    unknown: int
    unasked: int
    labels: tuple[LabelScore, ...] = ()
    macro_f1: float | None = None
    mean_error: float | None = None
    bias: float | None = None
    measured: int = 0
    unit: str = ""
    pairs: Mapping[tuple[str, str | None], int] = dataclasses.field(default_factory=dict, repr=False)
    failures: Mapping[str, int] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grade:
    """The score of a field, and the grade of each row.

    Attributes:
        score: The score.
        marks: For each row whether it is right; None if it is left out.
    """

    score: FieldScore
    marks: Sequence[bool | None]


def grade(target: Target, truths: Sequence[Any], answers: Sequence[Any], errors: Mapping[int, str]) -> Grade:
    """Compare the *answers* of one field with the *truths*.

    Args:
        target: The field.
        truths: The right answer of each row, in comparable form; None if unknown.
        answers: The answer of each row, in comparable form; None if there is none.
        errors: Error kinds of failed rows, by row.
    """
    graded = [row for row, truth in enumerate(truths) if truth is not None and errors.get(row) not in UNASKED]
    marks: list[bool | None] = [None] * len(truths)
    for row in graded:
        marks[row] = row not in errors and answers[row] == truths[row]
    unknown = sum(truth is None for truth in truths)
    score = FieldScore(
        field=target.leaf.name,
        column=target.column,
        accuracy=Share(count=sum(mark is True for mark in marks), of=len(graded)),
        failed=sum(row in errors for row in graded),
        unknown=unknown,
        unasked=len(truths) - unknown - len(graded),
        **_of_kind(target.leaf.kind, [(truths[row], answers[row], row in errors) for row in graded]),
    )
    return Grade(score=score, marks=marks)


def label_names(kind: Kind) -> tuple[str, ...]:
    """The labels of a choice or boolean *kind*, in order; empty for all other kinds."""
    match kind:
        case Choice(values=values):
            return values
        case Boolean():
            return ("True", "False")
        case _:
            return ()


def _of_kind(kind: Kind, rows: Sequence[tuple[Any, Any, bool]]) -> dict[str, Any]:
    if labels := label_names(kind):
        return _of_labels(labels, rows)
    return _of_numbers(kind, rows) if isinstance(kind, _MEASURED) else {}


def _of_labels(labels: Sequence[str], rows: Sequence[tuple[Any, Any, bool]]) -> dict[str, Any]:
    pairs = Counter(
        (str(truth), None if answer is None else str(answer)) for truth, answer, failed in rows if not failed
    )
    failures = Counter(str(truth) for truth, _, failed in rows if failed)
    scores = label_scores(pairs + Counter({(truth, None): count for truth, count in failures.items()}), labels)
    return {"labels": scores, "macro_f1": macro_f1(scores), "pairs": pairs, "failures": failures}


def _of_numbers(kind: Kind, rows: Sequence[tuple[Any, Any, bool]]) -> dict[str, Any]:
    found = [_difference(answer, truth) for truth, answer, _ in rows if answer is not None]
    off = [one for one in found if isfinite(one)]
    return {
        "mean_error": mean([abs(one) for one in off]),
        "bias": mean(off),
        "measured": len(off),
        "unit": _UNITS.get(type(kind), ""),
    }


def _difference(answer: Any, truth: Any) -> float:
    off = answer - truth
    if not isinstance(off, timedelta):
        return float(off)
    return off / (_DAY if type(truth) is date else _SECOND)
