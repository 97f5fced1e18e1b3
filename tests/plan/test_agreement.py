"""The verdict of a pilot: as a table of answers."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from smelt.plan.agreement import Answers, judge
from smelt.plan.schema import read_output


class Label(BaseModel):
    kind: Literal["a", "b"]
    stars: int
    note: str


FIELDS = read_output(Label).fields
SAME: Answers = [("a", 1, "x"), ("b", 2, "y")]


@pytest.mark.parametrize(
    ("again", "compact", "is_compact"),
    [
        (SAME, SAME, True),
        (SAME, [("a", 1, "other words"), ("b", 2, "")], True),
        (SAME, [("a", 1, "x"), ("a", 2, "y")], False),
        (SAME, [("a", 1, "x"), None], False),
        ([("a", 1, "x"), ("a", 2, "y")], [("b", 1, "x"), ("b", 2, "y")], False),
        ([("a", 1, "x"), ("a", 2, "y")], SAME, True),
        ([("a", 1, "x"), None], SAME, True),
    ],
)
def test_compact_is_taken_if_it_agrees_as_often_as_keyed_with_itself(
    again: Answers, compact: Answers, is_compact: bool
) -> None:
    assert judge(FIELDS, SAME, again, compact).is_compact is is_compact


def test_the_verdict_is_said_in_one_line() -> None:
    worse: list[tuple[Any, ...] | None] = [("a", 1, "x"), ("a", 2, "y")]

    assert str(judge(FIELDS, SAME, SAME, worse)) == (
        "keyed: in a pilot of 2 rows the compact form agreed with the keyed one in 83.3% of the values, and the keyed "
        "one with itself in 100.0%"
    )


def test_no_rows_are_no_verdict() -> None:
    assert not judge(FIELDS, [], [], []).is_compact
