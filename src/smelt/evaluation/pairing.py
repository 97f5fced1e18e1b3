"""Pairwise comparison of variants: agreement, and McNemar counts of rows that only one of them has right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smelt.evaluation.scores import Share, exact_mcnemar
from smelt.evaluation.sheet import Sheet
from smelt.evaluation.truth import Leaf


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two variants and one field.

    Attributes:
        field: Dotted path of the field.
        first: Name of the first variant.
        second: Name of the second variant.
        agreement: The rows with the same answer, out of the rows that both answered.
        only_first: Rows that only the first has right; None if the right answers are not known.
        only_second: Rows that only the second has right; None if the right answers are not known.
    """

    field: str
    first: str
    second: str
    agreement: Share
    only_first: int | None
    only_second: int | None

    @property
    def p_value(self) -> float | None:
        """The exact McNemar p-value; None if the right answers are not known."""
        if self.only_first is None or self.only_second is None:
            return None
        return exact_mcnemar(self.only_first, self.only_second)

    def in_words(self) -> str:
        """The pair as one line of text."""
        share = self.agreement
        agree = (
            "no row that both answered"
            if share.value is None
            else f"{share.count:,} of {share.of:,} rows alike ({share.value:.1%})"
        )
        right = (
            ""
            if self.p_value is None
            else f"; only one of them right: {self.only_first:,} to {self.only_second:,} (p = {self.p_value:.2g})"
        )
        return f"{self.field}, {self.first!r} and {self.second!r}: {agree}{right}"


def pair(leaf: Leaf, first: tuple[str, Sheet], second: tuple[str, Sheet]) -> Pair:
    """Compare the answers of two named sheets to one field."""
    (name, one), (other_name, other) = first, second
    both = [
        (mine, theirs)
        for row, (mine, theirs) in enumerate(zip(one.answers[leaf.name], other.answers[leaf.name], strict=True))
        if row not in one.errors and row not in other.errors
    ]
    only_first, only_second = _alone(leaf, one, other)
    return Pair(
        field=leaf.name,
        first=name,
        second=other_name,
        agreement=Share(count=sum(mine == theirs for mine, theirs in both), of=len(both)),
        only_first=only_first,
        only_second=only_second,
    )


def differing_rows(sheets: Sequence[Sheet]) -> list[int]:
    """Places of the rows that *sheets* answer differently in any field; a failure differs from every answer."""
    first, *others = sheets
    return [row for row in range(len(first.sample.positions)) if any(_differ(first, other, row) for other in others)]


def _differ(one: Sheet, other: Sheet, row: int) -> bool:
    if (row in one.errors) != (row in other.errors):
        return True
    return any(answers[row] != other.answers[field][row] for field, answers in one.answers.items())


def _alone(leaf: Leaf, one: Sheet, other: Sheet) -> tuple[int | None, int | None]:
    marks = [
        next((grade.marks for grade in sheet.grades if grade.score.field == leaf.name), None) for sheet in (one, other)
    ]
    if marks[0] is None or marks[1] is None:
        return None, None
    met = [pair for pair in zip(marks[0], marks[1], strict=True) if None not in pair]
    return met.count((True, False)), met.count((False, True))
