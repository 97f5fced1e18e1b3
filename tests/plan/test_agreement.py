"""The verdict of a pilot: as a table of answers."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from smelt.plan.agreement import Answers, is_alike, judge
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
        (SAME, [("a", 1, "x"), ("b", 2, "")], False),
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


PARCEL = "Customer is unhappy with the late delivery of the parcel."
FIRST, OTHERS = "The parcel arrived late and the customer complained.", "Good value, the backpack will be bought again."


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (PARCEL, PARCEL, True),
        (PARCEL, FIRST, True),
        (PARCEL, OTHERS, False),
        (PARCEL, "", False),
        (PARCEL, None, False),
        (PARCEL, PARCEL[:8], False),
        ("Paris", "paris ", True),
        ("Paris", "Lyon", False),
        ("a", "b", False),
        ("", " ", False),
        (None, None, True),
    ],
)
def test_texts_are_alike_if_they_share_some_of_their_wording(one: str | None, other: str | None, alike: bool) -> None:
    assert is_alike(one, other) is alike
    assert is_alike(other, one) is alike


def test_texts_may_differ_as_much_as_the_model_differs_from_itself_but_not_change_places() -> None:
    class Booked(BaseModel):
        supplier: str
        reference: str
        is_paid: bool

    fields = read_output(Booked).fields
    keyed: Answers = [(f"Nordic Foods {at}", f"RE-{at:06}", True) for at in range(50)]
    reworded: Answers = [(FIRST, None if one is None else one[1], True) for one in keyed]
    swapped: Answers = [None if one is None else (one[1], one[0], True) for one in keyed]

    assert judge(fields, keyed, keyed, keyed).is_compact
    assert not judge(fields, keyed, keyed, swapped).is_compact
    assert judge(fields, keyed, reworded, reworded).is_compact


def test_the_verdict_is_said_in_one_line() -> None:
    worse: list[tuple[Any, ...] | None] = [("a", 1, "x"), ("a", 2, "y")]

    assert str(judge(FIELDS, SAME, SAME, worse)) == (
        "keyed: in a pilot of 2 rows the compact form agreed with the keyed one in 75.0% of the values, and the keyed "
        "one with itself in 100.0%; texts were alike in 100.0%, and in 100.0%"
    )


def test_no_rows_are_no_verdict() -> None:
    assert not judge(FIELDS, [], [], []).is_compact
